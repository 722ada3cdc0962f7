"""Data sets: loaded, generated, or opened where they were stored."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from models.spec.datasets import (
    MNIST1D,
    Blobs,
    BreastCancer,
    Circles,
    Dataset,
    Diabetes,
    Digits,
    Iris,
    Measured,
    Moons,
    Polynomial,
    Sine,
    Spirals,
    Stripes,
    Wine,
)
from models.spec.job import JobSpec
from models.spec.uploads import CIFAR10, CIFAR100, MNIST, FashionMNIST, Uploaded
from worker.training import mnist1d, synthetic
from worker.training.stored import StoredData, StoredRows
from worker.training.synthetic import Floats
from worker.training.transformations import Scale, Transformation


@dataclass(frozen=True)
class Rows:
    """A whole data set in memory: `inputs` (N, F); `targets` (N, O), one-hot for classes."""

    inputs: Floats
    targets: Floats
    standardizes: bool = False
    """Whether its columns have units of their own."""

    def __len__(self) -> int:
        return len(self.inputs)

    def cells(self, rows: NDArray[np.int64]) -> Floats:
        return self.inputs[rows]

    def targets_of(self, rows: NDArray[np.int64]) -> Floats:
        return self.targets[rows]

    @property
    def classes(self) -> NDArray[np.int64]:
        """Of a classification: the class of each row."""
        return np.asarray(self.targets.argmax(1), np.int64)

    def fit(self, rows: NDArray[np.int64]) -> Transformation | None:
        """What makes the inputs of a network from its cells, fitted on these rows; None where they are the inputs."""
        return Scale.of(self.inputs[rows]) if self.standardizes else None


def open_rows(spec: JobSpec, stored: StoredData | None) -> Rows | StoredRows:
    """The rows of a spec's data set; `stored` is where they lie, if somebody uploaded them."""
    if stored is not None:
        return StoredRows(spec, stored)
    return load(spec.dataset)


@lru_cache(maxsize=16)
def load(dataset: Dataset) -> Rows:
    """Load or generate a data set; a worker keeps it warm."""
    inputs: Floats
    targets: NDArray[Any]  # values of a regression, numbers of classes
    match dataset:
        case Sine() | Polynomial():
            inputs, targets = synthetic.curve(dataset)
        case Moons():
            inputs, targets = synthetic.moons(dataset)
        case Circles():
            inputs, targets = synthetic.circles(dataset)
        case Spirals():
            inputs, targets = synthetic.spirals(dataset)
        case Blobs():
            inputs, targets = synthetic.blobs(dataset)
        case Stripes():
            inputs, targets = synthetic.stripes(dataset)
        case MNIST1D():
            inputs, targets = mnist1d.generate(dataset.shuffle_points)
        case Digits() | BreastCancer() | Diabetes() | Iris() | Wine():
            inputs, targets = _from_scikit_learn(dataset)
        case Uploaded() | MNIST() | FashionMNIST() | CIFAR10() | CIFAR100():
            raise ValueError(f'the data set "{dataset.kind}" has to be opened where it was stored')
        case _:
            assert_never(dataset)
    shape = dataset.shape
    columns = np.eye(shape.outputs)[targets] if shape.task == "classification" else targets[:, None]
    standardizes = isinstance(dataset, Measured) and dataset.standardize
    return Rows(np.asarray(inputs, np.float64), np.asarray(columns, np.float64), standardizes)


def _from_scikit_learn(dataset: Measured) -> tuple[Floats, NDArray[Any]]:
    from sklearn import datasets  # a second to import, for these data sets only

    options: dict[str, Any] = {"scaled": False} if dataset.kind == "diabetes" else {}
    inputs, targets = getattr(datasets, f"load_{dataset.kind}")(return_X_y=True, **options)
    return inputs, targets
