"""Owners pause, resume and extend; whatever races, a run ends once."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import select

from models import analysing, checkpoints, crashes, lifecycle, owner
from models.checkpoints import CheckpointFile
from models.database import Database
from models.lifecycle import Claim
from models.owner import IllegalAction
from models.spec.analyses import Hessian
from models.spec.job import LONG_STEPS, Budget, JobSpec
from models.spec.plan import PlanError, plan
from models.status import RunStatus, StatusReason
from models.tables import Analysis, Job, Run, TestLook, now
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


def test_a_pause_takes_the_place_of_why_a_run_waited(database: Database) -> None:
    job_id = submit(database, seeds=2)
    commit(database, crashes.break_down, claim(database).cohort_id, StatusReason.HUNG, "silent")
    assert all("broke down" in (run.status_detail or "") for run in runs_of(database, job_id))
    commit(database, owner.pause, job_id)
    assert {(run.status_reason, run.status_detail) for run in runs_of(database, job_id)} == {
        (StatusReason.PAUSED_BY_USER, None)
    }
    commit(database, owner.resume, job_id)
    assert {run.most_together for run in runs_of(database, job_id)} == {1}, "still kept apart"


def test_a_run_that_is_given_back_after_it_was_resumed_waits_instead_of_resting(database: Database) -> None:
    job_id = submit(database)
    run = claim(database).runs[0]
    commit(database, owner.pause, job_id)
    commit(database, owner.resume, job_id)
    # Its worker had heard of the pause, and not of its end.
    assert commit(database, lifecycle.release, run.id, run.attempt) is QUEUED
    assert statuses(database, job_id) == [QUEUED]


@pytest.mark.parametrize(("action", "status"), [(owner.pause, PAUSED), (owner.cancel, CANCELLED)])
def test_a_worker_that_lets_go_while_its_owner_asks_for_something_does_what_is_asked(
    database: Database, action: Callable[..., None], status: RunStatus
) -> None:
    job_id = submit(database)
    run = claim(database).runs[0]
    became: list[RunStatus | None] = []
    letting_go = threading.Thread(
        target=lambda: became.append(commit(database, lifecycle.release, run.id, run.attempt))
    )
    with database.write() as session:
        action(session, job_id)
        letting_go.start()
        time.sleep(0.3)
        assert letting_go.is_alive(), "it waits for what is being asked"
    letting_go.join()
    assert (became, statuses(database, job_id)) == ([status], [status])


def test_a_round_that_was_retried_while_the_one_before_was_let_go_does_not_wait_for_good(database: Database) -> None:
    job_id = submit(database, evaluation={"kind": "boosting", "rounds": 3})
    run = claim(database).runs[0]
    commit(database, owner.cancel, job_id)
    commit(database, owner.retry, job_id)
    assert statuses(database, job_id) == [RunStatus.CANCELLING, QUEUED, QUEUED]
    assert commit(database, lifecycle.release, run.id, run.attempt) is CANCELLED
    assert statuses(database, job_id) == [CANCELLED] * 3
    commit(database, owner.retry, job_id)
    assert claim(database).runs[0].id == run.id


def test_a_retry_goes_on_from_the_last_checkpoint_with_nothing_held_against_it(database: Database) -> None:
    job_id = submit(database)
    found = claim(database)
    save(database, found, 40)
    commit(database, crashes.return_lost, found.runs[0].id, found.runs[0].attempt)
    finish(database, claim(database), FAILED, reason=StatusReason.DIVERGED, detail="why")
    commit(database, owner.retry, job_id)
    waiting = runs_of(database, job_id)[0]
    assert (waiting.crashes, waiting.status_reason, waiting.status_detail, waiting.resume_step) == (0, None, None, 40)


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


class Bustle:
    """Owners who press buttons, a worker that obeys, and every ending that was ever to be seen."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.endings: set[tuple[str, RunStatus]] = set()
        self.is_over = threading.Event()

    def look(self) -> bool:
        """Remember the endings that are there now; whether all have ended."""
        with self.database.read() as session:
            seen = [(run_id, RunStatus(status)) for run_id, status in session.execute(select(Run.id, Run.status))]
        self.endings.update((run_id, status) for run_id, status in seen if status.is_terminal)
        return all(status.is_terminal for _, status in seen)

    def press(self, action: Callable[..., None], jobs: Sequence[str]) -> None:
        for job_id in jobs:
            with suppress(IllegalAction):
                commit(self.database, action, job_id)

    def work(self) -> None:
        chosen = random.Random(0)
        while not self.is_over.is_set():
            found = commit(self.database, lifecycle.claim, "worker_1", "cpu", lambda _: 8)
            for run in found.runs if found else ():
                if chosen.random() < 0.3:
                    commit(self.database, lifecycle.finish, run.id, run.attempt, SUCCEEDED, **END)
                else:
                    commit(self.database, lifecycle.release, run.id, run.attempt)
            self.look()


