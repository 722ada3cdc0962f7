"""Which rows train, which choose, and which stay sealed."""

from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from models.sealing import sealing_order
from models.spec.evaluation import Bagging, Boosting, Bootstrap, Evaluation, Holdout, KFold
from worker.training.randomness import Member, Purpose, stream

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers of one run's data. The test rows are not here: nothing in training can read them."""

    training: Rows
    """In the order in which they are stored; a row that was drawn twice stands here twice."""
    validation: Rows
    pool: Rows
    """From which the training rows are drawn: each row once."""


@dataclass(frozen=True)
class Round:
    """What the rounds before it leave to a round of boosting, for each of `rows`."""

    rows: Rows
    shares: NDArray[np.float64] | None = None
    """Of classes: how likely each of the training rows is to be drawn."""
    residuals: NDArray[np.float64] | None = None
    """Of a regression: (N, O), what is still to be fitted, of training and validation rows."""


def test_rows(rows: int, evaluation: Evaluation) -> Rows:
    """The sealed rows: the same for every run on a data set of this size."""
    return sealing_order(rows)[: evaluation.sealed(rows)]


def split(
    rows: int,
    evaluation: Evaluation,
    member: Member,
    classes: NDArray[Any] | None = None,
    follows: Round | None = None,
) -> Split:
    """Cut the test rows away first, then divide the rest as the evaluation says.

    `classes` (rows,) stratify folds, and other splits where they are asked to be; `follows` is what a round of boosting
    goes by.
    """
    rest = np.setdiff1d(np.arange(rows), test_rows(rows, evaluation))
    if isinstance(evaluation, KFold):
        return _fold(rest, evaluation, member, classes)
    shuffled = stream(member.seed, Purpose.SPLIT).permutation(rest)
    training, validating, _ = evaluation.sizes(rows)
    pool, validation = shuffled[:training], shuffled[training:]
    if evaluation.stratified and classes is not None:
        validates = _spread(shuffled, validating, classes)
        pool, validation = shuffled[~validates], shuffled[validates]
    match evaluation:
        case Holdout():
            return Split(pool, validation, pool)
        case Bootstrap() | Bagging():
            drawn = stream(member.key, Purpose.RESAMPLE).integers(len(pool), size=len(pool))
            return Split(pool[drawn], validation, pool)
        case Boosting():
            if follows is None or follows.shares is None:
                return Split(pool, validation, pool)
            drawn = stream(member.key, Purpose.RESAMPLE).choice(follows.rows, len(pool), p=follows.shares)
            return Split(drawn, validation, pool)
        case _:
            assert_never(evaluation)


def _spread(order: Rows, count: int, classes: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark so many rows of an order that each class has its share of them, to one row."""
    by_class = np.argsort(classes[order], kind="stable")
    marked = np.zeros(len(order), bool)
    # At even distances through the rows, class after class.
    marked[by_class[((np.arange(count) + 0.5) * len(order) / count).astype(np.int64)]] = True
    return marked


def _fold(rest: Rows, evaluation: KFold, member: Member, classes: NDArray[Any] | None) -> Split:
    repeat, fold = divmod(member.number, evaluation.folds)
    order = stream(member.seed, Purpose.SPLIT, repeat).permutation(rest)
    dealt = order[: len(rest) // evaluation.folds * evaluation.folds]
    if classes is not None:
        dealt = dealt[np.argsort(classes[dealt], kind="stable")]
    # Dealt out like cards, class by class; both splits keep the random order.
    validates = np.isin(order, dealt[fold :: evaluation.folds])
    return Split(order[~validates], order[validates], order[~validates])
