"""Runs go on from the newest checkpoint that is whole, and nobody can put another under them."""

import pytest
from sqlalchemy import select

from models import checkpoints, crashes, lifecycle, owner
from models.checkpoints import CheckpointFile, CheckpointGone, Place
from models.database import Database
from models.lifecycle import Claim
from models.tables import Checkpoint, Cohort, MetricSegment, Snapshot
from tests.models.transactions import claim, commit, submit, the_run


def file_of(found: Claim, step: int) -> CheckpointFile:
    return CheckpointFile(f"checkpoints/{found.cohort_id}/{step}.safetensors", 9, f"{step:064}")


def save(database: Database, found: Claim, step: int, most: int = 2) -> list[str]:
    ids = [run.id for run in found.runs]
    return commit(database, checkpoints.point, found.cohort_id, step, file_of(found, step), ids, most)


def lose(database: Database, found: Claim) -> None:
    for run in found.runs:
        commit(database, crashes.return_lost, run.id, run.attempt)


def test_runs_saved_at_the_same_step_go_on_together_and_others_apart(database: Database) -> None:
    submit(database, seeds=3)
    first = claim(database, limit=2)
    second = claim(database)
    save(database, first, 40)
    for found in (first, second):
        lose(database, found)
    again = [claim(database), claim(database)]
    assert sorted((found.resume_step, len(found.runs)) for found in again) == [(0, 1), (40, 2)]


def test_a_claim_knows_in_which_row_of_which_file_its_runs_stand(database: Database) -> None:
    submit(database, seeds=2)
    found = claim(database)
    save(database, found, 40)
    lose(database, found)
    again = claim(database)
    with database.read() as session:
        places = checkpoints.places(session, again)
    assert [(place.file, place.row) for place in places] == [(file_of(found, 40), row) for row in (0, 1)]
    assert len({place.checkpoint_id for place in places}) == 1
    submit(database, optimizer="sgd")
    with database.read() as session:
        assert checkpoints.places(session, claim(database)) == []


def test_the_newest_are_kept_and_older_files_are_nobodys(database: Database) -> None:
    submit(database, seeds=2)
    found = claim(database)
    assert [save(database, found, step) for step in (10, 20)] == [[], []]
    assert save(database, found, 30) == [file_of(found, 10).storage_key]
    assert save(database, found, 40, most=1) == [file_of(found, 20).storage_key, file_of(found, 30).storage_key]


def test_a_checkpoint_under_an_old_attempt_changes_nothing(database: Database) -> None:
    submit(database)
    zombie = claim(database)
    save(database, zombie, 10)
    lose(database, zombie)
    successor = claim(database, "worker_2")
    assert save(database, zombie, 90) == [file_of(zombie, 90).storage_key]
    assert the_run(database, successor.runs[0].id).resume_step == 10
    assert save(database, successor, 20) == []


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_then_to_the_beginning(database: Database) -> None:
    submit(database)
    found = claim(database)
    run_id = found.runs[0].id
    for step in (10, 20):
        save(database, found, step)
    lose(database, found)
    for key, step in ((file_of(found, 20), 10), (file_of(found, 10), 0)):
        again = claim(database)
        with database.read() as session:
            (place,) = checkpoints.places(session, again)
        assert commit(database, checkpoints.discard, place.checkpoint_id) == key.storage_key
        assert commit(database, checkpoints.discard, place.checkpoint_id) is None
        assert the_run(database, run_id).resume_step == step
        lose(database, again)
    assert claim(database).resume_step == 0


def test_a_file_that_another_job_needs_outlives_the_job(database: Database) -> None:
    jobs = [submit(database), submit(database)]
    found = claim(database)
    save(database, found, 10)
    for job_id in jobs:
        commit(database, owner.cancel, job_id)
    lose(database, found)
    assert commit(database, owner.delete_job, jobs[0]) == []
    assert commit(database, owner.delete_job, jobs[1]) == [file_of(found, 10).storage_key]


