"""Networks are measured, and tests opened, from the command line."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from descent import Client
from descent.cli import app
from tests.descent.conftest import Answer, Service, make_job, make_page

HESSIAN: dict[str, Any] = {
    "id": "analysis_1",
    "run_id": "run_1",
    "job_id": "job_7",
    "seed": 3,
    "member": 0,
    "kind": "hessian",
    "options": {"kind": "hessian"},
    "status": "succeeded",
    "is_terminal": True,
    "status_detail": None,
    "values": {"largest_eigenvalue": 41.25, "trace": None},
    "details": {"eigenvalues": [41.25]},
    "queued_at": "2026-01-01T00:00:00Z",
    "finished_at": "2026-01-01T00:00:01Z",
}
LOOK: dict[str, Any] = {
    "job_id": "job_7",
    "job_name": "deep",
    "spec_hash": "0" * 64,
    "experiment": "paper",
    "look": 2,
    "looks_at_dataset": 5,
    "opened_by": "ada",
    "reason": "table 2",
    "opened_at": "2026-01-01T00:00:00Z",
    "runs": 3,
    "evaluated": 2,
    "failures": ["the weights of run run_9 are gone from storage, or damaged"],
    "is_terminal": True,
    "scores": {
        "test_loss": {"mean": 0.5, "standard_deviation": 0.1, "seeds": 2},
        "test_accuracy": {"mean": 0.912345, "standard_deviation": None, "seeds": 1},
    },
}


@pytest.fixture(autouse=True)
def _deep(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCENT_URL", service.url)
    job = make_job("job_7", name="deep")
    service.on("GET", "/v1/jobs", Answer(body=make_page(job)))
    service.on("GET", "/v1/jobs/job_7", Answer(body=job))


def _invoke(*arguments: str) -> str:
    told = CliRunner().invoke(app, list(arguments))
    assert told.exit_code == 0, told.output
    return told.stdout


def test_a_job_is_measured_and_its_numbers_are_shown_run_by_run(service: Service) -> None:
    waiting = HESSIAN | {"status": "queued", "is_terminal": False, "values": {}, "details": {}}
    other = HESSIAN | {"id": "analysis_0", "kind": "sharpness"}
    failed = HESSIAN | {"id": "analysis_2", "seed": 4, "status": "failed", "status_detail": "gone", "values": {}}
    service.on("POST", "/v1/jobs/job_7/analyses", Answer(202, make_page(waiting, waiting | {"id": "analysis_2"})))
    service.on(
        "GET",
        "/v1/jobs/job_7/analyses",
        Answer(body=make_page(waiting)),
        Answer(body=make_page(HESSIAN, failed, other)),
    )
    lines = [line.split() for line in _invoke("analyse", "deep", "hessian", "-o", "probes=8").splitlines()]
    assert lines == [
        ["hessian"],
        ["seed", "largest", "eigenvalue", "trace"],
        ["3", "41.25"],
        ["4", "gone"],
    ]
    (asked,) = (request for request in service.requests if request.method == "POST")
    assert asked.body == {"kind": "hessian", "probes": 8}


def test_what_was_measured_of_a_run_is_shown_and_printed_as_json(service: Service) -> None:
    service.on("GET", "/v1/runs/run_1", Answer(404))
    service.on("GET", "/v1/jobs/job_7/analyses", Answer(body=make_page(HESSIAN)))
    assert json.loads(_invoke("analyses", "deep", "--json"))[0] == HESSIAN
    service.on("GET", "/v1/jobs/job_7/analyses", Answer(body=make_page()))
    assert "Nothing was measured" in _invoke("analyses", "deep")


def test_an_option_without_a_value_is_refused() -> None:
    told = CliRunner().invoke(app, ["analyse", "deep", "hessian", "-o", "probes"])
    assert told.exit_code == 2
    assert "no NAME=VALUE" in told.output


def test_a_test_is_opened_and_its_scores_are_shown_with_the_number_of_looks(service: Service) -> None:
    service.on("POST", "/v1/jobs/job_7/test-evaluation", Answer(202, LOOK | {"is_terminal": False}))
    service.on("GET", "/v1/jobs/job_7/test-evaluation", Answer(body=LOOK | {"is_terminal": False}), Answer(body=LOOK))
    said = _invoke("test", "open", "deep", "--by", "ada", "--reason", "table 2")
    assert "Look 2 of its experiment, 5 at this data set; 2 of 3 runs measured." in " ".join(said.split())
    assert "0.5 ± 0.1 over 2 seeds" in said
    assert "0.9123" in said
    assert "Not measured: the weights of run run_9 are gone" in said
    (asked,) = (request for request in service.requests if request.method == "POST")
    assert asked.body == {"opened_by": "ada", "reason": "table 2"}
    assert json.loads(_invoke("test", "show", "deep", "--json"))["look"] == 2


def test_the_ledger_lists_looks_newest_first(service: Service) -> None:
    service.on("GET", "/v1/test-ledger", Answer(body=make_page(LOOK)))
    said = _invoke("test", "ledger")
    assert all(word in said for word in ("ada", "deep", "paper", "accuracy 0.9123"))
    service.on("GET", "/v1/test-ledger", Answer(body=make_page()))
    assert "Nobody has looked" in _invoke("test", "ledger")


def test_the_client_measures_one_run_or_all_of_a_job(service: Service) -> None:
    service.on("POST", "/v1/runs/run_1/analyses", Answer(202, HESSIAN))
    service.on("GET", "/v1/runs/run_1/analyses", Answer(body=make_page(HESSIAN)))
    with Client(service.url) as client:
        (one,) = client.analyse("run_1", "hessian")
        assert one.values["largest_eigenvalue"] == 41.25
        assert client.wait_for_analyses("run_1", details=True)[0].details == {"eigenvalues": [41.25]}
