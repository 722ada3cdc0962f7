"""Update rules on θ (K, P), each equal to its namesake in torch.optim to float32 round-off.

The plain ones are here, the others in `adaptive_rules` and `adam_rules`, and in `torch_rules` those that torch itself
keeps; `build` knows them all.
"""

from collections.abc import Sequence
from typing import assert_never

import numpy as np
import torch
from torch import Tensor

from models.spec.optimizers import (
    LBFGS,
    SAM,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    GradientDescent,
    Momentum,
    Muon,
    NAdam,
    Nesterov,
    Optimizer,
    PytorchOptimizer,
    RAdam,
    RMSprop,
)
from worker.training.adam_rules import AdamaxRule, AdamRule, NAdamRule, RAdamRule
from worker.training.adaptive_rules import AdadeltaRule, AdagradRule, RMSpropRule
from worker.training.networks import Network
from worker.training.schedules import Rates
from worker.training.torch_rules import LBFGSRule, MuonRule, PytorchOptimizerRule
from worker.training.update_rule import Rule


class PlainRule(Rule):
    """θ ← θ − η g."""

    states = 0

    def _prepare(self) -> None:
        self._descent = self._descending_rates()

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        (rate,) = self._descent.at(step)
        self._descend(theta, gradient, rate)


class MomentumRule(Rule):
    """v ← μ v + (1 − d) g; θ ← θ − η v."""

    states = 1

    def _prepare(self) -> None:
        momentum = self._values("momentum")
        self._descent = self._descending_rates()
        self._momentum = self._column(momentum)
        self._gain = self._column(np.where(momentum > 0, 1 - self._values("dampening"), 1.0))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        (velocity,) = self._states
        (rate,) = self._descent.at(step)
        self._descend(velocity.mul_(self._momentum), gradient, self._gain if step > 1 else 1.0)
        self._descend(theta, velocity, rate)


class NesterovRule(Rule):
    """v ← μ v + g; θ ← θ − η (g + μ v)."""

    states = 1

    def _prepare(self) -> None:
        self._descent = self._descending_rates()
        self._momentum = self._column(self._values("momentum"))

    def step(self, theta: Tensor, gradient: Tensor, step: int) -> None:
        (velocity,) = self._states
        (rate,) = self._descent.at(step)
        velocity.mul_(self._momentum).add_(gradient)
        torch.mul(velocity, self._momentum, out=self._scratch)
        self._descend(theta, self._scratch.add_(gradient), rate)


def build(  # noqa: C901 - a case for each kind
    specs: Sequence[Optimizer], theta: Tensor, gradient: Tensor, rates: Rates, network: Network
) -> Rule:
    """The update rule of a cohort: `specs` are of one kind, one a run."""
    head = specs[0]
    match head:
        case GradientDescent() | SGD():
            return PlainRule(specs, theta, rates)
        case Momentum():
            return MomentumRule(specs, theta, rates)
        case Nesterov():
            return NesterovRule(specs, theta, rates)
        case Adagrad():
            return AdagradRule(specs, theta, rates)
        case Adadelta():
            return AdadeltaRule(specs, theta, rates)
        case RMSprop():
            return RMSpropRule(specs, theta, rates)
        case Adam() | AdamW():
            return AdamRule(specs, theta, rates)
        case NAdam():
            return NAdamRule(specs, theta, rates)
        case RAdam():
            return RAdamRule(specs, theta, rates)
        case Adamax():
            return AdamaxRule(specs, theta, rates)
        case SAM():
            # Only the gradient is another one: see `ascent`.
            return build([spec.base for spec in specs if isinstance(spec, SAM)], theta, gradient, rates, network)
        case Muon():
            return MuonRule(specs, theta, gradient, rates, network)
        case LBFGS():
            return LBFGSRule(specs, theta, gradient, rates, network)
        case PytorchOptimizer():
            return PytorchOptimizerRule(specs, theta, gradient, rates, network)
        case _:
            assert_never(head)
