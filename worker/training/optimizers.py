"""Update rules on θ (K, P), each equal to its namesake in torch.optim to float32 round-off.

A hyperparameter is a column: a (K, 1) tensor where the runs differ, a Python number where they agree. The kernels round
both to the same float32, so a run's bits do not depend on which of the two its cohort uses.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.optimizers import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    GradientDescent,
    Momentum,
    Nesterov,
    Optimizer,
    RMSprop,
)

Column = float | Tensor
Values = NDArray[np.float64]

STEPS_TABULATED_AT_ONCE = 256


def column(values: Values, device: torch.device) -> Column:
    """One value a run, (K,), as the kernels take it."""
    if (values == values[0]).all():
        return float(values[0])
    return torch.from_numpy(values.astype(np.float32)).to(device)[:, None]


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


class Rule(ABC):
    """An update rule with its state: a few more matrices of the shape of θ."""

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor, states: int) -> None:
        self._specs = list(specs)
        self._device = theta.device
        self._states = [torch.zeros_like(theta) for _ in range(states)]
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
        self._specs = [self._specs[k] for k in rows.tolist()]
        self._states = [state.index_select(0, rows) for state in self._states]
        self._scratch = self._scratch[: len(rows)].clone()
        self._another = self._another[: len(rows)].clone()
        self._prepare()

    def _values(self, name: str) -> Values:
        return np.array([getattr(spec, name) for spec in self._specs], np.float64)

    def _column(self, values: Values) -> Column:
        return column(values, self._device)

    def _descend(self, theta: Tensor, direction: Tensor, rate: Column) -> None:
        """θ ← θ + rate · direction, with a negative rate."""
        if isinstance(rate, float):
            theta.add_(direction, alpha=rate)
        else:
            theta.addcmul_(direction, rate)

    def _descend_scaled(self, theta: Tensor, numerator: Tensor, denominator: Tensor, rate: Column) -> None:
        """θ ← θ + rate · numerator / denominator, with a negative rate."""
        if isinstance(rate, float):
            theta.addcdiv_(numerator, denominator, value=rate)
        else:
            torch.mul(numerator, rate, out=self._another)
            theta.addcdiv_(self._another, denominator)

    def _average_squares(self, average: Tensor, values: Tensor, share: Column) -> None:
        """Move the running average of squares: s ← s + share · (values² − s)."""
        torch.mul(values, values, out=self._scratch)
        average.lerp_(self._scratch, share)


class PlainRule(Rule):
    """θ ← θ − η g."""

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor) -> None:
        super().__init__(specs, theta, states=0)

    def _prepare(self) -> None:
        self._rate = self._column(-self._values("learning_rate"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:  # noqa: ARG002
        self._descend(theta, gradient, self._rate)


class MomentumRule(Rule):
    """v ← μ v + g; θ ← θ − η v, or − η (g + μ v) after Nesterov."""

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor) -> None:
        self._looks_ahead = isinstance(specs[0], Nesterov)
        super().__init__(specs, theta, states=1)

    def _prepare(self) -> None:
        self._rate = self._column(-self._values("learning_rate"))
        self._momentum = self._column(self._values("momentum"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:  # noqa: ARG002
        (velocity,) = self._states
        velocity.mul_(self._momentum).add_(gradient)
        if self._looks_ahead:
            torch.mul(velocity, self._momentum, out=self._scratch)
            velocity = self._scratch.add_(gradient)
        self._descend(theta, velocity, self._rate)


class AdagradRule(Rule):
    """s ← s + g²; θ ← θ − η / (1 + (t − 1) decay) · g / (√s + ε)."""

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor) -> None:
        super().__init__(specs, theta, states=1)
        self._states[0] += self._column(self._values("initial_accumulator"))

    def _prepare(self) -> None:
        self._rates = Table(self._rates_at, self._device)
        self._epsilon = self._column(self._values("epsilon"))

    def _rates_at(self, steps: Values) -> Iterable[Values]:
        yield -self._values("learning_rate") / (1 + (steps - 1) * self._values("learning_rate_decay"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        (squares,) = self._states
        (rate,) = self._rates.at(step)
        squares.addcmul_(gradient, gradient)
        torch.sqrt(squares, out=self._scratch)
        self._descend_scaled(theta, gradient, self._scratch.add_(self._epsilon), rate)


class AdadeltaRule(Rule):
    """s ← ρ s + (1 − ρ) g²; Δ = g √(u + ε) / √(s + ε); u ← ρ u + (1 − ρ) Δ²; θ ← θ − η Δ."""

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor) -> None:
        super().__init__(specs, theta, states=2)

    def _prepare(self) -> None:
        self._rate = self._column(-self._values("learning_rate"))
        self._share = self._column(1 - self._values("rho"))
        self._epsilon = self._column(self._values("epsilon"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:  # noqa: ARG002
        squares, updates = self._states
        delta = self._another
        self._average_squares(squares, gradient, self._share)
        torch.add(squares, self._epsilon, out=self._scratch)
        torch.add(updates, self._epsilon, out=delta)
        delta.sqrt_().div_(self._scratch.sqrt_()).mul_(gradient)
        self._average_squares(updates, delta, self._share)
        self._descend(theta, delta, self._rate)


class RMSpropRule(Rule):
    """s ← α s + (1 − α) g²; v ← μ v + g / (√s + ε); θ ← θ − η v."""

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor) -> None:
        super().__init__(specs, theta, states=2)

    def _prepare(self) -> None:
        self._rate = self._column(-self._values("learning_rate"))
        self._share = self._column(1 - self._values("alpha"))
        self._momentum = self._column(self._values("momentum"))
        self._epsilon = self._column(self._values("epsilon"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:  # noqa: ARG002
        squares, velocity = self._states
        self._average_squares(squares, gradient, self._share)
        torch.sqrt(squares, out=self._scratch)
        # The velocity is kept even where μ = 0: neighbours may have momentum, and the bits must not tell.
        velocity.mul_(self._momentum).addcdiv_(gradient, self._scratch.add_(self._epsilon))
        self._descend(theta, velocity, self._rate)


class AdamRule(Rule):
    """m ← β₁ m + (1 − β₁) g; s ← β₂ s + (1 − β₂) g²; θ ← θ − η m̂ / (√ŝ + ε).

    With bias corrections c₁ = 1 − β₁ᵗ and c₂ = 1 − β₂ᵗ the step is η √c₂ / c₁ · m / (√s + ε √c₂).
    """

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor) -> None:
        self._decays = isinstance(specs[0], AdamW)
        super().__init__(specs, theta, states=2)

    def _prepare(self) -> None:
        self._betas = self._values("betas")
        self._shares = [self._column(1 - beta) for beta in self._betas.T]
        self._corrections = Table(self._corrections_at, self._device)
        if self._decays:
            self._keep = self._column(1 - self._values("learning_rate") * self._values("weight_decay"))

    def _corrections_at(self, steps: Values) -> Iterable[Values]:
        first, second = (1 - beta**steps for beta in self._betas.T)
        yield self._values("epsilon") * np.sqrt(second)
        yield -self._values("learning_rate") * np.sqrt(second) / first

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        mean, squares = self._states
        epsilon, rate = self._corrections.at(step)
        if self._decays:
            theta.mul_(self._keep)
        mean.lerp_(gradient, self._shares[0])
        self._average_squares(squares, gradient, self._shares[1])
        torch.sqrt(squares, out=self._scratch)
        self._descend_scaled(theta, mean, self._scratch.add_(epsilon), rate)


def build(specs: Sequence[Optimizer], theta: Tensor) -> Rule:
    """The update rule of a cohort: `specs` are of one kind, one a run."""
    head = specs[0]
    match head:
        case GradientDescent() | SGD():
            return PlainRule(specs, theta)
        case Momentum() | Nesterov():
            return MomentumRule(specs, theta)
        case Adagrad():
            return AdagradRule(specs, theta)
        case Adadelta():
            return AdadeltaRule(specs, theta)
        case RMSprop():
            return RMSpropRule(specs, theta)
        case Adam() | AdamW():
            return AdamRule(specs, theta)
        case _:
            assert_never(head)
