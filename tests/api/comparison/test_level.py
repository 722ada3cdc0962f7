"""A against A, over and over: verdicts that are wrong in one of twenty comparisons, and not more often."""

import numpy as np
import pytest

from api.comparison.compare import compare
from api.comparison.history import JobHistory, RunHistory, Series
from api.comparison.result import Claim
from models.spec.job import JobSpec

COMPARISONS = 400
SEEDS = 9
STEPS = np.arange(0, 50, 10, dtype=np.int64)
DESCRIBED = {"dataset": "sine", "optimizer": "sgd", "budget": {"steps": 100}}


def simulated(job_id: str, seeds: range, draws: np.random.Generator) -> JobHistory:
    """Runs whose losses tell nothing but chance."""
    runs = tuple(
        RunHistory(
            f"{job_id}-{s}", job_id, s, "succeeded", None, {"validation_loss": Series(STEPS, draws.normal(1, 0.2, 5))}
        )
        for s in seeds
    )
    return JobHistory(job_id, job_id, JobSpec.model_validate(DESCRIBED | {"seeds": list(seeds)}), runs)


@pytest.mark.parametrize(
    ("second", "method"),
    [(range(SEEDS), "sign_flip"), (range(100, 100 + SEEDS), "welch")],
    ids=["paired on the same seeds", "unpaired, with other seeds"],
)
def test_a_against_a_is_rejected_as_often_as_the_level_says(second: range, method: str) -> None:
    draws = np.random.default_rng(11)
    rejected = judged = 0
    for _ in range(COMPARISONS):
        jobs = [simulated("a", range(SEEDS), draws), simulated("b", second, draws)]
        found = compare(jobs, claims=[Claim(better="a", worse="b", score="last")])
        assert found.paired[0].method == method
        assert found.paired[0].holm_p is not None
        rejected += found.paired[0].holm_p <= 0.05
        judged += found.claims[0].verdict != "undecided"
    assert 0.02 <= rejected / COMPARISONS <= 0.085
    assert judged == rejected
