"""Every rule equals its namesake in torch.optim over 1,000 steps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import optim as peers

from models.spec import optimizers as specs
from models.spec.component import choices
from worker.training.optimizers import build

STEPS = 1_000


def peer(spec: specs.Optimizer, parameters: list[Tensor]) -> peers.Optimizer:
    rate = spec.learning_rate
    match spec:
        case specs.GradientDescent() | specs.SGD():
            return peers.SGD(parameters, rate)
        case specs.Momentum():
            return peers.SGD(parameters, rate, momentum=spec.momentum)
        case specs.Nesterov():
            return peers.SGD(parameters, rate, momentum=spec.momentum, nesterov=True)
        case specs.Adagrad():
            decay, start = spec.learning_rate_decay, spec.initial_accumulator
            return peers.Adagrad(parameters, rate, decay, initial_accumulator_value=start, eps=spec.epsilon)
        case specs.Adadelta():
            return peers.Adadelta(parameters, rate, rho=spec.rho, eps=spec.epsilon)
        case specs.RMSprop():
            return peers.RMSprop(parameters, rate, alpha=spec.alpha, eps=spec.epsilon, momentum=spec.momentum)
        case specs.Adam():
            return peers.Adam(parameters, rate, spec.betas, spec.epsilon)
        case specs.AdamW():
            return peers.AdamW(parameters, rate, spec.betas, spec.epsilon, weight_decay=spec.weight_decay)


def slope(theta: Tensor, step: int) -> Tensor:
    """The gradient of a noisy quadratic, its curvatures from 0.01 to 1; theta (P,)."""
    noise = torch.randn(theta.shape, generator=torch.Generator().manual_seed(step))
    return torch.logspace(-2, 0, len(theta)) * theta + 0.1 * noise


def start(parameters: int = 37) -> Tensor:
    return torch.randn(parameters, generator=torch.Generator().manual_seed(7))


def by_torch(spec: specs.Optimizer) -> Tensor:
    theta = torch.nn.Parameter(start())
    optimizer = peer(spec, [theta])
    for step in range(1, STEPS + 1):
        theta.grad = slope(theta.detach(), step)
        optimizer.step()
    return theta.detach()


def by_rule(many: list[specs.Optimizer]) -> Tensor:
    theta = start().repeat(len(many), 1)
    rule = build(many, theta)
    for step in range(1, STEPS + 1):
        gradient = torch.stack([slope(row, step) for row in theta])
        rule.step(theta, gradient, step)
    return theta


UNUSUAL: dict[str, dict[str, Any]] = {
    "gradient_descent": {"learning_rate": 0.3},
    "sgd": {"learning_rate": 0.3},
    "momentum": {"learning_rate": 0.05, "momentum": 0.5},
    "nesterov": {"learning_rate": 0.05, "momentum": 0.5},
    "adagrad": {"learning_rate": 0.1, "learning_rate_decay": 0.01, "initial_accumulator": 0.5, "epsilon": 1e-3},
    "adadelta": {"learning_rate": 0.5, "rho": 0.7, "epsilon": 1e-4},
    "rmsprop": {"learning_rate": 0.003, "alpha": 0.9, "epsilon": 1e-5, "momentum": 0.5},
    "adam": {"learning_rate": 0.01, "betas": (0.7, 0.95), "epsilon": 1e-4},
    "adamw": {"learning_rate": 0.01, "betas": (0.7, 0.95), "epsilon": 1e-4, "weight_decay": 0.3},
}

EACH = pytest.mark.parametrize("component", list(choices(specs.Optimizer)), ids=lambda c: c.__name__)


@EACH
def test_a_rule_with_its_defaults_equals_torch(component: Callable[[], specs.Optimizer]) -> None:
    spec = component()
    torch.testing.assert_close(by_rule([spec])[0], by_torch(spec), rtol=1e-4, atol=1e-6)


@EACH
def test_a_rule_with_other_values_equals_torch_also_beside_a_run_with_the_defaults(component: Any) -> None:
    unusual = component(**UNUSUAL[component().kind])
    usual, beside = by_rule([component(), unusual])
    torch.testing.assert_close(beside, by_torch(unusual), rtol=1e-4, atol=1e-6)
    assert torch.equal(usual, by_rule([component()])[0])


def test_the_defaults_of_adam_adadelta_rmsprop_and_adagrad_are_those_of_torch() -> None:
    parameters = [torch.zeros(1, requires_grad=True)]
    for spec, theirs in (
        (specs.Adam(), peers.Adam(parameters)),
        (specs.AdamW(), peers.AdamW(parameters)),
        (specs.Adadelta(), peers.Adadelta(parameters)),
        (specs.RMSprop(), peers.RMSprop(parameters)),
        (specs.Adagrad(), peers.Adagrad(parameters)),
    ):
        ours = peer(spec, parameters)
        assert ours.defaults == theirs.defaults


@EACH
def test_a_rule_goes_on_undisturbed_when_a_neighbour_leaves(component: Any) -> None:
    many = [component(), component(**UNUSUAL[component().kind])]
    whole = by_rule(many)
    theta = start().repeat(2, 1)
    rule = build(many, theta)
    for step in range(1, STEPS + 1):
        if step == 300:
            keep = torch.tensor([1])
            rule.select(keep)
            theta = theta.index_select(0, keep)
        rule.step(theta, torch.stack([slope(row, step) for row in theta]), step)
    assert torch.equal(theta[0], whole[1])


def test_every_optimizer_has_unusual_values_to_be_tested_with() -> None:
    assert set(UNUSUAL) == {c.model_fields["kind"].default for c in choices(specs.Optimizer)}
