"""Which rows train and which validate, for every evaluation."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from models.spec.evaluation import Evaluation, KFold
from models.spec.job import JobSpec
from models.spec.plan import PlanError, plan
from worker.training import splits
from worker.training.randomness import Member
from worker.training.splits import Round, Split, split

KINDS: list[dict[str, Any]] = [
    {"kind": "holdout"},
    {"kind": "k_fold", "folds": 3, "repeats": 2},
    {"kind": "bootstrap", "replicates": 4},
    {"kind": "bagging", "ensemble": 4},
    {"kind": "boosting", "rounds": 4},
]


def evaluation(options: dict[str, Any]) -> Evaluation:
    made: Evaluation = TypeAdapter(Evaluation).validate_python(options)
    return made


@given(
    rows=st.integers(10, 400),
    options=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    test=st.sampled_from([0.0, 0.1, 0.25]),
)
def test_splits_are_disjoint_and_of_the_planned_sizes(
    rows: int, options: dict[str, Any], seed: int, test: float
) -> None:
    rule = evaluation(options | {"test": test})
    sealed = set(splits.test_rows(rows, rule).tolist())
    for number in range(rule.members):
        part = split(rows, rule, Member(seed, number))
        pool, validation = set(part.pool.tolist()), set(part.validation.tolist())
        assert (len(part.training), len(validation), len(sealed)) == rule.sizes(rows)
        assert not pool & validation
        assert not (pool | validation) & sealed
        assert pool | validation | sealed == set(range(rows))
        assert set(part.training.tolist()) <= pool
        assert len(part.pool) == len(pool)


@given(
    classes=st.lists(st.integers(0, 3), min_size=12, max_size=200),
    folds=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
def test_folds_validate_every_row_at_most_once_with_their_share_of_each_class(
    classes: list[int], folds: int, seed: int
) -> None:
    rule, given_classes = KFold(folds=folds, repeats=2, test=0), np.array(classes)
    for repeat in range(2):
        parts = [split(len(classes), rule, Member(seed, repeat * folds + f), given_classes) for f in range(folds)]
        validating = np.concatenate([part.validation for part in parts])
        assert len(set(validating.tolist())) == len(validating) == len(classes) // folds * folds
        for kind in range(4):
            counts = [int((given_classes[part.validation] == kind).sum()) for part in parts]
            assert max(counts) - min(counts) <= 1


def test_each_repeat_divides_the_rows_anew_and_both_splits_keep_a_random_order() -> None:
    rule, classes = KFold(folds=5, repeats=2, test=0), np.repeat([0, 1], 100)
    first, again = (split(200, rule, Member(3, number), classes) for number in (0, 5))
    assert set(first.validation.tolist()) != set(again.validation.tolist())
    for part in (first.training, first.validation):
        # Sorted by class, all of the first half would be of one class.
        assert 0.2 < classes[part[: len(part) // 2]].mean() < 0.8


@pytest.mark.parametrize("kind", ["bootstrap", "bagging"])
def test_members_draw_from_one_pool_with_replacement_each_their_own_sample(kind: str) -> None:
    rule = evaluation({"kind": kind})
    parts = [split(500, rule, Member(1, number)) for number in range(2)]
    assert np.array_equal(parts[0].pool, parts[1].pool)
    assert np.array_equal(parts[0].validation, parts[1].validation)
    assert not np.array_equal(parts[0].training, parts[1].training)
    for part in parts:
        # 1 − 1/e of the rows are in a sample.
        assert len(set(part.training.tolist())) / len(part.pool) == pytest.approx(0.632, abs=0.06)


def test_a_round_draws_rows_by_their_weight() -> None:
    rule = evaluation({"kind": "boosting"})
    first = split(500, rule, Member(1, 0))
    assert np.array_equal(first.training, first.pool)
    heavy = first.pool[:30]
    shares = np.where(np.isin(first.pool, heavy), 10.0, 1.0)
    follows = Round(first.pool, shares=shares / shares.sum())
    later: Split = split(500, rule, Member(1, 1), follows=follows)
    assert np.isin(later.training, heavy).mean() == pytest.approx(300 / 570, abs=0.08)
    assert np.array_equal(later.validation, first.validation)


REFUSED: list[tuple[dict[str, Any], int, str, str]] = [
    ({"kind": "k_fold", "folds": 100, "repeats": 11}, 1, "/evaluation", "1,100 runs"),
    ({"kind": "bagging", "ensemble": 300}, 4, "/evaluation", "1,200 runs"),
    ({"kind": "bootstrap", "replicates": 1000}, 1, "/evaluation", "put together"),
]


@pytest.mark.parametrize(("options", "seeds", "pointer", "words"), REFUSED, ids=str)
def test_too_many_runs_are_refused_at_their_place(
    options: dict[str, Any], seeds: int, pointer: str, words: str
) -> None:
    data = {"kind": "sine", "samples": 200_000} if "together" in words else "sine"
    spec = {"dataset": data, "optimizer": "sgd", "evaluation": options, "seeds": seeds}
    with pytest.raises(PlanError, match=words) as refused:
        plan(JobSpec.model_validate(spec))
    assert refused.value.pointer == pointer


def test_folds_that_rows_do_not_fill_are_refused() -> None:
    spec = {
        "dataset": {"kind": "sine", "samples": 50},
        "optimizer": "sgd",
        "evaluation": {"kind": "k_fold", "folds": 60},
    }
    with pytest.raises(PlanError, match="do not fill"):
        plan(JobSpec.model_validate(spec | {"batch_size": 4}))


def test_a_job_has_a_run_for_each_member_of_each_seed() -> None:
    spec = {"dataset": "sine", "optimizer": "sgd", "evaluation": {"kind": "k_fold", "folds": 2}, "seeds": [7, 3]}
    assert JobSpec.model_validate(spec).runs == [(7, 0), (7, 1), (3, 0), (3, 1)]
