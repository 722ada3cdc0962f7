"""Workers go away, politely or not; runs do not."""

from collections.abc import Iterator
from typing import Any

import pytest

from descent import Client
from descent.history import History
from models.answers import Job
from models.status import RunStatus, StatusReason
from tests.journey.service import Service, eventually, kill, train_on

pytestmark = pytest.mark.parametrize(
    "service", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], indirect=True, scope="module"
)

SPEC: dict[str, Any] = {
    "dataset": "sine",
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "budget": {"steps": 20_000},
    "seeds": 2,
}


@pytest.fixture(scope="module")
def undisturbed(service: Service, admin: Client) -> list[bytes]:
    """The weights of the same spec, trained in peace."""
    worker = service.start_worker()
    job = admin.wait(admin.submit(SPEC), timeout=60)
    worker.terminate()
    worker.wait()
    return [admin.weights(run) for run in admin.runs(job)]


@pytest.fixture
def job(service: Service, admin: Client, undisturbed: list[bytes]) -> Iterator[Job]:
    """A job in the midst of its training; afterwards, no worker is left."""
    job = admin.submit(SPEC)
    yield job
    for worker in service.programs[1:]:
        if worker.poll() is None:
            worker.terminate()
            worker.wait()


def demand_whole(admin: Client, job: Job, undisturbed: list[bytes]) -> None:
    """Insist that a job came to the end that it would have come to in peace, and that its histories are whole."""
    assert admin.wait(job, timeout=60).status is RunStatus.SUCCEEDED
    runs = admin.runs(job)
    assert [admin.weights(run) for run in runs] == undisturbed
    for run in runs:
        for series in admin.history(run).series.values():
            assert series.step == sorted(set(series.step)), "no point is there twice"
        assert admin.history(run)["train_loss"].step == list(range(10, 20_001, 10))


def test_a_run_whose_worker_was_killed_is_trained_by_another(
    service: Service, admin: Client, job: Job, undisturbed: list[bytes]
) -> None:
    worker = service.start_worker()
    run = admin.runs(job)[0]
    train_on(admin, run, step=1_000)
    pages = admin.metrics(run)
    live = History()
    live.take(next(pages))
    assert live["train_loss"].step, "a reader holds points of the lost attempt"
    kill(worker)
    service.start_worker()
    for page in pages:
        live.take(page)
    demand_whole(admin, job, undisturbed)
    assert live.series == admin.history(run).series, "the points of the lost attempt are gone"
    assert {run.attempt for run in admin.runs(job)} == {2}


def test_a_worker_that_is_asked_to_stop_gives_its_runs_back_at_once(
    service: Service, admin: Client, job: Job, undisturbed: list[bytes]
) -> None:
    worker = service.start_worker()
    train_on(admin, admin.runs(job)[0], step=1_000)
    worker.terminate()
    assert worker.wait(timeout=30) == 0
    given_back = admin.runs(job)
    assert {(run.status, run.status_reason) for run in given_back} == {(RunStatus.QUEUED, StatusReason.WORKER_DRAINED)}
    assert admin.workers() == []
    service.start_worker()
    demand_whole(admin, job, undisturbed)


def test_a_run_to_be_cancelled_when_its_worker_dies_is_cancelled(service: Service, admin: Client, job: Job) -> None:
    worker = service.start_worker()
    train_on(admin, admin.runs(job)[0], step=1_000)
    kill(worker)
    admin.cancel(job)
    assert admin.job(job).status is RunStatus.CANCELLING
    eventually(lambda: admin.job(job).status is RunStatus.CANCELLED, "the lease ends")


@pytest.mark.slow
def test_an_accepted_job_outlives_the_api_that_accepted_it(
    service: Service, admin: Client, job: Job, undisturbed: list[bytes]
) -> None:
    kill(service.programs[0])
    service.programs[0] = service.start_api()
    service.programs.pop()
    service.start_worker()
    demand_whole(admin, job, undisturbed)
