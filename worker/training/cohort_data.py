"""The rows that the runs of a cohort see: each its own split, in its own units."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.datasets import Diabetes
from models.spec.job import JobSpec
from models.spec.shape import Task
from worker.training.datasets import Rows, open_rows
from worker.training.randomness import Member
from worker.training.split_rows import ResidentRows, SplitRows, StreamedRows
from worker.training.splits import Round, Split, split
from worker.training.stored import StoredData, StoredRows
from worker.training.synthetic import Floats
from worker.training.transformations import Scale, Transformation

CHUNK_NUMBERS = 1 << 22
"""Inputs made at once on their way into memory."""


@dataclass(frozen=True)
class CohortData:
    """What the K runs of a cohort see."""

    task: Task
    rows: Rows | StoredRows
    splits: list[Split]
    training: SplitRows
    validation: SplitRows
    transformations: list[Transformation] | None
    """None where the inputs are the data's own."""
    target_scales: list[Scale] | None

    def select(self, runs: Tensor) -> "CohortData":
        """Keep some runs."""
        keep = runs.tolist()
        return CohortData(
            self.task,
            self.rows,
            [self.splits[k] for k in keep],
            self.training.select(runs),
            self.validation.select(runs),
            [self.transformations[k] for k in keep] if self.transformations else None,
            [self.target_scales[k] for k in keep] if self.target_scales else None,
        )


def prepare(
    specs: Sequence[JobSpec],
    members: Sequence[Member],
    device: str,
    rounds: Sequence[Round | None] | None = None,
    *,
    stored: StoredData | None = None,
    streams: bool = False,
) -> CohortData:
    """Split the rows of each run, fit on its training rows what makes inputs of them, and stack all runs.

    `rounds` are what runs of boosting go by. With `streams` the inputs stay on disk, where `stored` says.
    """
    dataset = specs[0].dataset
    rows = open_rows(specs[0], stored)
    classes = rows.classes if dataset.shape.task == "classification" else None
    scales_targets = isinstance(dataset, Diabetes) or (isinstance(rows, StoredRows) and rows.standardizes_targets)
    splits, transformations, target_scales = [], [], []
    targets: list[tuple[Floats, Floats]] = []
    for spec, member, follows in zip(specs, members, rounds or [None] * len(specs), strict=True):
        parts = split(len(rows), spec.evaluation, member, classes, follows)
        splits.append(parts)
        transformations.append(rows.fit(parts.training))
        learned, checked = (_targets(rows, numbers, follows) for numbers in (parts.training, parts.validation))
        if scales_targets:
            target_scales.append(Scale.of(learned))
            learned, checked = (target_scales[-1].apply(values) for values in (learned, checked))
        targets.append((learned, checked))
    known = [made for made in transformations if made is not None]

    def of(numbers: list[NDArray[np.int64]], values: list[Floats]) -> SplitRows:
        stacked = torch.from_numpy(np.stack(values).astype(np.float32)).to(device)
        columns = dataset.shape.features + 1
        if streams and isinstance(rows, StoredRows):
            return StreamedRows(rows, numbers, known, stacked, columns)
        return ResidentRows(_inputs(rows, numbers, transformations, columns).to(device), stacked)

    return CohortData(
        dataset.shape.task,
        rows,
        splits,
        of([parts.training for parts in splits], [learned for learned, _ in targets]),
        of([parts.validation for parts in splits], [checked for _, checked in targets]),
        known or None,
        target_scales or None,
    )


def _targets(rows: Rows | StoredRows, numbers: NDArray[np.int64], follows: Round | None) -> Floats:
    """(R, O): those of the data, or what the rounds before have left of them."""
    if follows is None or follows.residuals is None:
        return rows.targets_of(numbers)
    return follows.residuals[np.searchsorted(follows.rows, numbers)]


def _inputs(
    rows: Rows | StoredRows,
    numbers: Sequence[NDArray[np.int64]],
    transformations: Sequence[Transformation | None],
    columns: int,
) -> Tensor:
    """(K, N, F + 1). The column of ones makes the bias one more row of the first layer's weights."""
    inputs = np.empty((len(numbers), len(numbers[0]), columns), np.float32)
    inputs[..., -1] = 1
    step = max(1, CHUNK_NUMBERS // columns)
    for run, (chosen, made) in enumerate(zip(numbers, transformations, strict=True)):
        for start in range(0, len(chosen), step):
            cells = rows.cells(chosen[start : start + step])
            inputs[run, start : start + step, :-1] = cells if made is None else made.apply(cells)
    return torch.from_numpy(inputs)
