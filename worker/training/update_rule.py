"""What every update rule on θ (K, P) has: its hyperparameters as columns, and its state."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.optimizers import Optimizer
from worker.training.columns import Column, Table, column
from worker.training.schedules import Rates, Values


class Rule(ABC):
    """An update rule with its state: a few more matrices of the shape of θ."""

    states: int
    """How many of them."""

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor, rates: Rates) -> None:
        self._specs = list(specs)
        self.rates = rates
        self._device = theta.device
        self._states = [torch.zeros_like(theta) for _ in range(self.states)]
        self._scratch = torch.empty_like(theta)
        self._another = torch.empty_like(theta)
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Lay out the hyperparameters of the present runs as columns."""

    @abstractmethod
    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        """Update θ in place; `step` counts from 1."""

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        keep = rows.tolist()
        self._specs, self.rates = [self._specs[k] for k in keep], self.rates.select(keep)
        self._states = [state.index_select(0, rows) for state in self._states]
        self._scratch = self._scratch[: len(rows)].clone()
        self._another = self._another[: len(rows)].clone()
        self._prepare()

    def state(self) -> dict[str, Tensor]:
        """What does not follow from spec, seed and step: a row a run each."""
        return {str(number): state for number, state in enumerate(self._states)}

    def facts(self) -> dict[str, Any]:
        """Of the same what is no tensor, as JSON; only rules whose runs ride alone have any."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Go on from `state` and `facts` as they were."""
        for number, live in enumerate(self._states):
            live.copy_(torch.from_numpy(state[str(number)]))

    def _values(self, name: str) -> Values:
        return np.array([getattr(spec, name) for spec in self._specs], np.float64)

    def _table(self, formula: Callable[[Values], Iterable[Values]]) -> Table:
        return Table(formula, self._device)

    def _descending_rates(self) -> Table:
        """One column: −η of the step."""
        return self._table(lambda steps: [-self.rates.at(steps)])

    def _column(self, values: Values) -> Column:
        return column(values, self._device)

    def _descend(self, theta: Tensor, direction: Tensor, rate: Column) -> None:
        """θ ← θ + rate · direction."""
        if isinstance(rate, float):
            theta.add_(direction, alpha=rate)
        else:
            theta.addcmul_(direction, rate)

    def _descend_scaled(self, theta: Tensor, numerator: Tensor, denominator: Tensor, rate: Column) -> None:
        """θ ← θ + rate · numerator / denominator."""
        if isinstance(rate, float):
            theta.addcdiv_(numerator, denominator, value=rate)
        else:
            torch.mul(numerator, rate, out=self._another)
            theta.addcdiv_(self._another, denominator)

    def _average_squares(self, average: Tensor, values: Tensor, share: Column) -> None:
        """Move the running average of squares: s ← s + share · (values² − s)."""
        torch.mul(values, values, out=self._scratch)
        average.lerp_(self._scratch, share)
