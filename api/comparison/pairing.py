"""Which runs of two jobs make a pair, and what one seed of a job comes to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from api.comparison.history import JobHistory
from models.spec.evaluation import Bagging, Boosting, Bootstrap, Evaluation, KFold
from models.spec.job import JobSpec

Value = TypeVar("Value")

Key = tuple[int, int]
"""Seed and member of a run; a seed that counts as one stands under member 0."""


def way_of_splitting(evaluation: Evaluation) -> tuple[Any, ...]:
    """Equal for evaluations by which a seed (and a fold) has the same validation rows of the same data set.

    All but k-fold shuffle the unsealed rows by the seed and cut once; members of an ensemble then draw from what is
    left. Folds are dealt from another shuffle, repeat after repeat.
    """
    if isinstance(evaluation, KFold):
        return "folds", evaluation.test, evaluation.folds
    return "one cut", evaluation.test, evaluation.validation, evaluation.stratified


def same_rows(first: JobSpec, second: JobSpec) -> bool:
    """Whether runs of the same seed and member were judged on the same rows, so that they make a pair."""
    return first.dataset == second.dataset and way_of_splitting(first.evaluation) == way_of_splitting(second.evaluation)


def is_cross_validated(job: JobHistory) -> bool:
    return isinstance(job.spec.evaluation, KFold)


def members_share_rows(job: JobHistory) -> bool:
    """Whether the runs of a seed were judged on the same rows and drew from the same pool: they count as one then."""
    return isinstance(job.spec.evaluation, Bootstrap | Bagging | Boosting)


def overlap(job: JobHistory) -> float:
    """n_test / n_train of folds, by which their scores depend on each other (Nadeau & Bengio 2003); 0 for others.

    n_test counts the rows that validate a fold: the sealed ones have no part in this.
    """
    if not is_cross_validated(job):
        return 0.0
    return job.plan.validation_rows / job.plan.training_rows


def grouped_by_seed(found: Iterable[tuple[int, Value]]) -> Mapping[int, list[Value]]:
    by_seed: dict[int, list[Value]] = {}
    for seed, value in found:
        by_seed.setdefault(seed, []).append(value)
    return by_seed


def seed_means(found: Iterable[tuple[int, float | None]]) -> list[float]:
    """The mean over the members of each seed; a seed of which any value is unknown has none."""
    means = []
    for values in grouped_by_seed(found).values():
        known: Sequence[float] = [value for value in values if value is not None]
        if len(known) == len(values):
            means.append(float(np.mean(known)))
    return means
