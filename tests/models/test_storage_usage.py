"""Which bytes count towards an owner's quota, and how often."""

import pytest
from sqlalchemy import update

from models import checkpoints, owner
from models.checkpoints import CheckpointFile
from models.database import Database
from models.lifecycle import Claim
from models.status import RunStatus
from models.storage_usage import StorageUsage, storage_usage
from models.tables import Artifact, Dataset, Run, new_id, now
from tests.models.transactions import claim, commit, submit


def usage(database: Database, name: str = "ada") -> StorageUsage:
    with database.of(name).read() as session:
        return storage_usage(session, name)


def save(database: Database, found: Claim, step: int, size: int) -> None:
    """Store a checkpoint of all runs of a cohort."""
    file = CheckpointFile(f"checkpoints/{found.cohort_id}/{step}.safetensors", size, "0" * 64)
    commit(database, checkpoints.point, found.cohort_id, step, file, [run.id for run in found.runs], 2)


def end(database: Database, found: Claim, status: RunStatus, size: int) -> None:
    """End the runs of a cohort, each with weights of so many bytes."""
    with database.write() as session:
        for run in found.runs:
            session.add(
                Artifact(
                    id=new_id("artifact"),
                    run_id=run.id,
                    name="weights.safetensors",
                    media_type="application/octet-stream",
                    size=size,
                    sha256="0" * 64,
                    storage_key=f"runs/{run.id}/1/weights.safetensors",
                    created_at=now(),
                )
            )
        session.execute(update(Run).where(Run.cohort_id == found.cohort_id).values(status=status, finished_at=now()))


@pytest.fixture
def expected(database: Database) -> int:
    """The bytes that each of three runs of Ada's is expected to leave, of which one belongs to another job."""
    submit(database, "ada", seeds=2)
    submit(database, "ada", seeds=[9], batch_size=8)
    submit(database, "bob")
    with database.read() as session:
        return storage_usage(session, "bob").expected


def test_each_file_counts_once_and_for_its_owner(database: Database, expected: int) -> None:
    found = claim(database)
    assert len(found.runs) == 2
    save(database, found, 10, 1_000)
    end(database, found, RunStatus.SUCCEEDED, 300)
    facts = {"name": "", "format": "csv", "sha256": "", "options": {}, "description": {}, "preview": {}}
    with database.write() as session:
        session.add(Dataset(id="dataset_1", owner="ada", size=9, stored_bytes=50, rows=1, created_at=now(), **facts))
    assert usage(database) == StorageUsage(datasets=50, artifacts=600, checkpoints=1_000, expected=expected)
    assert usage(database, "bob") == StorageUsage(0, 0, 0, expected)
    assert usage(database).stored == 1_650
    assert usage(database).total == 1_650 + expected


def test_what_an_unfinished_run_has_already_is_not_expected_again(database: Database, expected: int) -> None:
    assert usage(database) == StorageUsage(0, 0, 0, 3 * expected)
    found = claim(database)
    save(database, found, 10, 1_000)
    assert usage(database) == StorageUsage(0, 0, 1_000, 3 * expected - 1_000)
    end(database, found, RunStatus.FAILED, 300)
    assert usage(database) == StorageUsage(0, 600, 1_000, expected)
    commit(database, owner.retry, found.runs[0].job_id)
    assert usage(database) == StorageUsage(0, 600, 1_000, 3 * expected - 1_600)


def test_more_than_expected_is_not_subtracted_from_other_runs(database: Database, expected: int) -> None:
    save(database, claim(database), 10, 9 * expected)
    assert usage(database).expected == 0
