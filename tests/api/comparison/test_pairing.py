"""Pairs are runs that were judged on the same rows: what the comparison believes, against what the worker does."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from api.comparison.pairing import same_rows, seed_means
from models.spec.job import JobSpec
from worker.training.randomness import Member
from worker.training.splits import split

ROWS = 40
EVALUATIONS: list[dict[str, Any]] = [
    {"kind": "holdout"},
    {"kind": "holdout", "stratified": True},
    {"kind": "holdout", "validation": 0.3},
    {"kind": "holdout", "test": 0.1},
    {"kind": "bootstrap", "replicates": 3},
    {"kind": "bagging", "ensemble": 3},
    {"kind": "bagging", "ensemble": 3, "validation": 0.3},
    {"kind": "boosting", "rounds": 3},
    {"kind": "k_fold", "folds": 4},
    {"kind": "k_fold", "folds": 4, "repeats": 2},
    {"kind": "k_fold", "folds": 5},
    {"kind": "k_fold", "folds": 4, "test": 0.1},
]


def spec(evaluation: dict[str, Any], **changes: Any) -> JobSpec:
    moons = {"kind": "moons", "samples": ROWS}
    return JobSpec.model_validate(
        {"dataset": moons, "optimizer": "sgd", "batch_size": 4, "evaluation": evaluation} | changes
    )


@pytest.mark.parametrize(("first", "second"), list(product(EVALUATIONS, EVALUATIONS)))
def test_runs_pair_where_the_worker_gives_them_the_same_validation_rows(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    specs = spec(first), spec(second)
    classes = np.arange(ROWS) % 2
    rows = [
        [
            sorted(split(ROWS, one.evaluation, Member(seed, member), classes).validation)
            for seed, member in product((3, 4), (0, 1))
        ]
        for one in specs
    ]
    assert same_rows(*specs) == (rows[0] == rows[1])


def test_the_same_seed_on_other_data_is_no_pair() -> None:
    other = spec({"kind": "holdout"}, dataset={"kind": "moons", "samples": ROWS, "noise": 0.3})
    assert not same_rows(spec({"kind": "holdout"}), other)


def test_a_seed_with_an_unknown_member_has_no_mean() -> None:
    assert seed_means([(0, 1.0), (0, 3.0), (1, 5.0), (1, None), (2, 7.0)]) == [2.0, 7.0]
