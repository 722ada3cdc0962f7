"""Jobs that rest, go on, and go on further than they were meant to."""

from datetime import timedelta
from itertools import combinations
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from models import owner
from models.access import ADMIN
from models.answers import Checkpoint, Job, Page, Run, Sweep
from models.database import Database
from models.spec.job import JobSpec
from models.spec.plan import plan
from models.status import RunStatus, job_status
from models.tables import Run as RunRow
from models.tables import TestLook, now
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.specs import SPEC, spec

UNDER_WAY = ["cancel", "pause"]


def submit(api: httpx2.Client, **changes: Any) -> Job:
    answer = api.post("/v1/jobs", json=spec(**changes))
    assert answer.status_code == 202, answer.text
    return Job.model_validate(answer.json())


def the_job(api: httpx2.Client, job: Job) -> Job:
    return Job.model_validate(api.get(f"/v1/jobs/{job.id}").json())


def extend(api: httpx2.Client, job: Job, budget: dict[str, Any], **headers: str) -> httpx2.Response:
    return api.patch(f"/v1/jobs/{job.id}", json={"budget": budget}, headers=headers)


def complaints(answer: httpx2.Response) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return [(error["pointer"], error["detail"]) for error in answer.json()["errors"]]


def ended(api: httpx2.Client, worker: FakeWorker, **changes: Any) -> tuple[Job, FakeRun]:
    """A job of one run that was saved one step before its end."""
    job = submit(api, **changes)
    (run,) = worker.claim()
    run.report({"train_loss": ([1], [1.0])})
    run.checkpoint(99)
    run.finish()
    return job, run


# ── pausing ──────────────────────────────────────────────────────────────────────────────────────


def test_a_job_rests_once_its_workers_let_go_and_goes_on_from_where_it_was_saved(
    api: httpx2.Client, worker: FakeWorker
) -> None:
    job = submit(api, seeds=2)
    (run,) = worker.claim(limit=1)
    answer = api.post(f"/v1/jobs/{job.id}/pause")
    assert (answer.status_code, answer.json()["status"]) == (202, "pausing")
    assert answer.json()["runs_by_status"] == {"pausing": 1, "paused": 1}
    assert answer.json()["actions"] == ["cancel", "resume"]
    run.checkpoint(40)
    assert worker.release(run) is RunStatus.PAUSED
    paused = the_job(api, job)
    assert (paused.status, paused.is_terminal, paused.progress.eta_seconds) == (RunStatus.PAUSED, False, None)
    answer = api.post(f"/v1/jobs/{job.id}/resume")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.json()["actions"] == UNDER_WAY
    assert sorted(worker.claim()[0].resume_step for _ in range(2)) == [0, 40]


@pytest.mark.parametrize(("action", "words"), [("resume", "nothing to resume"), ("pause", "nothing to pause")])
def test_what_cannot_be_paused_or_resumed_is_refused_with_what_can_be_done(
    api: httpx2.Client, worker: FakeWorker, action: str, words: str
) -> None:
    job, _ = ended(api, worker)
    answer = api.post(f"/v1/jobs/{job.id}/{action}")
    assert (answer.status_code, answer.json()["legal_actions"]) == (409, ["extend", "delete"])
    assert words in answer.json()["detail"]
    assert answer.json()["detail"].endswith("(possible now: extend, delete)")
    assert api.post(f"/v1/jobs/job_0/{action}").status_code == 404


def test_every_job_of_a_sweep_is_paused_resumed_and_cancelled_at_once(api: httpx2.Client, worker: FakeWorker) -> None:
    body = {"base": SPEC, "grid": {"batch_size": [16, 32, 64]}}
    sweep = Sweep.model_validate(api.post("/v1/sweeps", json=body).json())
    worker.claim()[0].finish()
    (run,) = worker.claim()

    def act(action: str) -> dict[str, int]:
        answer = api.post(f"/v1/sweeps/{sweep.id}/{action}")
        assert answer.status_code == 202, answer.text
        counts: dict[str, int] = answer.json()["runs_by_status"]
        return counts

    refused = api.post(f"/v1/sweeps/{sweep.id}/resume")
    assert (refused.status_code, refused.json()["legal_actions"]) == (409, ["cancel", "pause"])
    assert act("pause") == {"succeeded": 1, "pausing": 1, "paused": 1}
    worker.release(run)
    assert act("resume") == {"succeeded": 1, "queued": 2}
    assert act("pause") == {"succeeded": 1, "paused": 2}
    assert act("cancel") == {"succeeded": 1, "cancelled": 2}, "what rests has not ended"
    refused = api.post(f"/v1/sweeps/{sweep.id}/pause")
    assert (refused.status_code, refused.json()["legal_actions"]) == (409, [])


