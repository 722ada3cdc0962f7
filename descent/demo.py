"""The demonstration: a service of its own, a lab, and the verdict that the data give."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.text import Text

from descent import tables
from descent.client import Client
from descent.comparison import Comparison
from descent.errors import DescentError
from descent.labs import Lab
from descent.local.state import State
from descent.local.supervisor import TETHER
from descent.watching import watch
from models.answers import Job
from models.status import RunStatus, StatusReason

START_SECONDS = 180.0
STOP_SECONDS = 60.0


def run_demo(lab: Lab, console: Console, report: Path, *, keep: bool) -> dict[str, Any]:
    """Train a lab's jobs on a service of their own, tell what came out, and return it as JSON would have it.

    Raises:
        DescentError: if the service does not start, or a run ends without a result of its own.
        KeyboardInterrupt: if Ctrl-C or SIGTERM asks to end; everything has stopped by then.

    """
    started = time.monotonic()
    _introduce(lab, console)
    with _terminable(), _folder(console, keep=keep) as folder, private_service(folder, console) as client:
        jobs = watch(client, [client.submit(spec) for spec in lab.jobs], console)
        demand_results(client, jobs)
        comparison = client.compare(jobs, **lab.question)
        report.write_text(client.report(jobs, **lab.question), encoding="utf-8")
        seconds = time.monotonic() - started
        console.print(Text(), tables.draw(comparison), sep="\n")
        console.print(f"\nReport: {report}   ({seconds:.0f} s in all)", highlight=False)
        return summary(lab, comparison, seconds)


def summary(lab: Lab, comparison: Comparison, seconds: float) -> dict[str, Any]:
    """What the demonstration found, as one JSON object."""
    return {
        "lab": lab.name,
        "verdict": comparison.verdict,
        "claims": comparison.raw["claims"],
        "jobs": [
            {
                "name": comparison.label(row.job_id),
                "steps_to_target": None if row.steps_to_target is None else row.steps_to_target.median,
                "final_validation_loss": row.last.mean,
                "runs": sum(len(job.seeds) for job in comparison.jobs if job.id == row.job_id),
            }
            for row in comparison.table
        ],
        "seconds": round(seconds, 1),
    }


@contextmanager
def private_service(folder: Path, console: Console) -> Iterator[Client]:
    """Run `descent up` in a folder, on any free port, for as long as the block lasts.

    Raises:
        DescentError: if it does not start; the message carries what it said.

    """
    said = folder / "up.log"
    command = [sys.executable, "-m", "descent", "up", "--state", str(folder), "--port", "0", "--quiet"]
    with said.open("w") as output:
        # Tethered, so that nothing outlives this process; in a session of its own, so that Ctrl-C finds us alone.
        service = subprocess.Popen(  # noqa: S603
            [sys.executable, str(TETHER), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_environment(),
            start_new_session=True,
        )
    try:
        with console.status("Starting a service of its own …"):
            url = _url(service, State.at(folder), said)
        with Client(url) as client:
            yield client
    finally:
        with console.status("Stopping the service …"):
            _stop(service)


def _environment() -> dict[str, str]:
    # Whoever works with a service of their own must not find a demonstration's jobs in it.
    elsewhere = re.compile(r"DESCENT_\w*(URL|PASSWORD)")
    return {name: value for name, value in os.environ.items() if not elsewhere.fullmatch(name)}


def _url(service: "subprocess.Popen[bytes]", state: State, said: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and service.poll() is None:
        if url := state.url:
            return url
        time.sleep(0.05)
    raise DescentError(f"The service did not start. It said:\n{said.read_text(errors='replace').strip()}")


def _stop(service: "subprocess.Popen[bytes]") -> None:
    service.terminate()
    try:
        service.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        # A second request makes it hurry.
        service.terminate()
        service.wait(STOP_SECONDS)


@contextmanager
def _folder(console: Console, *, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="descent-demo-"))
    try:
        yield folder
    finally:
        if keep:
            console.print(f"Kept in {folder}: `descent up --state {folder}` opens it again.", soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _terminable() -> Iterator[None]:
    """Within the block SIGTERM ends this process as Ctrl-C does, cleanups included."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def demand_results(client: Client, jobs: Sequence[Job]) -> None:
    """Insist that every run has come to a result of its own; a diverged run has, a run that broke has not.

    Raises:
        DescentError: for the first one that broke.

    """
    for job in jobs:
        for run in client.runs(job):
            if run.status is not RunStatus.SUCCEEDED and run.status_reason != StatusReason.DIVERGED:
                why = run.status_detail or run.status_reason or "no reason given"
                raise DescentError(f"{job.name}, seed {run.seed}, ended as {run.status}: {why}")


def _introduce(lab: Lab, console: Console) -> None:
    runs = sum(len(spec.seeds) for spec in lab.jobs)
    console.print(Text(lab.title, style="bold"))
    console.print(Text(f"Claim: {lab.claim}"))
    console.print(Text(f"Judged by: {lab.judged_by}", style="dim"))
    console.print(Text(f"{lab.caveat}", style="dim"))
    console.print(f"{len(lab.jobs)} jobs, {runs} runs.\n", highlight=False)
