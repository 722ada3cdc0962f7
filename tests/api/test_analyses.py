"""Over HTTP: analyses are asked for, refused with a reason, and listed; tests are opened on record."""

from typing import Any

import httpx2
import pytest

from models import analysing
from models.database import Database
from models.status import RunStatus
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.specs import spec
from tests.models.transactions import commit


def trained(api: httpx2.Client, worker: FakeWorker, **changes: Any) -> tuple[str, list[FakeRun]]:
    """A job whose runs have succeeded, and its runs."""
    job_id = api.post("/v1/jobs", json=spec(**changes)).json()["id"]
    runs = worker.claim()
    for run in runs:
        run.finish(RunStatus.SUCCEEDED)
    return job_id, runs


def measure(database: Database, values: dict[str, float | None], details: dict[str, Any] | None = None) -> str:
    """Do what a worker does with the analysis that waits first, one that has arrived; its kind."""
    found = commit(database, analysing.claim, "worker_cpu")
    assert found is not None
    for one in found.analyses:
        commit(database, analysing.finish, one, values, details or {})
    return found.kind


def test_a_run_is_analysed_with_every_default_spelled_out(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    worker.arrive()
    job_id, (run,) = trained(api, worker)
    asked = api.post(f"/v1/runs/{run.claimed.id}/analyses", json="hessian")
    assert asked.status_code == 202
    body = asked.json()
    assert (body["status"], body["is_terminal"], body["values"]) == ("queued", False, {})
    assert body["options"] == {"kind": "hessian", "split": "training", "rows": 1024, "eigenvalues": 3, "probes": 32}
    assert measure(database, {"trace": 3.5, "largest_eigenvalue": None}, {"eigenvalues": [1.0]}) == "hessian"
    (found,) = api.get(f"/v1/runs/{run.claimed.id}/analyses").json()["data"]
    assert found["values"] == {"trace": 3.5, "largest_eigenvalue": None}
    assert (found["status"], found["details"]) == ("succeeded", {"eigenvalues": [1.0]})
    (listed,) = api.get(f"/v1/jobs/{job_id}/analyses").json()["data"]
    assert listed == found | {"details": {}}
    again = api.post(f"/v1/runs/{run.claimed.id}/analyses", json={"kind": "hessian"}).json()
    assert (again["id"], again["status"]) == (body["id"], "succeeded")


def test_all_runs_of_a_job_are_analysed_by_one_request(api: httpx2.Client, worker: FakeWorker) -> None:
    job_id, runs = trained(api, worker, seeds=3)
    asked = api.post(f"/v1/jobs/{job_id}/analyses", json={"kind": "sharpness", "rows": 100})
    assert asked.status_code == 202
    assert [one["seed"] for one in asked.json()["data"]] == [0, 1, 2]
    assert {one["run_id"] for one in asked.json()["data"]} == {run.claimed.id for run in runs}


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ("sharpnes", "", 'did you mean "sharpness"'),
        ({"kind": "hessian", "probes": 1}, "/probes", "greater than or equal to 2"),
        ({"kind": "calibration"}, "", "calibration is of class probabilities"),
        ({"kind": "line", "to": "run_0"}, "/to", "there is no run run_0"),
        ({"kind": "sealed_test"}, "", "is no known"),
    ],
)
def test_an_analysis_that_says_nothing_is_refused_with_its_place_and_reason(
    api: httpx2.Client, worker: FakeWorker, body: Any, pointer: str, words: str
) -> None:
    _, (run,) = trained(api, worker)
    refused = api.post(f"/v1/runs/{run.claimed.id}/analyses", json=body)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["pointer"].startswith(pointer)
    assert words in error["detail"]


def test_a_line_joins_runs_of_one_network_alone(api: httpx2.Client, worker: FakeWorker) -> None:
    _, (run,) = trained(api, worker)
    _, (same,) = trained(api, worker, batch_size=32)
    _, (other,) = trained(api, worker, network={"kind": "mlp", "hidden": [8]})
    path = f"/v1/runs/{run.claimed.id}/analyses"
    assert api.post(path, json={"kind": "line", "to": same.claimed.id}).status_code == 202
    refused = api.post(path, json={"kind": "line", "to": other.claimed.id})
    assert refused.status_code == 422
    assert "has another network" in refused.json()["errors"][0]["detail"]


def test_a_run_that_has_not_succeeded_is_not_analysed(api: httpx2.Client, run: FakeRun) -> None:
    refused = api.post(f"/v1/runs/{run.claimed.id}/analyses", json="hessian")
    assert refused.status_code == 409
    assert "once it has succeeded" in refused.json()["detail"]
    refused = api.post(f"/v1/jobs/{run.claimed.job_id}/analyses", json="hessian")
    assert refused.status_code == 409


def test_what_is_not_there_is_answered_with_404(api: httpx2.Client) -> None:
    for method, path in (
        ("GET", "/v1/runs/run_0/analyses"),
        ("GET", "/v1/jobs/job_0/analyses"),
        ("POST", "/v1/runs/run_0/analyses"),
        ("POST", "/v1/jobs/job_0/analyses"),
        ("POST", "/v1/jobs/job_0/test-evaluation"),
        ("GET", "/v1/jobs/job_0/test-evaluation"),
    ):
        body = {"kind": "hessian"} if path.endswith("analyses") else {}
        answer = api.request(method, path, json=body if method == "POST" else None)
        assert answer.status_code == 404, (method, path)


# ── the sealed test ──────────────────────────────────────────────────────────────────────────────


