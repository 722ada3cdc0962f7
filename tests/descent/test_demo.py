import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from descent import Client, DescentError, demo
from descent.cli import app
from descent.lab_runs import demand_results
from descent.private_service import private_service, uninterrupted
from models import labs
from tests.descent.conftest import Answer, Request, Service, make_job, make_page, make_run
from tests.descent.test_compare import JUDGED, make_comparison

OPTIMIZERS = labs.shipped()["optimizers"]


@pytest.fixture
def trained(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Service:
    """A service that has trained whatever is submitted by the time anybody looks."""

    @contextmanager
    def at_hand(_folder: Path, _console: Console) -> Iterator[Client]:
        with Client(service.url) as client:
            yield client

    def accept(request: Request) -> Answer:
        job_id = f"job_{request.body['name']}"
        end_as(service, job_id, status="succeeded")
        return Answer(202, make_job(job_id, name=request.body["name"]))

    monkeypatch.setattr(demo, "private_service", at_hand)
    monkeypatch.chdir(tmp_path)
    service.on("POST", "/v1/jobs", accept)
    service.on("GET", "/v1/comparisons", Answer(body=make_comparison()))
    service.on("GET", "/v1/comparisons/report", Answer(body=b"<html>", media_type="text/html"))
    return service


def end_as(service: Service, job_id: str, **run: Any) -> None:
    ended = {"is_terminal": True, "status": run["status"]}
    job = make_job(job_id, name=job_id.removeprefix("job_"), runs_by_status={run["status"]: 1}, **ended)
    service.on("GET", f"/v1/jobs/{job_id}", Answer(body=job))
    service.on("GET", f"/v1/jobs/{job_id}/runs", Answer(body=make_page(make_run(**ended | run))))


def test_the_demonstration_trains_the_lab_and_tells_the_verdict_of_the_service(trained: Service) -> None:
    told = CliRunner().invoke(app, ["demo"], env={"COLUMNS": "100"})
    assert told.exit_code == 0
    submitted = [request.body for request in trained.requests if request.path == "/v1/jobs"]
    assert [spec["name"] for spec in submitted] == ["sgd", "momentum", "adam"]
    asked = next(request for request in trained.requests if request.path == "/v1/comparisons")
    for part in (("target", "0.02"), ("score", "steps_to_target"), ("claim", "adam < momentum"), ("job", "job_sgd")):
        assert part in asked.parameters
    assert "Verdict: SUPPORTED" in told.stdout
    assert Path("descent-demo.html").read_text() == "<html>"


@pytest.mark.parametrize("verdict", ["refuted", "undecided"])
def test_a_claim_that_the_data_do_not_support_is_told_as_such(trained: Service, verdict: str) -> None:
    judged = make_comparison(verdict=verdict, claims=[{**JUDGED, "verdict": verdict}])
    trained.on("GET", "/v1/comparisons", Answer(body=judged))
    told = CliRunner().invoke(app, ["demo"])
    assert told.exit_code == 0
    assert f"Verdict: {verdict.upper()}" in told.stdout


def test_as_json_it_is_one_object_and_everything_else_goes_to_standard_error(trained: Service) -> None:
    told = CliRunner().invoke(app, ["demo", "--json", "--output", "other.html"])
    found = json.loads(told.stdout)
    assert found.pop("seconds") >= 0
    assert found == {
        "lab": "optimizers",
        "verdict": "supported",
        "claims": [JUDGED],
        "jobs": [
            {"name": name, "steps_to_target": None, "final_validation_loss": 0.0125, "runs": 2}
            for name in ("adam", "sgd")
        ],
    }
    assert Path("other.html").exists()
    assert "Claim:" in told.stderr


def test_a_run_that_diverged_is_a_result(trained: Service) -> None:
    diverged = {"status": "failed", "status_reason": "diverged"}
    with Client(trained.url) as client:
        end_as(trained, "job_sgd", **diverged)
        demand_results(client, [client.job("job_sgd")])
        end_as(trained, "job_sgd", **diverged | {"status_reason": "error", "status_detail": "no memory"})
        with pytest.raises(DescentError, match="seed 0, ended as failed: no memory"):
            demand_results(client, [client.job("job_sgd")])


def test_the_folder_is_removed_unless_it_is_to_be_kept(
    trained: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert CliRunner().invoke(app, ["demo"]).exit_code == 0
    assert not list(tmp_path.glob("descent-demo-*"))
    told = CliRunner().invoke(app, ["demo", "--keep"])
    (kept,) = tmp_path.glob("descent-demo-*")
    assert str(kept) in told.stdout.replace("\n", "")


def test_an_output_in_a_folder_that_is_not_there_is_refused_before_anything_is_trained(trained: Service) -> None:
    assert CliRunner().invoke(app, ["demo", "--output", "absent/report.html"]).exit_code == 2
    assert trained.requests == []


def test_a_service_that_does_not_start_is_told_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("redis-server", "valkey-server"):
        broken = tmp_path / name
        broken.write_text("#!/bin/sh\ncase $1 in --version) echo v=7.2.0;; *) echo no memory; exit 1;; esac\n")
        broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    state = tmp_path / "state"
    state.mkdir()
    with (
        pytest.raises(DescentError, match=r"redis ended at its start.*\n.*no memory"),
        private_service(state, Console(file=io.StringIO())),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_effect_at_the_end_of_an_uninterrupted_block(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    steps = []

    def run() -> None:
        with uninterrupted():
            os.kill(os.getpid(), number)
            steps.append("after the signal")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert steps == ["after the signal"]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demonstration_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "-m", "descent", "demo"], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("descent-demo-*/up.log")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not list(tmp_path.glob("descent-demo-*"))
