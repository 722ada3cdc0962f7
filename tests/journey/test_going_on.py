"""Jobs that rest, and jobs that go on further than they were meant to, come to what they would have come to anyway."""

from typing import Any

import pytest

from descent import Client
from models.answers import Job
from models.status import RunStatus
from tests.journey.service import Service, eventually, kill, train_on

STEPS = 12_000
SPEC: dict[str, Any] = {
    "dataset": "sine",
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "regularizers": ["dropout"],
    "record": {"every_steps": 10, "evaluate_every": 500},
    "budget": {"steps": STEPS},
    "seeds": 2,
}
PAUSE_SECONDS = 2.0
PREDICTED = [[0.25], [1.5]]


@pytest.fixture(scope="module")
def undisturbed(service: Service, client: Client) -> Job:
    service.start_worker()
    return client.wait(client.submit(SPEC), timeout=60)


def demand_the_same(client: Client, job: Job, other: Job) -> None:
    """Insist on the same weights and the same points, to the bit."""
    for run, another in zip(client.runs(job), client.runs(other), strict=True):
        assert client.weights(run) == client.weights(another)
        mine, theirs = client.history(run).series, client.history(another).series
        assert mine.keys() == theirs.keys()
        for metric in mine:
            assert mine[metric].step == theirs[metric].step
            assert mine[metric].value == theirs[metric].value or metric == "train_seconds"


def test_a_job_that_was_paused_goes_on_with_another_worker_as_if_it_had_not_been(
    service: Service, client: Client, undisturbed: Job
) -> None:
    job = client.submit(SPEC)
    train_on(client, client.runs(job)[0], step=1_000)
    client.pause(job)
    eventually(lambda: client.job(job).status is RunStatus.PAUSED, "its worker lets go", PAUSE_SECONDS)
    other = client.wait(client.submit(SPEC | {"budget": {"steps": 50}}), timeout=60)
    assert other.status is RunStatus.SUCCEEDED, "others train meanwhile"
    kill(service.programs.pop())
    service.start_worker()
    client.resume(job)
    assert client.wait(job, timeout=60).status is RunStatus.SUCCEEDED
    assert {run.attempt for run in client.runs(job)} == {2}
    demand_the_same(client, job, undisturbed)


def test_a_job_that_was_extended_is_the_longer_job_that_was_not_submitted(
    service: Service, client: Client, undisturbed: Job
) -> None:
    service.start_predictor()
    short = client.wait(client.submit(SPEC | {"budget": {"steps": STEPS - 3_000}}), timeout=60)
    run = client.runs(short)[0]
    before = client.predict(run.id, PREDICTED).predictions
    client.extend(short, steps=STEPS)
    extended = client.wait(short, timeout=60)
    assert extended.spec_hash == undisturbed.spec_hash
    demand_the_same(client, extended, undisturbed)
    longer = client.predict(client.runs(undisturbed)[0].id, PREDICTED).predictions
    assert client.predict(run.id, PREDICTED).predictions == longer != before
