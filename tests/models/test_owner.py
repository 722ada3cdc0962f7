"""Owners pause, resume and extend; whatever races, a run ends once."""

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from models import checkpoints, lifecycle, owner
from models.checkpoints import CheckpointFile
from models.database import Database
from models.lifecycle import Claim
from models.owner import IllegalAction
from models.spec.job import Budget, JobSpec
from models.spec.plan import PlanError, plan
from models.status import RunStatus, StatusReason
from models.tables import Analysis, Job
from tests.api.specs import spec
from tests.models.transactions import claim, commit, runs_of, statuses, submit, the_run

QUEUED, RUNNING, PAUSING, PAUSED = RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.PAUSED
SUCCEEDED, FAILED, CANCELLED = RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED
END: dict[str, Any] = {"step": 100, "train_seconds": 1.5, "summary": {}}


def finish(database: Database, found: Claim, status: RunStatus = SUCCEEDED, **more: Any) -> None:
    for run in found.runs:
        assert commit(database, lifecycle.finish, run.id, run.attempt, status, **END, **more)


def save(database: Database, found: Claim, step: int) -> None:
    file = CheckpointFile(f"checkpoints/{found.cohort_id}/{step}.safetensors", 1, "0" * 64)
    commit(database, checkpoints.point, found.cohort_id, step, file, [run.id for run in found.runs], 2)


# ── pausing ──────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_rests_at_once_and_what_trains_when_its_worker_lets_go(database: Database) -> None:
    job_id = submit(database, seeds=2)
    found = claim(database, limit=1)
    commit(database, owner.pause, job_id)
    assert statuses(database, job_id) == [PAUSING, PAUSED]
    save(database, found, 40)
    run = found.runs[0]
    assert commit(database, lifecycle.release, run.id, run.attempt) is PAUSED
    paused = the_run(database, run.id)
    assert (paused.status_reason, paused.crashes, paused.resume_step) == (StatusReason.PAUSED_BY_USER, 0, 40)
    assert commit(database, lifecycle.claim, "worker_2", "cpu", lambda _: 9) is None
    commit(database, owner.pause, job_id)  # again is fine
    commit(database, owner.resume, job_id)
    assert statuses(database, job_id) == [QUEUED, QUEUED]
    assert {claim(database).resume_step, claim(database).resume_step} == {0, 40}


def test_a_run_that_is_resumed_before_its_worker_let_go_goes_on_where_it_is(database: Database) -> None:
    job_id = submit(database)
    found = claim(database)
    commit(database, owner.pause, job_id)
    commit(database, owner.resume, job_id)
    assert statuses(database, job_id) == [RUNNING]
    finish(database, found)
    assert statuses(database, job_id) == [SUCCEEDED]


def test_a_paused_job_can_be_cancelled(database: Database) -> None:
    job_id = submit(database, seeds=2)
    claim(database, limit=1)
    commit(database, owner.pause, job_id)
    commit(database, owner.cancel, job_id)
    assert statuses(database, job_id) == [RunStatus.CANCELLING, CANCELLED]


def test_whatever_races_a_run_ends_once(database: Database) -> None:
    """1,000 requests and endings of 40 runs, from four threads at once."""
    jobs = [submit(database) for _ in range(40)]
    held = {run.job_id: run for run in claim(database).runs}
    endings: list[str] = []

    def act(seed: int) -> None:
        chosen = random.Random(seed)
        actions: list[Callable[..., None]] = [owner.cancel, owner.pause, owner.resume, owner.pause]
        for _ in range(250):
            job_id = chosen.choice(jobs)
            run = held[job_id]
            if chosen.random() < 0.1:
                status = chosen.choice([SUCCEEDED, CANCELLED, FAILED])
                if commit(database, lifecycle.finish, run.id, run.attempt, status, **END):
                    endings.append(run.id)
                continue
            try:
                commit(database, chosen.choice(actions), job_id)
            except IllegalAction:
                continue

    threads = [threading.Thread(target=act, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(endings) == len(set(endings))
    ended = {run.id for job_id in jobs for run in runs_of(database, job_id) if RunStatus(run.status).is_terminal}
    assert ended == set(endings), "a run that a worker holds is ended by the worker alone"


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────


def extend(database: Database, job_id: str, **budget: int) -> None:
    with database.write() as session:
        job = session.get_one(Job, job_id)
        longer = owner.extended(JobSpec.model_validate(job.spec), Budget(**budget))
        owner.extend(session, job, longer, plan(longer))


def test_runs_that_spent_their_budget_go_on_from_their_last_checkpoint(database: Database) -> None:
    job_id = submit(database, seeds=2, analyses=["hessian"])
    found = claim(database)
    save(database, found, 99)
    finish(database, found)
    extend(database, job_id, steps=150)
    assert statuses(database, job_id) == [QUEUED, QUEUED]
    again = claim(database)
    assert (again.resume_step, len(again.runs), plan(again.runs[0].spec).steps) == (99, 2, 150)
    assert {run.total_steps for run in runs_of(database, job_id)} == {150}
    with database.read() as session:
        job = session.get_one(Job, job_id)
        assert JobSpec.model_validate(job.spec).spec_hash == job.spec_hash
        assert session.scalars(select(Analysis)).all() == []


def test_whoever_stopped_early_or_failed_stays_as_it_is(database: Database) -> None:
    job_id = submit(database, seeds=3)
    for status, more in ((SUCCEEDED, {"reason": StatusReason.STOPPED_EARLY}), (FAILED, {}), (SUCCEEDED, {})):
        finish(database, claim(database, limit=1), status, **more)
    extend(database, job_id, steps=150)
    assert statuses(database, job_id) == [SUCCEEDED, FAILED, QUEUED]


def test_a_job_whose_runs_all_stopped_early_cannot_be_extended(database: Database) -> None:
    job_id = submit(database)
    finish(database, claim(database), reason=StatusReason.STOPPED_EARLY)
    with pytest.raises(IllegalAction, match="stopped early"):
        extend(database, job_id, steps=150)


def test_a_budget_is_extended_only_at_the_end(database: Database) -> None:
    job_id = submit(database)
    claim(database)
    with pytest.raises(IllegalAction, match="once every run has ended"):
        extend(database, job_id, steps=150)


def test_the_record_keeps_its_rhythm_under_a_larger_budget() -> None:
    before = JobSpec.model_validate(spec(budget={"steps": 10_000}))
    after = owner.extended(before, Budget(steps=100_000))
    assert (plan(after).record_every, plan(after).evaluate_every) == (
        plan(before).record_every,
        plan(before).evaluate_every,
    )
    assert plan(JobSpec.model_validate(spec(budget={"steps": 100_000}))).record_every != plan(before).record_every


@pytest.mark.parametrize(
    ("changes", "budget", "words"),
    [
        ({"schedule": "cosine"}, {"steps": 500}, 'the schedule "cosine" goes by the budget'),
        ({"evaluation": {"kind": "boosting"}}, {"steps": 500}, "round of boosting"),
        ({}, {"steps": 100}, "no more than the 100"),
        ({}, {"steps": 7}, "no more than the 100"),
    ],
)
def test_a_budget_that_would_have_changed_what_was_trained_is_refused(
    changes: dict[str, Any], budget: dict[str, int], words: str
) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        owner.extended(JobSpec.model_validate(spec(**changes)), Budget(**budget))
    assert caught.value.pointer == "/budget"
