"""A run that breaks its training process fails alone, with the reason, and its neighbours finish."""

import pytest

from descent import Client
from models.answers import Run
from models.status import RunStatus
from tests.chaos import poison
from tests.chaos.conftest import StartStack

SPEC = {
    "dataset": "sine",
    "network": {"kind": "mlp", "hidden": [16, 16]},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "budget": {"steps": 3_000},
    "seeds": 8,
}
BOUNDS = {"DESCENT_MAX_JOB_MEMORY_BYTES": str(512 << 20), "DESCENT_WORKER_MEMORY_BYTES": str(256 << 20)}


def trained(start_stack: StartStack, settings: dict[str, str]) -> tuple[list[Run], list[bytes]]:
    """The eight runs in the end, and the weights of those that have any."""
    stack = start_stack(settings=BOUNDS | settings)
    with Client(stack.url, patience_seconds=60) as client:
        runs = client.runs(client.wait(client.submit(SPEC), timeout=60))
        return runs, [client.weights(run) for run in runs if run.status is RunStatus.SUCCEEDED]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What the neighbours come to without the poison."""
    from tests.chaos.stack import running_stack

    with (
        running_stack(tmp_path_factory.mktemp("healthy"), "sqlite", 1) as stack,
        Client(stack.url, patience_seconds=60) as client,
    ):
        runs = client.runs(client.wait(client.submit(SPEC), timeout=60))
        assert {run.status for run in runs} == {RunStatus.SUCCEEDED}
        return [client.weights(run) for run in runs if run.seed != poison.SEED]


@pytest.mark.chaos
@pytest.mark.parametrize("reason", list(poison.POISONS))
def test_the_poisoned_run_fails_alone_with_its_reason(
    start_stack: StartStack, healthy: list[bytes], reason: str
) -> None:
    # Two seconds and what the largest step may take.
    runs, weights = trained(start_stack, {poison.VARIABLE: reason, "DESCENT_STALL_SECONDS": "2"})
    assert [(run.status, run.status_reason) for run in runs if run.seed == poison.SEED] == [(RunStatus.FAILED, reason)]
    assert {run.status for run in runs if run.seed != poison.SEED} == {RunStatus.SUCCEEDED}
    assert weights == healthy, "to the bit"
