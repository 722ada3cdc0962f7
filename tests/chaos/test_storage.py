"""The disk is full: the checkpoint before stands, no file is torn; a run goes on once there is room, or says why."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from descent import Client
from models.answers import Job
from models.status import RunStatus, StatusReason
from models.storage import PARTIAL
from models.tables import Checkpoint
from tests.chaos.conftest import StartStack
from tests.chaos.load import Members
from tests.chaos.oracle import database_of
from tests.chaos.scenes import demand_whole, holder, in_training, the_run
from tests.chaos.stack import Stack
from tests.journey.service import eventually

pytestmark = pytest.mark.chaos

CHUNK = bytes(64 * 1024)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small disk takes root: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte; the file that takes them all."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for chunk in (CHUNK, b"\0"):
            try:
                while file.write(chunk) == len(chunk):
                    pass
            except OSError:
                continue
    return filler


def full_while_it_trains(stack: Stack, client: Client, disk: Path) -> tuple[Job, Path]:
    job = in_training(client, past=200)
    eventually(lambda: the_run(stack, job).resume_step > 0, "it is saved")
    filler = fill(disk)
    assert the_run(stack, job).status == RunStatus.RUNNING, "the disk was full in time"
    return job, filler


def demand_no_torn_file(stack: Stack) -> None:
    """Every checkpoint on record is whole, and nothing half written lies about."""
    with database_of(stack) as database, database.read() as session:
        recorded = session.execute(select(Checkpoint.storage_key, Checkpoint.sha256)).all()
    assert recorded
    for key, digest in recorded:
        assert hashlib.sha256((stack.storage / key).read_bytes()).hexdigest() == digest
    assert [name for _, _, names in os.walk(stack.storage) for name in names if name.endswith(PARTIAL)] == []


def test_a_run_goes_on_from_the_checkpoint_before_the_disk_was_full(
    fresh_stack: StartStack, small_disk: Path, peaceful: Members
) -> None:
    stack = fresh_stack(settings={"DESCENT_STORAGE_URL": str(small_disk / "storage")})
    with Client(stack.url, patience_seconds=60) as client:
        job, filler = full_while_it_trains(stack, client, small_disk)
        at = the_run(stack, job).resume_step
        holder(stack, job).family()[0].kill()
        eventually(lambda: the_run(stack, job).attempt == 2, "it is trained again")
        assert the_run(stack, job).resume_step == at
        demand_no_torn_file(stack)
        filler.unlink()
        demand_whole(stack, client, job, peaceful)


def test_a_run_whose_weights_find_no_room_fails_with_that_reason(fresh_stack: StartStack, small_disk: Path) -> None:
    settings = {"DESCENT_STORAGE_URL": str(small_disk / "storage"), "DESCENT_STORAGE_PATIENCE_SECONDS": "2"}
    stack = fresh_stack(settings=settings)
    with Client(stack.url, patience_seconds=60) as client:
        job, filler = full_while_it_trains(stack, client, small_disk)
        client.wait(job, timeout=60)
        ended = the_run(stack, job)
        assert (ended.status, ended.status_reason) == (RunStatus.FAILED, StatusReason.STORAGE_FAILED)
        assert "No space left" in (ended.status_detail or "")
        demand_no_torn_file(stack)
        filler.unlink()
        client.retry(job)
        assert client.wait(job, timeout=60).status is RunStatus.SUCCEEDED
