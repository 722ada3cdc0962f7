"""The suite is no better than what it catches: each of these ways to break the product turns it red."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase
from hypothesis import settings as examples
from hypothesis.stateful import run_state_machine_as_test
from safetensors.numpy import save

from descent import Client
from models import crashes, lifecycle
from models.database import Database
from models.settings import Settings
from models.status import RunStatus
from models.storage import Storage
from tests.chaos import mutants
from tests.chaos.conftest import StartStack
from tests.chaos.stack import Stack
from tests.journey.service import eventually, train_on
from tests.models.test_lifecycle_machine import Life
from worker import artifacts

SPEC: dict[str, Any] = {
    "dataset": "sine",
    "network": {"kind": "mlp", "hidden": [16, 16]},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "budget": {"steps": 12_000},
}


@pytest.fixture
def moves() -> Iterator[None]:
    """What the mutants of this process replace is put back."""
    whole = lifecycle.move
    yield
    vars(lifecycle)["move"] = vars(crashes)["move"] = whole


@pytest.mark.usefixtures("moves")
@pytest.mark.parametrize("mutant", ["without_fencing", "without_compare_and_set"])
def test_a_lifecycle_that_does_not_look_before_it_writes_is_caught(sqlite_url: str, mutant: str) -> None:
    Life.database = Database(Settings(database_url=sqlite_url).database())
    mutants.MUTANTS[mutant]()
    # Found is enough: nobody needs the shortest example.
    search = examples(max_examples=200, stateful_step_count=30, deadline=None, phases=[Phase.generate], database=None)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Life, settings=search)


def returns(stack: Stack, client: Client) -> bool:
    """Whether a run whose worker vanished as a whole is trained by another."""
    job = client.submit(SPEC)
    train_on(client, client.runs(job)[0], 500)
    stack.workers[0].send(signal.SIGKILL)
    try:
        eventually(lambda: client.runs(job)[0].attempt == 2, "it is trained again", seconds=12)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("mutant", ["", "without_relay"])
def test_a_relay_that_returns_nothing_is_caught(start_stack: StartStack, mutant: str) -> None:
    stack = start_stack(settings={mutants.VARIABLE: mutant})
    with Client(stack.url, patience_seconds=60) as client:
        assert returns(stack, client) == (mutant == "")


def resumes_equal(stack: Stack, client: Client) -> bool:
    """Whether a run that was paused, and whose checkpoint was tampered with, comes to what an undisturbed one does."""
    wanted = client.weights(client.runs(client.wait(client.submit(SPEC), timeout=60))[0])
    job = client.submit(SPEC)
    train_on(client, client.runs(job)[0], 2_000)
    client.pause(job)
    eventually(lambda: client.job(job).status is RunStatus.PAUSED, "it is paused")
    checkpoints = sorted((stack.folder / "storage" / "checkpoints").rglob("*.safetensors"), key=_age)
    tensors, header = artifacts.read(Storage(str(checkpoints[-1].parent)), checkpoints[-1].name)
    tensors["state.0"] = tensors["state.0"] + np.float32(0.1)
    checkpoints[-1].write_bytes(save(tensors, header))
    client.resume(job)
    run = client.runs(client.wait(job, timeout=60))[0]
    return run.status is RunStatus.SUCCEEDED and client.weights(run) == wanted


def _age(path: Path) -> float:
    return path.stat().st_mtime


@pytest.mark.parametrize("mutant", ["", "without_verification"])
def test_a_checkpoint_that_is_believed_unseen_is_caught(start_stack: StartStack, mutant: str) -> None:
    stack = start_stack(settings={mutants.VARIABLE: mutant})
    with Client(stack.url, patience_seconds=60) as client:
        assert resumes_equal(stack, client) == (mutant == "")
