"""Which rows train, which choose, and which stay sealed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.spec.evaluation import Evaluation
from worker.training.randomness import DATASET_SEED, Purpose, stream


@dataclass(frozen=True)
class Split:
    """Row numbers of one run's data. The test rows are not here: nothing in training can read them."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]


def test_rows(rows: int, evaluation: Evaluation) -> NDArray[np.int64]:
    """The sealed rows: the same for every run on a data set of this size."""
    sealed = evaluation.sizes(rows)[2]
    return stream(DATASET_SEED, Purpose.TEST_SPLIT).permutation(rows)[:sealed]


def split(rows: int, evaluation: Evaluation, seed: int) -> Split:
    """Cut the test rows away first, then draw the run's own training and validation rows from the rest."""
    training, validation, _ = evaluation.sizes(rows)
    rest = np.setdiff1d(np.arange(rows), test_rows(rows, evaluation))
    shuffled = stream(seed, Purpose.SPLIT).permutation(rest)
    assert len(shuffled) == training + validation
    return Split(training=shuffled[:training], validation=shuffled[training:])
