"""Waiting with progress: bars in a terminal and in a notebook, lines elsewhere, and the same from both clients."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from descent import AsyncClient, Client
from descent.comparison import Comparison
from descent.errors import TimedOut
from descent.notebook import comparison_html
from tests.descent.conftest import Answer, Service, make_job, make_metrics, make_page, make_run
from tests.descent.test_compare import make_comparison

CALLED = 'with Client("{}") as client: ended = client.wait("job_1", progress=True)\n'
AWAITED = """
import asyncio
async def main():
    async with AsyncClient("{}") as client:
        return await client.wait("job_1", progress=True)
ended = asyncio.run(main())
"""


def lay_out(service: Service, *, ends: bool = True) -> None:
    """A job of two runs, that ends when it is looked at for the third time."""
    progress = {"completed": 50, "total": 100, "unit": "steps", "eta_seconds": 3.0}
    running = {"status": "running", "runs_by_status": {"running": 2}, "progress": progress}
    ended = {"status": "succeeded", "is_terminal": True, "runs_by_status": {"succeeded": 2}}
    looks = [running, running, ended if ends else running]
    service.on("GET", "/v1/jobs/job_1", *(Answer(body=make_job(**look)) for look in looks))
    service.on("GET", "/v1/jobs/job_1/runs", Answer(body=make_page(*(make_run(f"run_{n}", seed=n) for n in range(2)))))
    for number in range(2):
        page = make_metrics("1-0", validation_loss={1: 0.5, 2: 0.25})
        service.on("GET", f"/v1/runs/run_{number}/metrics", Answer(body=page))


def wait(kind: type[Client] | type[AsyncClient], url: str, **how: Any) -> str:
    """Wait with one of the two clients; the status in which the job ended."""

    async def awaited() -> str:
        async with AsyncClient(url) as client:
            return (await client.wait("job_1", progress=True, **how)).status

    if kind is AsyncClient:
        return asyncio.run(awaited())
    with Client(url) as client:
        return client.wait("job_1", progress=True, **how).status


@pytest.mark.parametrize("program", [CALLED, AWAITED], ids=["called", "awaited"])
def test_a_terminal_has_bars_and_standard_output_is_the_programs_own(service: Service, program: str) -> None:
    lay_out(service)
    terminal, end = pty.openpty()
    source = f"from descent import AsyncClient, Client\n{program.format(service.url)}\nprint(ended.status)"
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "30"}
    command = [sys.executable, "-c", source]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, env=environment) as running:
        os.close(end)
        drawn = b""
        while piece := _read(terminal):
            drawn += piece
        os.close(terminal)
        told, _ = running.communicate()
    assert running.returncode == 0, drawn
    assert told == b"succeeded\n"
    assert b"seed 0" in drawn
    assert b"0.25" in drawn
    assert b"\x1b[1A" in drawn, "what is drawn next takes the place of what was"
    assert drawn.index(b"running") < drawn.index(b"2/2 ended")


def _read(terminal: int) -> bytes:
    """What was written to a terminal; nothing, once all of it was read and nobody has it open."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_log_has_a_line_now_and_then_on_standard_error(
    service: Service, kind: type[Client] | type[AsyncClient], capfd: pytest.CaptureFixture[str]
) -> None:
    lay_out(service)
    assert wait(kind, service.url) == "succeeded"
    out, err = capfd.readouterr()
    first, last = err.splitlines()
    assert "running" in first
    assert "2/2 ended" in last
    assert out == ""


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_waiting_ends_with_the_callers_patience_too(service: Service, kind: type[Client] | type[AsyncClient]) -> None:
    lay_out(service, ends=False)
    with pytest.raises(TimedOut, match="adam is still running after 0 s; it goes on"):
        wait(kind, service.url, timeout=0)


class ZMQInteractiveShell(InteractiveShell):
    """A notebook, to whoever asks by this name."""


def in_a_notebook(source: str, **names: Any) -> Any:
    """Run a cell that knows some names; what it displayed."""
    shell: Any = ZMQInteractiveShell.instance()
    try:
        shell.push(names)
        with capture_output() as shown:
            shell.run_cell(source).raise_error()
        return shown
    finally:
        ZMQInteractiveShell.clear_instance()


@pytest.mark.parametrize("program", [CALLED, AWAITED], ids=["called", "awaited"])
def test_a_notebook_has_bars_that_take_the_place_of_the_last_ones(service: Service, program: str) -> None:
    lay_out(service)
    shown = in_a_notebook(program.format(service.url), Client=Client, AsyncClient=AsyncClient)
    first, *later = shown.outputs
    assert "seed 1" in first.data["text/html"]
    assert later
    assert {one.transient["display_id"] for one in later} == {first.transient["display_id"]}
    assert [one.update for one in shown.outputs] == [False] + [True] * len(later)
    assert "2/2 ended" in later[-1].data["text/html"]
    assert shown.stdout + shown.stderr == ""


def test_a_notebook_shows_a_comparison_once() -> None:
    comparison = Comparison.read(json.dumps(make_comparison()).encode())
    shown = in_a_notebook("html = comparison_html(comparison)", comparison=comparison, comparison_html=comparison_html)
    assert shown.outputs == [], "what is written down for the notebook is not shown as well"
