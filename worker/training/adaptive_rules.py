"""Update rules that scale each parameter's step by the size of its gradients: Adagrad, Adadelta, RMSprop."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from models.spec.optimizers import Optimizer, RMSprop
from worker.training.schedules import Rates, Values
from worker.training.update_rule import Rule


class AdagradRule(Rule):
    """s ← s + g²; θ ← θ − η / (1 + (t − 1) decay) · g / (√s + ε)."""

    states = 1

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor, rates: Rates) -> None:
        super().__init__(specs, theta, rates)
        self._states[0] += self._column(self._values("initial_accumulator"))

    def _prepare(self) -> None:
        self._descent = self._table(self._descent_at)
        self._epsilon = self._column(self._values("epsilon"))

    def _descent_at(self, steps: Values) -> Iterable[Values]:
        yield -self.rates.at(steps) / (1 + (steps - 1) * self._values("learning_rate_decay"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        (squares,) = self._states
        (rate,) = self._descent.at(step)
        squares.addcmul_(gradient, gradient)
        torch.sqrt(squares, out=self._scratch)
        self._descend_scaled(theta, gradient, self._scratch.add_(self._epsilon), rate)


class AdadeltaRule(Rule):
    """s ← ρ s + (1 − ρ) g²; Δ = g √(u + ε) / √(s + ε); u ← ρ u + (1 − ρ) Δ²; θ ← θ − η Δ."""

    states = 2

    def _prepare(self) -> None:
        self._descent = self._descending_rates()
        self._share = self._column(1 - self._values("rho"))
        self._epsilon = self._column(self._values("epsilon"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        squares, updates = self._states
        (rate,) = self._descent.at(step)
        delta = self._another
        self._average_squares(squares, gradient, self._share)
        torch.add(squares, self._epsilon, out=self._scratch)
        torch.add(updates, self._epsilon, out=delta)
        delta.sqrt_().div_(self._scratch.sqrt_()).mul_(gradient)
        self._average_squares(updates, delta, self._share)
        self._descend(theta, delta, rate)


class RMSpropRule(Rule):
    """s ← α s + (1 − α) g²; v ← μ v + g / (√s + ε); θ ← θ − η v.

    Centered, m ← α m + (1 − α) g, and s − m² stands for s under the root.
    """

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor, rates: Rates) -> None:
        head = specs[0]
        self.states = 3 if isinstance(head, RMSprop) and head.centered else 2
        super().__init__(specs, theta, rates)

    def _prepare(self) -> None:
        self._descent = self._descending_rates()
        self._share = self._column(1 - self._values("alpha"))
        self._momentum = self._column(self._values("momentum"))
        self._epsilon = self._column(self._values("epsilon"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        squares, velocity, *means = self._states
        (rate,) = self._descent.at(step)
        self._average_squares(squares, gradient, self._share)
        for mean in means:
            mean.lerp_(gradient, self._share)
            # Of a gradient that never changes the variance is zero, and round-off must not make it less.
            squares = torch.addcmul(squares, mean, mean, value=-1, out=self._scratch).clamp_min_(0)
        torch.sqrt(squares, out=self._scratch)
        # The velocity is kept even where μ = 0: neighbours may have momentum, and the bits must not tell.
        velocity.mul_(self._momentum).addcdiv_(gradient, self._scratch.add_(self._epsilon))
        self._descend(theta, velocity, rate)
