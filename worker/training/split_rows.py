"""One split of every run of a cohort: its rows in memory, or gathered from disk as they are needed."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.stored import StoredRows
from worker.training.transformations import Transformation

Rows = NDArray[np.int64]


class SplitRows(Protocol):
    """Inputs (K, N, F + 1), the last column ones, and targets (K, N, O)."""

    @property
    def targets(self) -> Tensor: ...

    @property
    def inputs(self) -> Tensor:
        """All of them."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the inputs."""

    def between(self, start: int, stop: int) -> Tensor:
        """The inputs of consecutive rows, (K, stop − start, F + 1)."""

    def gather(self, rows: Rows) -> Tensor:
        """The inputs of chosen rows of each run: (S, K, B) numbers to (S, K, B, F + 1)."""

    def expect(self, rows: Rows) -> None:
        """These rows will be gathered next."""

    def select(self, runs: Tensor) -> "SplitRows":
        """Keep some runs."""


class ResidentRows:
    """Rows in the device's memory."""

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs, self._targets = inputs, targets

    @property
    def inputs(self) -> Tensor:
        return self._inputs

    @property
    def targets(self) -> Tensor:
        return self._targets

    @property
    def shape(self) -> tuple[int, int, int]:
        runs, rows, columns = self.inputs.shape
        return runs, rows, columns

    def between(self, start: int, stop: int) -> Tensor:
        return self.inputs[:, start:stop]

    def gather(self, rows: Rows) -> Tensor:
        return take(self.inputs, rows)

    def expect(self, rows: Rows) -> None:
        """They are at hand."""

    def select(self, runs: Tensor) -> "ResidentRows":
        return ResidentRows(self.inputs.index_select(0, runs), self.targets.index_select(0, runs))


def take(values: Tensor, rows: Rows) -> Tensor:
    """Chosen rows (S, K, B) of each run's own among `values` (K, N, F): (S, K, B, F)."""
    runs, rows_a_run, _ = values.shape
    offsets = np.arange(runs)[None, :, None] * rows_a_run
    places = torch.from_numpy((rows + offsets).ravel()).to(values.device)
    return values.flatten(0, 1).index_select(0, places).view(*rows.shape, -1)


class _Reader:
    """Reads blocks of rows, the one that is expected next ahead of time."""

    def __init__(self, read: Callable[[Rows], Tensor]) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._expected: tuple[Rows, Future[Tensor]] | None = None

    def get(self, rows: Rows) -> Tensor:
        expected, self._expected = self._expected, None
        if expected is not None and np.array_equal(expected[0], rows):
            return expected[1].result()
        return self._read(rows)

    def expect(self, rows: Rows) -> None:
        self._expected = rows, self._thread.submit(self._read, rows)


class StreamedRows:
    """Rows on disk, of which a thread gathers the next block while the engine computes with the last.

    The inputs are those of `ResidentRows`, to the bit, as each row is transformed for itself. The thread only waits
    for the disk and copies; it is numpy's alone, so that the engine's own threads stay what they are.
    """

    def __init__(
        self,
        source: StoredRows,
        rows: Sequence[Rows],
        transformations: Sequence[Transformation],
        targets: Tensor,
        columns: int,
    ) -> None:
        self._source, self._rows, self._transformations = source, list(rows), list(transformations)
        self._targets = targets
        self._columns = columns
        self._batches, self._consecutive = _Reader(self._read), _Reader(self._read)

    @property
    def targets(self) -> Tensor:
        return self._targets

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self._rows), len(self._rows[0]), self._columns

    @property
    def inputs(self) -> Tensor:
        return self.between(0, self.shape[1])

    def between(self, start: int, stop: int) -> Tensor:
        inputs = self._consecutive.get(self._numbers(start, stop))[0]
        if stop < self.shape[1]:
            # Whoever goes through all rows wants as many again.
            self._consecutive.expect(self._numbers(stop, 2 * stop - start))
        return inputs.to(self.targets.device)

    def _numbers(self, start: int, stop: int) -> Rows:
        wanted = np.arange(start, min(stop, self.shape[1]))
        return np.broadcast_to(wanted, (1, len(self._rows), len(wanted)))

    def gather(self, rows: Rows) -> Tensor:
        return self._batches.get(rows).to(self.targets.device)

    def expect(self, rows: Rows) -> None:
        self._batches.expect(rows)

    def _read(self, rows: Rows) -> Tensor:
        steps, runs, count = rows.shape
        inputs = np.empty((steps, runs, count, self._columns), np.float32)
        inputs[..., -1] = 1
        for run, transformation in enumerate(self._transformations):
            numbers = self._rows[run][rows[:, run].ravel()]
            made = transformation.apply(self._source.cells(numbers))
            inputs[:, run, :, :-1] = made.reshape(steps, count, -1)
        return torch.from_numpy(inputs)

    def select(self, runs: Tensor) -> "StreamedRows":
        keep = runs.tolist()
        return StreamedRows(
            self._source,
            [self._rows[k] for k in keep],
            [self._transformations[k] for k in keep],
            self.targets.index_select(0, runs),
            self._columns,
        )
