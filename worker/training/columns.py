"""One value a run, as the kernels take it.

A column is a (K, 1) tensor where the runs differ, a Python number where they agree. Where a kernel rounds both to the
same float32, a run's bits do not depend on which of the two its cohort uses; where it would round a number once more or
once less, `tensor_column` is always a tensor.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from worker.training.schedules import Rates, Values

Column = float | Tensor

STEPS_TABULATED_AT_ONCE = 256


def column(values: Values, device: torch.device) -> Column:
    """One value a run, (K,), as the kernels take it."""
    if (values == values[0]).all():
        return float(values[0])
    return torch.from_numpy(values.astype(np.float32)).to(device)[:, None]


def tensor_column(values: Sequence[float], device: torch.device) -> Tensor:
    """One value a run, (K, 1), whether they agree or not."""
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None]


class RateTable:
    """The learning rates of many steps at once, as Python numbers."""

    def __init__(self, rates: Rates) -> None:
        self._of = rates
        self._first = 0
        self._rows: list[list[float]] = []

    def at(self, step: int) -> list[float]:
        """Those of the runs at one step, counted from 1."""
        index = step - self._first
        if not 0 <= index < len(self._rows):
            self._first, index = step, 0
            steps = np.arange(step, step + STEPS_TABULATED_AT_ONCE, dtype=np.float64)[:, None]
            self._rows = self._of.at(steps).tolist()
        return self._rows[index]


class Table:
    """Columns that change with the step, worked out in float64 for many steps at once."""

    def __init__(self, formula: Callable[[Values], Iterable[Values]], device: torch.device) -> None:
        self._formula = formula
        self._device = device
        self._first = 0
        self._columns: list[tuple[Column, ...]] = []

    def at(self, step: int) -> tuple[Column, ...]:
        """The columns of one step, counted from 1."""
        index = step - self._first
        if not 0 <= index < len(self._columns):
            self._first, index = step, 0
            steps = np.arange(step, step + STEPS_TABULATED_AT_ONCE, dtype=np.float64)[:, None]
            tables = [self._tabulate(values) for values in self._formula(steps)]
            self._columns = list(zip(*tables, strict=True))
        return self._columns[index]

    def _tabulate(self, values: Values) -> list[Column]:
        """Values (S, K) to S columns."""
        if (values == values[:, :1]).all():
            return list(values[:, 0].tolist())
        return list(torch.from_numpy(values.astype(np.float32)).to(self._device)[:, :, None].unbind(0))