def test_the_list_finds_each_job_by_the_status_that_it_shows_however_its_runs_stand(
    api: httpx2.Client, database: Database
) -> None:
    standing = [chosen for size in (1, 2, 3) for chosen in combinations(RunStatus, size)]
    expected: dict[RunStatus, set[str]] = {status: set() for status in RunStatus}
    with database.write() as session:
        for statuses in standing:
            wanted = JobSpec.model_validate(spec(seeds=len(statuses)))
            job = owner.submit(session, "admin", wanted, plan(wanted))
            for run, status in zip(job.runs, statuses, strict=True):
                run.status = status
            expected[job_status(dict.fromkeys(statuses, 1))].add(job.id)
    for status, jobs in expected.items():
        answer = api.get("/v1/jobs", params={"status": status, "limit": 200}).json()
        assert {job["id"] for job in answer["data"]} == jobs, status
        assert {job["status"] for job in answer["data"]} == {status}
    assert sum(map(len, expected.values())) == len(standing) == 92


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────


def test_a_larger_budget_lets_an_ended_job_go_on_and_the_job_shows_it(api: httpx2.Client, worker: FakeWorker) -> None:
    job, run = ended(api, worker)
    answer = extend(api, job, {"steps": 250})
    assert answer.status_code == 200, answer.text
    longer = Job.model_validate(answer.json())
    assert (longer.status, longer.spec.budget.steps, longer.progress.total) == (RunStatus.QUEUED, 250, 250)
    assert longer.actions == UNDER_WAY
    assert (longer.version, answer.headers["ETag"]) == (job.version + 1, f'"{job.version + 1}"')
    assert longer.spec_hash == longer.spec.spec_hash != job.spec_hash
    assert (longer.spec.record.every_steps, longer.spec.record.evaluate_every) == (1, 5), "its history keeps its rhythm"
    (again,) = worker.claim()
    assert (again.claimed.id, again.resume_step, again.claimed.spec.budget.steps) == (run.claimed.id, 99, 250)


def test_the_limit_of_seconds_changes_at_any_time_and_no_step_with_it(api: httpx2.Client, worker: FakeWorker) -> None:
    job = submit(api)
    for limit in (60.5, None):
        if limit is None:
            worker.claim()
        answer = extend(api, job, {"steps": 100, "max_seconds": limit})
        assert answer.status_code == 200, answer.text
        changed = Job.model_validate(answer.json())
        assert (changed.spec.budget.max_seconds, changed.spec_hash, changed.status) == (
            limit,
            job.spec_hash,
            RunStatus.QUEUED if limit else RunStatus.RUNNING,
        )
        assert the_job(api, job) == changed
    assert changed.version == job.version + 2


