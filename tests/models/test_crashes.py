"""Losses of infrastructure are forgiven a few times; what breaks a cohort is found by splitting it."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from models import checkpoints, crashes, lifecycle, owner
from models.checkpoints import CheckpointFile
from models.crashes import PARTS
from models.database import Database
from models.lifecycle import MAX_CRASHES, Claim
from models.status import RunStatus, StatusReason
from tests.models.transactions import claim, commit, runs_of, statuses, submit, the_run

QUEUED, FAILED = RunStatus.QUEUED, RunStatus.FAILED
END: dict[str, Any] = {"step": 100, "train_seconds": 1.5, "summary": {}}


def lose(database: Database, found: Claim) -> None:
    for run in found.runs:
        commit(database, crashes.return_lost, run.id, run.attempt)


def break_down(database: Database, found: Claim) -> dict[str, RunStatus]:
    return commit(database, crashes.break_down, found.cohort_id, StatusReason.SEGFAULT, "signal 11")


def save(database: Database, found: Claim, step: int) -> None:
    file = CheckpointFile(f"checkpoints/{found.cohort_id}/{step}.safetensors", 1, "0" * 64)
    commit(database, checkpoints.point, found.cohort_id, step, file, [run.id for run in found.runs], 2)


def test_a_checkpoint_forgives_all_crashes_before_it(database: Database) -> None:
    submit(database)
    for _ in range(MAX_CRASHES):
        lose(database, claim(database))
    found = claim(database)
    save(database, found, 10)
    assert the_run(database, found.runs[0].id).crashes == 0
    lose(database, found)
    again = claim(database)
    assert (again.resume_step, the_run(database, again.runs[0].id).crashes) == (10, 1)


def test_a_checkpoint_that_is_being_recorded_while_a_run_is_lost_forgives_what_came_before(database: Database) -> None:
    submit(database)
    for _ in range(MAX_CRASHES - 1):
        lose(database, claim(database))
    found = claim(database)
    losing = threading.Thread(target=lose, args=(database, found))
    with database.write() as session:
        file = CheckpointFile("checkpoints/c/10", 1, "0" * 64)
        checkpoints.point(session, found.cohort_id, 10, file, [found.runs[0].id], 2)
        losing.start()
        time.sleep(0.3)
        assert losing.is_alive(), "it waits for whoever holds the run"
    losing.join()
    lost = the_run(database, found.runs[0].id)
    assert (lost.status, lost.crashes, lost.resume_step) == (QUEUED, 1, 10)


def test_losses_are_counted_from_attempt_to_attempt_and_neither_pauses_nor_drains_among_them(
    database: Database,
) -> None:
    job_id = submit(database)
    for _ in range(2 * MAX_CRASHES):
        run = claim(database).runs[0]
        assert commit(database, lifecycle.release, run.id, run.attempt) is QUEUED
        found = claim(database)
        commit(database, owner.pause, job_id)
        lose(database, found)
        assert statuses(database, job_id) == [RunStatus.PAUSED]
        commit(database, owner.resume, job_id)
    assert the_run(database, found.runs[0].id).crashes == 0


@pytest.mark.parametrize("reason", [StatusReason.OUT_OF_MEMORY, StatusReason.HUNG, StatusReason.ERROR])
def test_a_lone_run_that_was_to_pause_fails_of_what_it_did(database: Database, reason: StatusReason) -> None:
    job_id = submit(database)
    found = claim(database)
    commit(database, owner.pause, job_id)
    assert commit(database, crashes.break_down, found.cohort_id, reason, "why") == {found.runs[0].id: FAILED}
    failed = the_run(database, found.runs[0].id)
    assert (failed.status_reason, failed.status_detail, failed.worker_id) == (reason, "why", None)


def test_a_cohort_that_holds_nothing_any_more_breaks_nobody(database: Database) -> None:
    submit(database, seeds=2)
    found = claim(database)
    lose(database, found)
    claim(database, "worker_2")
    assert break_down(database, found) == {}
    assert {the_run(database, run.id).status for run in found.runs} == {RunStatus.RUNNING}


def cohorts_of(database: Database, run_id: str, times: int, happens: Callable[[Database, Claim], object]) -> list[int]:
    """The sizes of the next cohorts of a run, to each of which this happens; all others finish."""
    sizes: list[int] = []
    while len(sizes) < times:
        found = claim(database)
        if run_id in {run.id for run in found.runs}:
            sizes.append(len(found.runs))
            happens(database, found)
            continue
        for run in found.runs:
            assert commit(database, lifecycle.finish, run.id, run.attempt, RunStatus.SUCCEEDED, **END)
    return sizes


def test_whatever_takes_workers_down_has_ever_less_company_and_is_alone_at_last(database: Database) -> None:
    job_id = submit(database, seeds=2 * PARTS)
    culprit = runs_of(database, job_id)[0].id
    assert cohorts_of(database, culprit, MAX_CRASHES + 1, lose) == [16, 16, 2, 1]
    assert the_run(database, culprit).status == FAILED


@pytest.mark.parametrize(("runs", "sizes"), [(8, [8, 1]), (70, [70, 8, 1]), (512, [512, 64, 8, 1]), (2, [2, 1])])
def test_a_cohort_that_broke_down_is_split_until_whoever_broke_it_fails_alone(
    database: Database, runs: int, sizes: list[int]
) -> None:
    job_id = submit(database, seeds=runs)
    culprit = runs_of(database, job_id)[runs // 2].id
    assert cohorts_of(database, culprit, len(sizes), break_down) == sizes
    failed = [run for run in runs_of(database, job_id) if run.status == FAILED]
    assert [(run.id, run.status_reason, run.status_detail) for run in failed] == [
        (culprit, StatusReason.SEGFAULT, "signal 11")
    ]
    waiting = [run for run in runs_of(database, job_id) if run.status == QUEUED]
    assert {(run.status_reason, run.crashes) for run in waiting} <= {(StatusReason.COHORT_SPLIT, 0)}


def test_the_last_run_of_a_cohort_is_alone(database: Database) -> None:
    job_id = submit(database, seeds=2)
    found = claim(database)
    commit(database, owner.cancel, submit(database))
    with database.write() as session:
        session.get_one(type(the_run(database, found.runs[0].id)), found.runs[0].id).status = RunStatus.SUCCEEDED
    assert break_down(database, found) == {found.runs[1].id: FAILED}
    assert statuses(database, job_id) == [RunStatus.SUCCEEDED, FAILED]


def test_what_its_owner_wanted_of_a_run_happens_when_its_cohort_breaks_down(database: Database) -> None:
    jobs = [submit(database) for _ in range(3)]
    found = claim(database)
    commit(database, owner.pause, jobs[0])
    commit(database, owner.cancel, jobs[1])
    break_down(database, found)
    assert [statuses(database, job_id) for job_id in jobs] == [[RunStatus.PAUSED], [RunStatus.CANCELLED], [QUEUED]]


def test_a_run_that_was_to_pause_when_its_worker_vanished_is_paused(database: Database) -> None:
    job_id = submit(database)
    found = claim(database)
    save(database, found, 30)
    commit(database, owner.pause, job_id)
    lose(database, found)
    run = the_run(database, found.runs[0].id)
    assert (run.status, run.crashes, run.resume_step, run.worker_id) == (RunStatus.PAUSED, 0, 30, None)


def test_runs_that_were_split_keep_apart_from_those_that_were_not(database: Database) -> None:
    submit(database, seeds=3)
    break_down(database, claim(database))
    submit(database, seeds=4)
    assert [len(claim(database).runs) for _ in range(4)] == [1, 1, 1, 4]


def test_a_retry_forgets_that_a_cohort_was_split(database: Database) -> None:
    job_id = submit(database, seeds=2)
    break_down(database, claim(database))
    commit(database, owner.cancel, job_id)
    commit(database, owner.retry, job_id)
    assert len(claim(database).runs) == 2