def test_whatever_owners_want_at_once_an_ending_is_for_good(database: Database) -> None:
    """Three owners of 250 jobs press pause, resume and cancel, 1,020 times in all, while a worker obeys."""
    wanted = JobSpec.model_validate(spec())
    with database.write() as session:
        jobs = [owner.submit(session, "admin", wanted, plan(wanted)).id for _ in range(250)]
    bustle = Bustle(database)
    worker = threading.Thread(target=bustle.work)
    owners = [
        threading.Thread(target=bustle.press, args=(action, random.Random(seed).choices(jobs, k=340)))
        for seed, action in enumerate((owner.pause, owner.resume, owner.cancel))
    ]
    for thread in (worker, *owners):
        thread.start()
    for thread in owners:
        thread.join()
    bustle.press(owner.resume, jobs)
    deadline = time.monotonic() + 20
    while not bustle.look() and time.monotonic() < deadline:
        time.sleep(0.05)
    bustle.is_over.set()
    worker.join()
    assert bustle.look(), "every run comes to an end"
    assert len(bustle.endings) == len({run_id for run_id, _ in bustle.endings}) == len(jobs)
    assert {status for _, status in bustle.endings} == {SUCCEEDED, CANCELLED}


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
    commit(database, analysing.ask, [run.id for run in found.runs], Hessian().model_dump(mode="json"), 0)
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


def test_what_the_job_allows_besides_is_told_where_it_cannot_be_extended(database: Database) -> None:
    job_id = submit(database, seeds=2)
    finish(database, claim(database, limit=1), reason=StatusReason.STOPPED_EARLY)
    finish(database, claim(database), FAILED)
    with pytest.raises(IllegalAction, match="stopped early") as caught:
        extend(database, job_id, steps=150)
    assert caught.value.legal == ["retry", "delete"]


def test_who_opened_the_sealed_test_cannot_train_on(database: Database) -> None:
    job_id = submit(database)
    finish(database, claim(database))
    facts = dict.fromkeys(("owner", "job_name", "spec_hash", "experiment", "dataset_key", "opened_by", "reason"), "")
    commit(database, lambda session: session.add(TestLook(id="look_1", job_id=job_id, opened_at=now(), **facts)))
    before = runs_of(database, job_id)[0]
    with pytest.raises(IllegalAction, match="sealed test was opened") as caught:
        extend(database, job_id, steps=150)
    assert caught.value.legal == ["delete"]
    after = runs_of(database, job_id)[0]
    assert (after.status, after.total_steps, after.cohort_key) == (SUCCEEDED, 100, before.cohort_key)


def test_a_limit_of_seconds_is_no_other_spec_and_keeps_nobody_from_a_cohort(database: Database) -> None:
    job_id, other = submit(database), submit(database)
    with database.write() as session:
        job = session.get_one(Job, job_id)
        known = job.spec_hash
        owner.limit_seconds(job, JobSpec.model_validate(job.spec), 60.0)
    with database.read() as session:
        job = session.get_one(Job, job_id)
        limited = JobSpec.model_validate(job.spec)
    assert (job.version, job.spec_hash, limited.spec_hash, limited.budget.max_seconds) == (2, known, known, 60.0)
    found = claim(database)
    assert {run.job_id: run.spec.budget.max_seconds for run in found.runs} == {job_id: 60.0, other: None}


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
    ("before", "after", "execution"),
    [
        (LONG_STEPS - 1, LONG_STEPS, "eager"),
        (LONG_STEPS, LONG_STEPS + 1, "auto"),
        (LONG_STEPS - 2, LONG_STEPS - 1, "auto"),
    ],
)
def test_a_run_that_was_trained_eagerly_goes_on_so_however_long_it_is_now(
    before: int, after: int, execution: str
) -> None:
    longer = owner.extended(JobSpec.model_validate(spec(budget={"steps": before})), Budget(steps=after))
    assert longer.execution == execution
    assert longer.budget.steps == after


@pytest.mark.parametrize(
    ("changes", "budget", "words"),
    [
        ({"schedule": "cosine"}, {"steps": 500}, 'the schedule "cosine" may go by the budget'),
        ({"evaluation": {"kind": "boosting"}}, {"steps": 500}, "round of boosting"),
        ({}, {"steps": 100}, "no more than the 100"),
        ({}, {"steps": 7}, "no more than the 100"),
        ({}, {"steps": 5_000_000}, "under this budget 15,000,010 points a run exceed"),
    ],
)
def test_a_budget_that_would_have_changed_what_was_trained_is_refused(
    changes: dict[str, Any], budget: dict[str, int], words: str
) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        owner.extended(JobSpec.model_validate(spec(**changes)), Budget(**budget))
    assert caught.value.pointer == "/budget"