def test_labels_and_budget_change_together_or_not_at_all(api: httpx2.Client, worker: FakeWorker) -> None:
    job, _ = ended(api, worker, name="short")
    both = {"name": "long", "priority": 7, "budget": {"steps": 50}}
    assert complaints(api.patch(f"/v1/jobs/{job.id}", json=both)) == [
        ("/budget", "50 steps are no more than the 100 that it has: ask for more")
    ]
    assert (the_job(api, job).name, the_job(api, job).version) == ("short", job.version)
    assert api.patch(f"/v1/jobs/{job.id}", json=both | {"budget": {"epochs": 30}}).status_code == 200
    longer = the_job(api, job)
    assert (longer.name, longer.spec.budget.epochs, longer.spec.budget.steps) == ("long", 30, None)
    assert longer.progress.total == 30 * (600 // 64)


@pytest.mark.parametrize(
    ("changes", "budget", "pointer", "words"),
    [
        ({}, {}, "/budget", "either in steps or in epochs"),
        ({}, {"steps": 200, "epochs": 3}, "/budget", "either in steps or in epochs"),
        ({}, {"steps": 0}, "/budget/steps", "greater than or equal to 1"),
        ({}, {"steps": 200, "max_seconds": 0}, "/budget/max_seconds", "greater than 0"),
        ({}, {"steps": 100_000_000}, "/budget/steps", "less than or equal to 10000000"),
        ({}, {"paces": 5}, "/budget/paces", "no such field"),
        ({}, {"steps": 100, "epochs": None, "max_seconds": -1}, "/budget/max_seconds", "greater than 0"),
        ({"batch_size": 1}, {"epochs": 10_000}, "/budget", "points a run exceed"),
        ({}, {"steps": 1_000_000}, "/budget", "points a run exceed"),
        ({"schedule": "cosine"}, {"steps": 200}, "/budget", "go by the budget"),
        ({}, {"epochs": 11}, "/budget", "99 steps are no more than the 100"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_with_a_pointer_to_it(
    api: httpx2.Client, worker: FakeWorker, changes: dict[str, Any], budget: dict[str, Any], pointer: str, words: str
) -> None:
    job, _ = ended(api, worker, **changes)
    found = complaints(extend(api, job, budget))
    assert found[0][0] == pointer
    assert words in found[0][1]
    assert the_job(api, job).status is RunStatus.SUCCEEDED


def test_a_job_under_way_is_not_extended(api: httpx2.Client, worker: FakeWorker) -> None:
    job = submit(api)
    for legal in (UNDER_WAY, ["cancel", "resume"]):
        answer = extend(api, job, {"steps": 200})
        assert (answer.status_code, answer.json()["legal_actions"]) == (409, legal)
        api.post(f"/v1/jobs/{job.id}/pause")
    assert the_job(api, job).spec.budget.steps == 100
    assert the_job(api, job).version == job.version


def test_a_job_whose_sealed_test_was_opened_is_not_extended(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    job, _ = ended(api, worker)
    with database.write() as session:
        session.add(
            TestLook(
                id="look_1",
                owner=ADMIN,
                job_id=job.id,
                job_name="",
                spec_hash=job.spec_hash,
                experiment="",
                dataset_key="",
                opened_by="",
                reason="",
                opened_at=now(),
            )
        )
    answer = extend(api, job, {"steps": 200})
    assert (answer.status_code, answer.json()["legal_actions"]) == (409, ["delete"])
    assert "its sealed test was opened" in answer.json()["detail"]
    assert extend(api, job, {"steps": 100, "max_seconds": 5}).status_code == 200, "that changes no step"


def test_a_budget_does_not_change_under_an_etag_of_another_version(api: httpx2.Client, worker: FakeWorker) -> None:
    job, _ = ended(api, worker)
    answer = extend(api, job, {"steps": 200}, **{"If-Match": '"9"'})
    assert (answer.status_code, answer.headers["ETag"]) == (412, f'"{job.version}"')
    assert the_job(api, job).spec.budget.steps == 100
    assert extend(api, job, {"steps": 200}, **{"If-Match": f'"{job.version}"'}).status_code == 200


# ── what there is to see ─────────────────────────────────────────────────────────────────────────


def test_the_checkpoints_of_a_run_are_listed_the_newest_first(api: httpx2.Client, run: FakeRun) -> None:
    path = f"/v1/runs/{run.claimed.id}/checkpoints"
    assert api.get(path).json() == {"data": [], "has_more": False, "next_after": None}
    for step in (10, 20, 30):
        run.checkpoint(step)
    found = Page[Checkpoint].model_validate(api.get(path).json())
    assert [(one.step, one.size, one.sha256) for one in found.data] == [(30, 9, "0" * 64), (20, 9, "0" * 64)]
    assert found.data[0].created_at >= found.data[1].created_at
    assert not found.has_more
    assert api.get("/v1/runs/run_0/checkpoints").status_code == 404


def test_the_time_to_go_of_a_resumed_run_counts_only_the_steps_since_it_went_on(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    job = submit(api, seeds=2)
    for run in worker.claim():
        run.checkpoint(60)
        worker.vanish(run)
    assert [run.resume_step for _ in range(2) for run in worker.claim(limit=1)] == [60, 60]
    fresh = the_job(api, job)
    assert (fresh.progress.completed, fresh.progress.eta_seconds) == (120, None), "no step since, no pace"
    with database.write() as session:
        session.execute(update(RunRow).values(step=70, started_at=now() - timedelta(seconds=10)))
    # 10 steps in 10 s, and 30 to go.
    assert the_job(api, job).progress.eta_seconds == pytest.approx(30, abs=5)
    for shown in Page[Run].model_validate(api.get(f"/v1/jobs/{job.id}/runs").json()).data:
        assert shown.progress.eta_seconds == pytest.approx(30, abs=5)


def test_a_retry_goes_on_from_the_last_checkpoint(api: httpx2.Client, worker: FakeWorker, database: Database) -> None:
    job = submit(api)
    (run,) = worker.claim()
    run.checkpoint(60)
    run.finish(RunStatus.FAILED)
    assert api.post(f"/v1/jobs/{job.id}/retry").status_code == 202
    assert worker.claim()[0].resume_step == 60
    with database.read() as session:
        assert session.scalars(select(RunRow.attempt)).all() == [2]
