"""Runs go on from the newest checkpoint that is whole, and nobody can put another under them."""

from models import checkpoints, crashes, owner
from models.checkpoints import CheckpointFile
from models.database import Database
from models.lifecycle import Claim
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
