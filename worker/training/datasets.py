"""Data sets, and the rows that the runs of a cohort see of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
from worker.training import mnist1d, synthetic
from worker.training.randomness import Member
from worker.training.splits import Round, Split, split
from worker.training.synthetic import Floats


@dataclass(frozen=True)
class Rows:
    """A whole data set: `inputs` (N, F); `targets` (N, O), one-hot for classes."""

    inputs: Floats
    targets: Floats


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
        case _:
            assert_never(dataset)
    shape = dataset.shape
    columns = np.eye(shape.outputs)[targets] if shape.task == "classification" else targets[:, None]
    return Rows(np.asarray(inputs, np.float64), np.asarray(columns, np.float64))


def _from_scikit_learn(dataset: Measured) -> tuple[Floats, NDArray[Any]]:
    from sklearn import datasets  # a second to import, for these data sets only

    options: dict[str, Any] = {"scaled": False} if dataset.kind == "diabetes" else {}
    inputs, targets = getattr(datasets, f"load_{dataset.kind}")(return_X_y=True, **options)
    return inputs, targets


@dataclass(frozen=True)
class Scale:
    """An affine change of units, (value − mean) / scale, of one run: both (columns,)."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, values: Floats) -> "Scale":
        """Zero mean and unit variance over these rows; a constant column keeps its units."""
        deviation = values.std(axis=0)
        return cls(
            values.mean(axis=0).astype(np.float32),
            np.where(deviation > 0, deviation, 1).astype(np.float32),
        )

    def apply(self, values: Floats) -> Floats:
        standardized: Floats = (values - self.mean) / self.scale
        return standardized

    def undo(self, values: Floats) -> Floats:
        original: Floats = values * self.scale + self.mean
        return original


@dataclass(frozen=True)
class SplitRows:
    """One split of every run: `inputs` (K, N, F + 1), the last column ones; `targets` (K, N, O)."""

    inputs: Tensor
    targets: Tensor

    def select(self, rows: Tensor) -> "SplitRows":
        return SplitRows(self.inputs.index_select(0, rows), self.targets.index_select(0, rows))


@dataclass(frozen=True)
class CohortData:
    """What the K runs of a cohort see: each its own split, in its own units."""

    task: Literal["regression", "classification"]
    splits: list[Split]
    training: SplitRows
    validation: SplitRows
    input_scales: list[Scale] | None
    target_scales: list[Scale] | None

    def select(self, rows: Tensor) -> "CohortData":
        """Keep some runs."""
        keep = rows.tolist()
        return CohortData(
            self.task,
            [self.splits[k] for k in keep],
            self.training.select(rows),
            self.validation.select(rows),
            [self.input_scales[k] for k in keep] if self.input_scales else None,
            [self.target_scales[k] for k in keep] if self.target_scales else None,
        )


def prepare(
    specs: Sequence[JobSpec],
    members: Sequence[Member],
    device: str,
    rounds: Sequence[Round | None] | None = None,
) -> CohortData:
    """Split and standardize the rows of each run and stack them, as float32 on `device`.

    `rounds` are what runs of boosting go by.
    """
    dataset = specs[0].dataset
    rows = load(dataset)
    standardize = isinstance(dataset, Measured) and dataset.standardize
    input_scales, target_scales = [], []
    training: list[tuple[Floats, Floats]] = []
    validation: list[tuple[Floats, Floats]] = []
    classes = rows.targets.argmax(1) if dataset.shape.task == "classification" else None
    splits: list[Split] = []
    for spec, member, follows in zip(specs, members, rounds or [None] * len(specs), strict=True):
        parts = split(len(rows.inputs), spec.evaluation, member, classes, follows)
        splits.append(parts)
        inputs, targets = rows.inputs, rows.targets
        if follows is not None and follows.residuals is not None:
            targets = targets.copy()
            targets[follows.rows] = follows.residuals
        if standardize:
            input_scales.append(Scale.of(inputs[parts.training]))
            inputs = input_scales[-1].apply(inputs)
        if isinstance(dataset, Diabetes):
            target_scales.append(Scale.of(targets[parts.training]))
            targets = target_scales[-1].apply(targets)
        training.append((inputs[parts.training], targets[parts.training]))
        validation.append((inputs[parts.validation], targets[parts.validation]))
    return CohortData(
        dataset.shape.task,
        splits,
        _stack(training, device),
        _stack(validation, device),
        input_scales or None,
        target_scales or None,
    )


def _stack(parts: list[tuple[Floats, Floats]], device: str) -> SplitRows:
    # The column of ones makes the bias one more row of the first layer's weights.
    inputs = np.stack([np.pad(x, ((0, 0), (0, 1)), constant_values=1) for x, _ in parts]).astype(np.float32)
    targets = np.stack([y for _, y in parts]).astype(np.float32)
    return SplitRows(torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device))
