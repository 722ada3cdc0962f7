"""The suite is no better than what it catches: each of these ways to break the product turns it red."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from descent import Client
from models import crashes, lifecycle
from models.database import Database
from models.settings import Settings
from models.status import RunStatus
from tests.chaos import mutants
from tests.chaos.conftest import SPEC, StartStack
from tests.chaos.load import Members
from tests.chaos.oracle import complaints
from tests.chaos.scenes import holder, in_training, put_to_sleep, segments, the_run
from tests.chaos.stack import LEASE_SECONDS, Stack
from tests.journey.service import eventually
from tests.models.transactions import claim, commit, statuses, submit
from tests.servers import http_client

ENDING: dict[str, Any] = {"step": 10, "train_seconds": 1.0, "summary": {}}
SAVED_BY_STEPS = {"DESCENT_CHECKPOINT_SECONDS": "1000", "DESCENT_CHECKPOINT_STEPS": "20000"}
"""Then points come to SQL that lie past the last checkpoint."""

Scene = Callable[[Stack, Client, Members], bool]


@pytest.fixture
def moves() -> Iterator[None]:
    """What the mutants of this process replace is put back."""
    whole = lifecycle.move
    yield
    vars(lifecycle)["move"] = vars(crashes)["move"] = whole


def late_ending_is_refused(database: Database) -> bool:
    """A worker that was taken for dead ends its run while another trains it."""
    job_id = submit(database)
    lost = claim(database).runs[0]
    commit(database, crashes.return_lost, lost.id, lost.attempt)
    claim(database, "worker_2")
    commit(database, lifecycle.finish, lost.id, lost.attempt, RunStatus.SUCCEEDED, **ENDING)
    return statuses(database, job_id) == [RunStatus.RUNNING]


def second_ending_is_refused(database: Database) -> bool:
    """A run that has succeeded is taken for lost, and ended once more."""
    job_id = submit(database)
    run = claim(database).runs[0]
    commit(database, lifecycle.finish, run.id, run.attempt, RunStatus.SUCCEEDED, **ENDING)
    commit(database, crashes.return_lost, run.id, run.attempt)
    commit(database, lifecycle.finish, run.id, run.attempt, RunStatus.FAILED, **ENDING)
    return statuses(database, job_id) == [RunStatus.SUCCEEDED]


REFUSALS: list[tuple[str, Callable[[Database], bool]]] = [
    ("without_fencing", late_ending_is_refused),
    ("without_compare_and_set", second_ending_is_refused),
]


@pytest.fixture
def empty_database(database_url: str) -> Iterator[Database]:
    database = Database(Settings(database_url=database_url).database())
    yield database
    database.dispose()


@pytest.mark.usefixtures("moves")
@pytest.mark.parametrize(("mutant", "refuses"), REFUSALS)
def test_a_lifecycle_that_does_not_look_before_it_writes_is_caught(
    empty_database: Database, mutant: str, refuses: Callable[[Database], bool]
) -> None:
    assert refuses(empty_database)
    mutants.MUTANTS[mutant]()
    assert not refuses(empty_database)


# ── scenes: whether all is well in the end ───────────────────────────────────────────────────────


def worker_vanishes(stack: Stack, client: Client, _: Members) -> bool:
    """Its runs are trained by another."""
    job = in_training(client)
    stack.workers[0].send(signal.SIGKILL)
    try:
        eventually(lambda: the_run(stack, job).attempt == 2, "it is trained again", seconds=15)
    except AssertionError:
        return False
    return True


def process_is_killed(stack: Stack, client: Client, peaceful: Members) -> bool:
    """A run goes on from a checkpoint to what it would have come to."""
    job = in_training(client)
    process = holder(stack, job).family()[0]

    def has_points_past_its_checkpoint() -> bool:
        run = the_run(stack, job)
        return run.status == RunStatus.RUNNING and run.step > run.resume_step > 0

    eventually(has_points_past_its_checkpoint, "it is saved, and trains on")
    process.kill()
    client.wait(job, timeout=60)
    assert the_run(stack, job).attempt == 2, "it was killed in time"
    return complaints(stack, job.id, peaceful) == []


def checkpoint_is_tampered_with(stack: Stack, client: Client, peaceful: Members) -> bool:
    """A run whose checkpoint was changed while it rested comes to what it would have come to."""
    job = in_training(client)
    client.pause(job)
    eventually(lambda: client.job(job).status is RunStatus.PAUSED, "it is paused")
    newest = max((stack.storage / "checkpoints").rglob("*.safetensors"), key=_age)
    content = bytearray(newest.read_bytes())
    # Some numbers in the midst of it, by a little: a file that can be read as well as before.
    middle = len(content) // 2 // 4 * 4
    for number in range(middle, middle + 4 * 64, 4):
        content[number + 2] ^= 0x10
    newest.write_bytes(content)
    client.resume(job)
    client.wait(job, timeout=60)
    return complaints(stack, job.id, peaceful) == []


def _age(path: Path) -> float:
    return path.stat().st_mtime


def worker_sleeps(stack: Stack, client: Client, peaceful: Members) -> bool:
    """A worker that slept for longer than its lease writes nothing more about what others have taken."""
    job = in_training(client)
    sleeper = holder(stack, job)
    put_to_sleep(stack, sleeper)
    stack.add_worker()
    eventually(lambda: the_run(stack, job).attempt == 2, "another takes it", seconds=40)
    before = segments(stack, job, attempt=1)
    sleeper.send(signal.SIGCONT)
    client.wait(job, timeout=60)
    time.sleep(2 * LEASE_SECONDS)
    return segments(stack, job, attempt=1) == before and complaints(stack, job.id, peaceful) == []


def submission_comes_again(stack: Stack, client: Client, _: Members) -> bool:
    """It has one effect."""
    key, name = {"Idempotency-Key": str(uuid4())}, f"again-{uuid4()}"
    with http_client(stack.url, timeout=30) as http:
        for _time in range(2):
            assert http.post("/v1/jobs", json=SPEC | {"name": name}, headers=key).status_code == 202
    return len([job for job in client.jobs() if job.name == name]) == 1


CAUGHT: list[tuple[str, Scene]] = [
    ("without_relay", worker_vanishes),
    ("without_rollback", process_is_killed),
    ("without_optimizer_state", process_is_killed),
    ("without_verification", checkpoint_is_tampered_with),
    ("without_lease", worker_sleeps),
    ("without_idempotency", submission_comes_again),
]


@pytest.mark.chaos
@pytest.mark.parametrize("scene", dict.fromkeys(scene for _, scene in CAUGHT))
def test_all_is_well_with_the_product(start_stack: StartStack, peaceful: Members, scene: Scene) -> None:
    stack = start_stack(settings=SAVED_BY_STEPS)
    with Client(stack.url, patience_seconds=60) as client:
        assert scene(stack, client, peaceful)


@pytest.mark.chaos
@pytest.mark.parametrize(("mutant", "scene"), CAUGHT)
def test_a_mutant_is_caught(start_stack: StartStack, peaceful: Members, mutant: str, scene: Scene) -> None:
    stack = start_stack(settings=SAVED_BY_STEPS | {mutants.VARIABLE: mutant})
    with Client(stack.url, patience_seconds=60) as client:
        assert not scene(stack, client, peaceful)


def test_every_mutant_is_caught_by_something() -> None:
    here = {mutant for mutant, _ in (*REFUSALS, *CAUGHT)}
    assert set(mutants.MUTANTS) == here | {"without_chunks_beside_the_checkpoint"}, "that one is test_small_dose's"
