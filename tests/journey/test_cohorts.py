"""Many jobs, posted one by one, train as few programs, and none of them notices."""

import shutil
from typing import Any

import pytest

from descent import Client
from models.answers import Job
from models.status import RunStatus
from tests.journey.service import Service, eventually

pytestmark = pytest.mark.parametrize(
    "service", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True, scope="module"
)

RATES = [0.001 * 2**n for n in range(10)]


def spec(rate: float, seed: int) -> dict[str, Any]:
    return {
        "dataset": "sine",
        "network": {"kind": "mlp", "hidden": [64, 64]},
        "optimizer": {"kind": "sgd", "learning_rate": rate},
        "budget": {"steps": 1_000},
        "seeds": [seed],
    }


def weights(admin: Client, job: Job) -> bytes:
    return admin.weights(admin.runs(job)[0])


def test_fifty_jobs_share_few_cohorts_and_keep_the_bits_that_they_have_alone(service: Service, admin: Client) -> None:
    jobs = {(rate, seed): admin.submit(spec(rate, seed)) for rate in RATES for seed in range(5)}
    service.start_worker()
    assert {admin.wait(job, timeout=60).status for job in jobs.values()} == {RunStatus.SUCCEEDED}
    together = [admin.runs(job)[0] for job in jobs.values()]
    assert len({run.cohort_id for run in together}) <= 4
    for place in [(rate, n % 5) for n, rate in enumerate(RATES)]:
        alone = admin.wait(admin.submit(spec(*place)), timeout=60)
        provenance = admin.runs(alone)[0].provenance
        assert provenance is not None
        assert provenance["cohort_size"] == 1
        assert weights(admin, alone) == weights(admin, jobs[place])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_compiled_job_says_so_and_cancels_at_once_while_it_is_compiled(service: Service, admin: Client) -> None:
    service.start_worker()
    compiled = spec(0.01, 3) | {"execution": "compiled"}
    unwanted = admin.submit(compiled | {"budget": {"steps": 1_000_000}})
    eventually(lambda: admin.job(unwanted).status == RunStatus.RUNNING, "its program is compiled")
    admin.cancel(unwanted)
    assert admin.wait(unwanted, timeout=10).status == RunStatus.CANCELLED
    job = admin.wait(admin.submit(compiled), timeout=180)
    assert job.status == RunStatus.SUCCEEDED
    provenance = admin.runs(job)[0].provenance
    assert provenance is not None
    assert provenance["mode"] == "compiled"
