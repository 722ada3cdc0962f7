"""Update rules with running averages m of the gradient and s of its size: Adam and its kin.

The bias corrections are those of torch: c₁ = 1 − β₁ᵗ and c₂ = 1 − β₂ᵗ, m̂ = m / c₁ and ŝ = s / c₂. All that is a number
a step is worked out in tables, so that the matrices see as few operations as can be.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from models.spec.optimizers import Adam, AdamW, Optimizer
from worker.training.columns import RateTable
from worker.training.schedules import Rates, Values
from worker.training.update_rule import Rule

NADAM_BASE = 0.96
"""By which Dozat lets the momentum grow; a constant in torch, too."""

SERIES_TERMS = 60
"""Terms of a series that falls by ½ each, to the precision of float64."""


class BetaRule(Rule):
    """What they share: two betas, two averages, and numbers that change with the step."""

    states = 2

    def _prepare(self) -> None:
        self._betas = self._values("betas")
        self._shares = [self._column(1 - beta) for beta in self._betas.T]
        self._numbers = self._table(self._numbers_at)

    @abstractmethod
    def _numbers_at(self, steps: Values) -> Iterable[Values]:
        """What `step` takes from the table: (S, K) each, for steps (S, 1)."""

    def _corrections_at(self, steps: Values) -> tuple[Values, Values]:
        """c₁ and c₂."""
        first, second = self._betas.T
        return 1 - first**steps, 1 - second**steps


class AdamRule(Rule):
    """m ← β₁ m + (1 − β₁) g; s ← β₂ s + (1 − β₂) g²; θ ← θ − η m̂ / (√ŝ + ε), after θ ← θ − η λ θ in AdamW.

    By torch's own fused kernel, which passes through memory once, for neighbouring runs that are alike. With amsgrad,
    the largest s so far stands for s in the last step.
    """

    def __init__(self, specs: Sequence[Optimizer], theta: Tensor, rates: Rates) -> None:
        head = specs[0]
        assert isinstance(head, Adam | AdamW)
        self._amsgrad = head.amsgrad
        self.states = 3 if head.amsgrad else 2
        self._count = torch.zeros((), device=theta.device)
        super().__init__(specs, theta, rates)

    def _prepare(self) -> None:
        self._alike = self.rates.alike()
        self._rates = RateTable(self.rates)

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        self._count.fill_(step)
        rates = self._rates.at(step)
        for first, last in self._alike:
            spec = self._specs[first]
            assert isinstance(spec, Adam | AdamW)
            mean, squares, *largest = ([state[first:last]] for state in self._states)
            fused, decay = (
                (torch._fused_adam_, 0.0) if isinstance(spec, Adam) else (torch._fused_adamw_, spec.weight_decay)
            )
            fused(
                [theta[first:last]],
                [gradient[first:last]],
                mean,
                squares,
                largest[0] if largest else [],
                [self._count],
                lr=rates[first],
                beta1=spec.betas[0],
                beta2=spec.betas[1],
                weight_decay=decay,
                eps=spec.epsilon,
                amsgrad=self._amsgrad,
                maximize=False,
            )


class NAdamRule(BetaRule):
    """θ ← θ − η (μₜ₊₁ m / (1 − Πₜ₊₁) + (1 − μₜ) g / (1 − Πₜ)) / (√ŝ + ε), μₜ = β₁ (1 − ½ 0.96^(t ψ)), Πₜ = μ₁ ⋯ μₜ.

    As in Adam, numerator and denominator are taken times √c₂.
    """

    def _numbers_at(self, steps: Values) -> Iterable[Values]:
        _, second = self._corrections_at(steps)
        rates = self.rates.at(steps) * np.sqrt(second)
        now, following = self.momentum_at(steps), self.momentum_at(steps + 1)
        product = self.momentum_product_at(steps)
        yield self._values("epsilon") * np.sqrt(second)
        yield -rates * following / (1 - product * following)
        yield -rates * (1 - now) / (1 - product)

    def momentum_at(self, steps: Values) -> Values:
        """μₜ of each run, (S, K) for steps (S, 1)."""
        momentum: Values = self._betas[:, 0] * (1 - 0.5 * NADAM_BASE ** (steps * self._values("momentum_decay")))
        return momentum

    def momentum_product_at(self, steps: Values) -> Values:
        """Πₜ without a walk through all steps before t, so that a run can go on from any.

        With q = 0.96^ψ it is β₁ᵗ Π (1 − qⁱ/2), whose logarithm is −Σₙ (q/2)ⁿ/n (1 − qⁿᵗ)/(1 − qⁿ): the logarithm of
        each factor as a power series, summed over i first.
        """
        log_q = np.log(NADAM_BASE) * self._values("momentum_decay")
        logarithm = np.zeros(np.broadcast_shapes(steps.shape, log_q.shape))
        for n in range(1, SERIES_TERMS + 1):
            # The geometric sum has t terms where q = 1.
            one = np.expm1(n * log_q)
            terms = np.divide(np.expm1(n * log_q * steps), one, out=steps + 0 * one, where=one != 0)
            logarithm -= np.exp(n * log_q) * 0.5**n / n * terms
        product: Values = self._betas[:, 0] ** steps * np.exp(logarithm)
        return product

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        mean, squares = self._states
        epsilon, mean_rate, gradient_rate = self._numbers.at(step)
        mean.lerp_(gradient, self._shares[0])
        self._average_squares(squares, gradient, self._shares[1])
        torch.sqrt(squares, out=self._scratch)
        torch.mul(mean, mean_rate, out=self._another)
        self._descend(self._another, gradient, gradient_rate)
        theta.addcdiv_(self._another, self._scratch.add_(epsilon))


class RAdamRule(BetaRule):
    """θ ← θ − η r √c₂ m̂ / (√s + ε) where ρ > 5, θ ← θ − η m̂ before; r and ρ as in the spec."""

    def _prepare(self) -> None:
        super()._prepare()
        self._epsilon = self._column(self._values("epsilon"))

    def _numbers_at(self, steps: Values) -> Iterable[Values]:
        first, second = self._corrections_at(steps)
        decay = self._betas[:, 1]
        longest = 2 / (1 - decay) - 1
        length = longest - 2 * steps * decay**steps / second
        adapts = length > 5
        # Where it does not adapt the root is of no use, but must exist.
        longest, length = np.maximum(longest, 5), np.maximum(length, 5)
        rectification = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        yield -self.rates.at(steps) / first * np.where(adapts, np.sqrt(second * rectification), 1)
        yield adapts.astype(np.float64)

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        mean, squares = self._states
        rate, adapts = self._numbers.at(step)
        mean.lerp_(gradient, self._shares[0])
        self._average_squares(squares, gradient, self._shares[1])
        torch.sqrt(squares, out=self._scratch).add_(self._epsilon)
        if isinstance(adapts, Tensor) or adapts == 0:
            # √s + ε where a run adapts, 1 where it does not: exactly, so that neighbours do not matter.
            self._scratch.mul_(adapts).add_(1 - adapts)
        self._descend_scaled(theta, mean, self._scratch, rate)


class AdamaxRule(BetaRule):
    """m ← β₁ m + (1 − β₁) g; u ← max(β₂ u, |g| + ε); θ ← θ − η m̂ / u."""

    def _prepare(self) -> None:
        super()._prepare()
        self._epsilon = self._column(self._values("epsilon"))
        self._decay = self._column(self._betas[:, 1])

    def _numbers_at(self, steps: Values) -> Iterable[Values]:
        first, _ = self._corrections_at(steps)
        yield -self.rates.at(steps) / first

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        mean, largest = self._states
        (rate,) = self._numbers.at(step)
        mean.lerp_(gradient, self._shares[0])
        torch.abs(gradient, out=self._scratch).add_(self._epsilon)
        torch.maximum(largest.mul_(self._decay), self._scratch, out=largest)
        self._descend_scaled(theta, mean, largest, rate)
