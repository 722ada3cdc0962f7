"""Jobs that rest, and jobs that go on further than they were meant to, come to what they would have come to anyway."""

from typing import Any

import pytest

from descent import Client
from models.answers import Job
from models.status import RunStatus
from tests.journey.service import Service, eventually, kill, train_on

pytestmark = pytest.mark.parametrize(
    "service", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], indirect=True, scope="module"
)

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
def undisturbed(service: Service, admin: Client) -> Job:
    service.start_worker()
    return admin.wait(admin.submit(SPEC), timeout=60)


def demand_the_same(admin: Client, job: Job, other: Job) -> None:
    """Insist on the same weights and the same points, to the bit."""
    for run, another in zip(admin.runs(job), admin.runs(other), strict=True):
        assert admin.weights(run) == admin.weights(another)
        mine, theirs = admin.history(run).series, admin.history(another).series
        assert mine.keys() == theirs.keys()
        for metric in mine:
            assert mine[metric].step == theirs[metric].step
            assert mine[metric].value == theirs[metric].value or metric == "train_seconds"


def test_a_job_that_was_paused_goes_on_with_another_worker_as_if_it_had_not_been(
    service: Service, admin: Client, undisturbed: Job
) -> None:
    job = admin.submit(SPEC)
    train_on(admin, admin.runs(job)[0], step=1_000)
    admin.pause(job)
    eventually(lambda: admin.job(job).status is RunStatus.PAUSED, "its worker lets go", PAUSE_SECONDS)
    other = admin.wait(admin.submit(SPEC | {"budget": {"steps": 50}}), timeout=60)
    assert other.status is RunStatus.SUCCEEDED, "others train meanwhile"
    kill(service.programs.pop())
    service.start_worker()
    admin.resume(job)
    assert admin.wait(job, timeout=60).status is RunStatus.SUCCEEDED
    assert {run.attempt for run in admin.runs(job)} == {2}
    demand_the_same(admin, job, undisturbed)


@pytest.mark.slow
def test_a_job_that_was_extended_is_the_longer_job_that_was_not_submitted(
    service: Service, admin: Client, undisturbed: Job
) -> None:
    service.start_predictor()
    short = admin.wait(admin.submit(SPEC | {"budget": {"steps": STEPS - 3_000}}), timeout=60)
    run = admin.runs(short)[0]
    before = admin.predict(run.id, PREDICTED).predictions
    admin.extend(short, steps=STEPS)
    extended = admin.wait(short, timeout=60)
    assert extended.spec_hash == undisturbed.spec_hash
    demand_the_same(admin, extended, undisturbed)
    longer = admin.predict(admin.runs(undisturbed)[0].id, PREDICTED).predictions
    assert admin.predict(run.id, PREDICTED).predictions == longer != before