def test_a_test_is_opened_on_record_and_its_scores_are_those_of_the_seeds(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    worker.arrive()
    job_id, _ = trained(api, worker, seeds=2, experiment="paper", name="mine")
    assert "sealed" in api.get(f"/v1/jobs/{job_id}/test-evaluation").json()["detail"]
    opened = api.post(f"/v1/jobs/{job_id}/test-evaluation", json={"opened_by": "ada", "reason": "table 2"})
    assert opened.status_code == 202
    body = opened.json()
    assert (body["opened_by"], body["reason"], body["look"], body["looks_at_dataset"]) == ("ada", "table 2", 1, 1)
    assert (body["runs"], body["evaluated"], body["is_terminal"], body["scores"]) == (2, 0, False, {})
    found = commit(database, analysing.claim, "worker_cpu")
    assert found is not None
    for one, loss in zip(found.analyses, (0.25, 0.75), strict=True):
        commit(database, analysing.finish, one, {"test_loss": loss}, {})
    scored = api.get(f"/v1/jobs/{job_id}/test-evaluation").json()
    assert (scored["evaluated"], scored["is_terminal"]) == (2, True)
    assert scored["scores"]["test_loss"]["mean"] == 0.5
    assert scored["scores"]["test_loss"]["seeds"] == 2
    again = api.post(f"/v1/jobs/{job_id}/test-evaluation", json={"opened_by": "bob"}).json()
    assert (again["opened_by"], again["look"], again["opened_at"]) == ("ada", 1, body["opened_at"])
    assert api.post(f"/v1/jobs/{job_id}/test-evaluation").json() == again, "a body without a need may be left out"
    assert api.get(f"/v1/jobs/{job_id}/analyses").json()["data"] == [], "a test is no analysis that others may read"


def test_the_ledger_keeps_every_look_even_at_jobs_that_are_gone(api: httpx2.Client, worker: FakeWorker) -> None:
    ids = []
    for seed in (1, 2):
        job_id, _ = trained(api, worker, seeds=[seed], experiment="paper")
        assert api.post(f"/v1/jobs/{job_id}/test-evaluation", json={}).status_code == 202
        ids.append(job_id)
    assert api.delete(f"/v1/jobs/{ids[0]}").status_code == 204
    looks = api.get("/v1/test-ledger").json()["data"]
    assert [(look["job_id"], look["look"]) for look in looks] == [(ids[1], 2), (ids[0], 1)]
    assert looks[0]["opened_by"] == "admin"
    first = api.get("/v1/test-ledger", params={"limit": 1}).json()
    assert first["has_more"]
    rest = api.get("/v1/test-ledger", params={"after": first["next_after"]}).json()
    assert [look["job_id"] for look in rest["data"]] == [ids[0]]


def test_a_test_stays_sealed_while_a_run_is_under_way_and_where_nothing_is_sealed(
    api: httpx2.Client, worker: FakeWorker, run: FakeRun
) -> None:
    refused = api.post(f"/v1/jobs/{run.claimed.job_id}/test-evaluation", json={})
    assert refused.status_code == 409
    assert "still under way" in refused.json()["detail"]
    run.finish(RunStatus.FAILED)
    assert "no run of this job has succeeded" in _refusal(api, run.claimed.job_id)
    job_id, _ = trained(api, worker, evaluation={"kind": "holdout", "test": 0})
    assert "sealed no rows" in _refusal(api, job_id)
    assert api.get("/v1/test-ledger").json()["data"] == []


def _refusal(api: httpx2.Client, job_id: str) -> str:
    refused = api.post(f"/v1/jobs/{job_id}/test-evaluation", json={})
    assert refused.status_code == 409
    detail: str = refused.json()["detail"]
    return detail


# ── comparisons ──────────────────────────────────────────────────────────────────────────────────


def test_a_comparison_tells_what_was_measured_and_the_tests_that_were_opened_and_its_etag_changes_with_them(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    worker.arrive()
    ids = []
    for name in ("a", "b"):
        job_id = api.post("/v1/jobs", json=spec(name=name, seeds=2)).json()["id"]
        for run in worker.claim():
            run.report({"validation_loss": ([1, 2], [1.0, 0.5])})
            run.save()
            run.finish(RunStatus.SUCCEEDED)
        ids.append(job_id)
    question = {"job": ids}
    etags = []

    def compared() -> dict[str, Any]:
        answer = api.get("/v1/comparisons", params=question)
        assert answer.status_code == 200
        etags.append(answer.headers["ETag"])
        assert api.get("/v1/comparisons", params=question, headers={"If-None-Match": etags[-1]}).status_code == 304
        body: dict[str, Any] = answer.json()
        return body

    assert (compared()["analyses"], compared()["test_scores"]) == ([], [])
    api.post(f"/v1/jobs/{ids[0]}/analyses", json="hessian")
    measure(database, {"trace": 3.5})
    found = compared()["analyses"]
    assert [(one["job_id"], one["seed"], one["kind"], one["values"]) for one in found] == [
        (ids[0], seed, "hessian", {"trace": 3.5}) for seed in (0, 1)
    ]
    api.post(f"/v1/jobs/{ids[1]}/test-evaluation", json={})
    assert compared()["test_scores"][0]["scores"] == {}
    measure(database, {"test_loss": 0.25})
    (opened,) = compared()["test_scores"]
    assert (opened["job_id"], opened["look"], opened["runs"]) == (ids[1], 1, 2)
    assert opened["scores"]["test_loss"]["mean"] == 0.25
    assert len(set(etags)) == 4, "the first two are one"
    report = api.get("/v1/comparisons/report", params=question | {"format": "markdown"}).text
    assert "test loss" in report
    assert "look 1" in report