def test_a_file_that_is_found_damaged_once_is_gone_for_every_run_in_it(database: Database) -> None:
    submit(database, seeds=3)
    found = claim(database)
    for step in (10, 20):
        save(database, found, step)
    lose(database, found)
    one, other = claim(database, limit=2), claim(database, "worker_2")
    with database.read() as session:
        damaged = checkpoints.places(session, one)[0].checkpoint_id
    assert commit(database, checkpoints.discard, damaged) == file_of(found, 20).storage_key
    with database.read() as session, pytest.raises(CheckpointGone, match="at step 20"):
        checkpoints.places(session, other)
    for run in (*one.runs, *other.runs):
        assert commit(database, lifecycle.release, run.id, run.attempt)
    again = claim(database)
    assert (again.resume_step, len(again.runs)) == (10, 3)


def test_a_run_that_was_saved_again_keeps_its_newest_when_an_older_one_is_discarded(database: Database) -> None:
    submit(database)
    found = claim(database)
    save(database, found, 10)
    with database.read() as session:
        (older,) = session.scalars(select(Checkpoint.id)).all()
    save(database, found, 20)
    commit(database, checkpoints.discard, older)
    assert the_run(database, found.runs[0].id).resume_step == 20


def test_a_run_without_checkpoints_begins_anew(database: Database) -> None:
    submit(database, seeds=2)
    found = claim(database)
    save(database, found, 10)
    ids = [run.id for run in found.runs]
    assert commit(database, checkpoints.prune, ids[:1], 0) == [], "the other run still needs the file"
    assert [the_run(database, run_id).resume_step for run_id in ids] == [0, 10]
    assert commit(database, checkpoints.prune, ids[1:], 0) == [file_of(found, 10).storage_key]
    with database.read() as session:
        assert session.scalars(select(Checkpoint.id)).all() == []


def test_a_file_that_two_checkpoints_name_goes_with_the_last_of_them(database: Database) -> None:
    submit(database, seeds=2)
    found = claim(database)
    one, other = (run.id for run in found.runs)
    file = file_of(found, 10)
    for run_id in (one, other):
        assert commit(database, checkpoints.point, found.cohort_id, 10, file, [run_id], 2) == []
    assert commit(database, checkpoints.prune, [one], 0) == []
    assert commit(database, checkpoints.prune, [other], 0) == [file.storage_key]


def test_only_those_runs_are_pointed_to_a_checkpoint_that_the_cohort_still_holds(database: Database) -> None:
    job_id = submit(database, seeds=2)
    found = claim(database)
    first, second = found.runs
    assert commit(database, lifecycle.release, first.id, first.attempt)
    commit(database, owner.pause, job_id)
    assert save(database, found, 30) == []
    assert [the_run(database, run.id).resume_step for run in (first, second)] == [0, 30]
    lose(database, found)
    commit(database, owner.resume, job_id)
    again = [claim(database), claim(database)]
    (place,) = next(_places(database, one) for one in again if one.resume_step)
    assert place.row == 1, "its row is its place in the file, whoever else went"


def _places(database: Database, found: Claim) -> list[Place]:
    with database.read() as session:
        return checkpoints.places(session, found)


def test_a_resumed_attempt_keeps_the_snapshots_up_to_its_checkpoint_and_the_points_of_all(database: Database) -> None:
    submit(database)
    found = claim(database)
    run = found.runs[0]
    with database.write() as session:
        session.add_all(Snapshot(run_id=run.id, step=step, content={}) for step in (10, 20, 21, 30))
        session.add(MetricSegment(run_id=run.id, attempt=1, first_number=0, last_number=0, payload=b""))
    save(database, found, 20)
    lose(database, found)
    again = claim(database)
    resumed = the_run(database, run.id)
    assert (resumed.step, resumed.attempt) == (20, 2)
    with database.read() as session:
        assert session.scalars(select(Snapshot.step).order_by(Snapshot.step)).all() == [10, 20]
        assert session.scalars(select(MetricSegment.attempt)).all() == [1]
        cohort = session.get_one(Cohort, again.cohort_id)
    assert cohort.from_step == 20
