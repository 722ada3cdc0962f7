"""Every rule equals its namesake in torch.optim over 1,000 steps, and sharpness-aware minimization its formula."""

import dataclasses
from collections.abc import Callable
from typing import Any, assert_never

import numpy as np
import pytest
import torch
from torch import Tensor
from torch import optim as peers

from models.spec import optimizers as specs
from models.spec import schedules
from models.spec.component import choices
from models.spec.job import JobSpec
from models.spec.plan import plan
from worker.training import ascent
from worker.training.adam_rules import NAdamRule
from worker.training.networks import Network
from worker.training.optimizers import build
from worker.training.schedules import Rates
from worker.training.update_rule import Rule

STEPS = 1_000
PLAN = plan(JobSpec.model_validate({"dataset": "sine", "optimizer": "sgd", "budget": {"steps": STEPS}}))


def peer(spec: specs.Optimizer, parameters: list[Tensor]) -> peers.Optimizer:  # noqa: C901 - a case for each kind
    rate = spec.learning_rate
    match spec:
        case specs.GradientDescent() | specs.SGD():
            return peers.SGD(parameters, rate)
        case specs.Momentum():
            return peers.SGD(parameters, rate, momentum=spec.momentum, dampening=spec.dampening)
        case specs.Nesterov():
            return peers.SGD(parameters, rate, momentum=spec.momentum, nesterov=True)
        case specs.Adagrad():
            decay, start = spec.learning_rate_decay, spec.initial_accumulator
            return peers.Adagrad(parameters, rate, decay, initial_accumulator_value=start, eps=spec.epsilon)
        case specs.Adadelta():
            return peers.Adadelta(parameters, rate, rho=spec.rho, eps=spec.epsilon)
        case specs.RMSprop():
            momentum, centered = spec.momentum, spec.centered
            return peers.RMSprop(parameters, rate, spec.alpha, spec.epsilon, momentum=momentum, centered=centered)
        case specs.Adam():
            return peers.Adam(parameters, rate, spec.betas, spec.epsilon, amsgrad=spec.amsgrad)
        case specs.AdamW():
            decay, amsgrad = spec.weight_decay, spec.amsgrad
            return peers.AdamW(parameters, rate, spec.betas, spec.epsilon, weight_decay=decay, amsgrad=amsgrad)
        case specs.NAdam():
            decay = spec.momentum_decay
            return peers.NAdam(parameters, rate, spec.betas, spec.epsilon, momentum_decay=decay)
        case specs.RAdam():
            return peers.RAdam(parameters, rate, spec.betas, spec.epsilon)
        case specs.Adamax():
            return peers.Adamax(parameters, rate, spec.betas, spec.epsilon)
        case specs.SAM():
            return peer(spec.base, parameters)
        case specs.Muon() | specs.LBFGS() | specs.PytorchOptimizer():
            raise AssertionError(f"{spec.kind} is its own peer")
        case _:
            assert_never(spec)


def built(many: list[specs.Optimizer], theta: Tensor, rates: Rates) -> Rule:
    return build(many, theta, torch.zeros_like(theta), rates, Network((), None))


def slope(theta: Tensor, step: int) -> Tensor:
    """The gradient of a noisy quadratic, its curvatures from 0.01 to 1; theta (P,)."""
    noise = torch.randn(theta.shape, generator=torch.Generator().manual_seed(step))
    return torch.logspace(-2, 0, len(theta)) * theta + 0.1 * noise


def start(parameters: int = 37) -> Tensor:
    return torch.randn(parameters, generator=torch.Generator().manual_seed(7))


def by_torch(spec: specs.Optimizer, gamma: float = 1.0) -> Tensor:
    """θ (P,) after all steps, of which each leaves the share gamma of the learning rate."""
    theta = torch.nn.Parameter(start())
    optimizer = peer(spec, [theta])
    scheduler = peers.lr_scheduler.ExponentialLR(optimizer, gamma)
    for step in range(1, STEPS + 1):
        theta.grad = slope(worst(theta.detach(), step, spec), step)
        optimizer.step()
        scheduler.step()
    return theta.detach()


def worst(theta: Tensor, step: int, spec: specs.Optimizer) -> Tensor:
    """Where the gradient is taken: at θ, or at the worst point near it, as Foret et al. and Kwon et al. write it."""
    if not isinstance(spec, specs.SAM):
        return theta
    gradient = slope(theta, step)
    scale = theta.abs() if spec.adaptive else torch.ones_like(theta)
    climb: Tensor = spec.rho * scale * (scale * gradient) / torch.linalg.vector_norm(scale * gradient)
    return theta + climb


def by_rule(many: list[specs.Optimizer], gamma: float = 1.0, only_from: int | None = None) -> Tensor:
    """Rows θ (P,) after all steps; from `only_from` on, the last of them goes on alone."""
    theta = start().repeat(len(many), 1)
    # With the whole split as its batch, an epoch is a step.
    each_step = dataclasses.replace(PLAN, steps_per_epoch=1)
    rates = Rates(many, [schedules.Exponential(gamma=gamma)] * len(many), each_step)
    rule, up = built(many, theta, rates), ascent.build(many, theta)
    for step in range(1, STEPS + 1):
        if step == only_from:
            keep = torch.tensor([len(many) - 1])
            rule.select(keep)
            if up is not None:
                up.select(keep)
            theta = theta.index_select(0, keep)
        gradient = torch.stack([slope(row, step) for row in theta])
        if up is not None:
            up.climb(theta, gradient)
            gradient = torch.stack([slope(row, step) for row in theta])
            up.come_back(theta)
        rule.step(theta, gradient, step)
    return theta


UNUSUAL: dict[str, dict[str, Any]] = {
    "gradient_descent": {"learning_rate": 0.3},
    "sgd": {"learning_rate": 0.3},
    "momentum": {"learning_rate": 0.05, "momentum": 0.5, "dampening": 0.3},
    "nesterov": {"learning_rate": 0.05, "momentum": 0.5},
    "adagrad": {"learning_rate": 0.1, "learning_rate_decay": 0.01, "initial_accumulator": 0.5, "epsilon": 1e-3},
    "adadelta": {"learning_rate": 0.5, "rho": 0.7, "epsilon": 1e-4},
    "rmsprop": {"learning_rate": 0.003, "alpha": 0.9, "epsilon": 1e-5, "momentum": 0.5},
    "adam": {"learning_rate": 0.01, "betas": (0.7, 0.95), "epsilon": 1e-4},
    "adamw": {"learning_rate": 0.01, "betas": (0.7, 0.95), "epsilon": 1e-4, "weight_decay": 0.3},
    "nadam": {"learning_rate": 0.01, "betas": (0.7, 0.95), "epsilon": 1e-4, "momentum_decay": 0.03},
    "radam": {"learning_rate": 0.01, "betas": (0.7, 0.95), "epsilon": 1e-4},
    "adamax": {"learning_rate": 0.01, "betas": (0.7, 0.95), "epsilon": 1e-4},
    "sam": {"base": {"kind": "momentum", "learning_rate": 0.05, "momentum": 0.5}, "rho": 0.3},
}

PROGRAMS: list[tuple[Any, dict[str, Any]]] = [
    (specs.RMSprop, {"centered": True}),
    (specs.Adam, {"amsgrad": True}),
    (specs.AdamW, {"amsgrad": True}),
    (specs.SAM, {"adaptive": True}),
    (specs.SAM, {"base": {"kind": "adam", "amsgrad": True}}),
]
"""Fields that make another program of a rule, beside the values that only make another run of it."""

ELEMENTWISE = [component for component in choices(specs.Optimizer) if component not in specs.ALONE]
EACH = pytest.mark.parametrize("component", ELEMENTWISE, ids=lambda c: c.__name__)


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


@pytest.mark.parametrize(("component", "program"), PROGRAMS, ids=str)
def test_a_rule_in_another_form_equals_torch_too(component: Any, program: dict[str, Any]) -> None:
    unusual = component(**UNUSUAL[component().kind] | program)
    usual, beside = by_rule([component(**program), unusual])
    torch.testing.assert_close(beside, by_torch(unusual), rtol=1e-4, atol=1e-6)
    assert torch.equal(usual, by_rule([component(**program)])[0])
    assert not torch.equal(usual, by_rule([component()])[0])


@EACH
def test_a_rule_under_a_schedule_equals_torch(component: Any) -> None:
    for spec in (component(), component(**UNUSUAL[component().kind])):
        torch.testing.assert_close(by_rule([spec], 0.99)[0], by_torch(spec, 0.99), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "spec",
    [
        specs.Momentum(momentum=0.0, dampening=0.5),
        specs.Momentum(dampening=1.0),
        specs.NAdam(momentum_decay=0.0),
        specs.NAdam(momentum_decay=1e6),
        specs.NAdam(betas=(0.9999, 0.999)),
        specs.NAdam(betas=(0.0, 0.0)),
        *(specs.RAdam(betas=(0.9, decay)) for decay in (0.0, 0.5, 2 / 3, 0.7, 0.72, 0.99999)),
        specs.Adamax(betas=(0.0, 0.0)),
    ],
    ids=repr,
)
def test_a_rule_equals_torch_at_its_limits(spec: specs.Optimizer) -> None:
    torch.testing.assert_close(by_rule([spec])[0], by_torch(spec), rtol=1e-4, atol=1e-6)


def test_nadam_knows_its_momentum_at_any_step_without_those_before() -> None:
    many: list[specs.Optimizer] = [specs.NAdam(momentum_decay=decay) for decay in (0.0, 1e-8, 4e-3, 0.3, 1e3)]
    rule = built(many, torch.zeros(5, 1), Rates(many, [schedules.Constant()] * 5, PLAN))
    assert isinstance(rule, NAdamRule)
    steps = np.arange(1.0, 101)[:, None]
    walked = np.cumprod(rule.momentum_at(steps), axis=0)
    np.testing.assert_allclose(rule.momentum_product_at(steps), walked, rtol=1e-12)


def test_the_variance_of_a_gradient_that_never_changes_is_never_negative() -> None:
    spec = specs.RMSprop(centered=True, alpha=0.5, epsilon=1.0)
    theta = torch.zeros(1, 1_000)
    rule = built([spec], theta, Rates([spec], [schedules.Constant()], PLAN))
    gradient = torch.rand(1, 1_000, generator=torch.Generator().manual_seed(1))
    for step in range(1, 200):
        rule.step(theta, gradient, step)
    assert theta.isfinite().all()


def test_the_defaults_are_those_of_torch() -> None:
    parameters = [torch.zeros(1, requires_grad=True)]
    for spec, theirs in (
        (specs.Adam(), peers.Adam(parameters)),
        (specs.AdamW(), peers.AdamW(parameters)),
        (specs.Adadelta(), peers.Adadelta(parameters)),
        (specs.RMSprop(), peers.RMSprop(parameters)),
        (specs.Adagrad(), peers.Adagrad(parameters)),
        (specs.NAdam(), peers.NAdam(parameters)),
        (specs.RAdam(), peers.RAdam(parameters)),
        (specs.Adamax(), peers.Adamax(parameters)),
    ):
        ours = peer(spec, parameters)
        assert ours.defaults == theirs.defaults


@EACH
def test_a_rule_goes_on_undisturbed_when_a_neighbour_leaves(component: Any) -> None:
    many = [component(), component(**UNUSUAL[component().kind])]
    assert torch.equal(by_rule(many, 0.999, only_from=300)[0], by_rule(many, 0.999)[1])


def test_every_optimizer_has_unusual_values_to_be_tested_with() -> None:
    assert set(UNUSUAL) == {c.model_fields["kind"].default for c in ELEMENTWISE}


def sphere(theta: Tensor) -> Tensor:
    return theta.square().sum() / 2


def ellipse(theta: Tensor) -> Tensor:
    """Its axes are turned, and one is ten times as long as the other."""
    along, across = theta[0] + theta[1], theta[0] - theta[1]
    return (0.01 * along.square() + across.square()) / 2


def rosenbrock(theta: Tensor) -> Tensor:
    """A bent valley with its minimum at (1, 1) (Rosenbrock 1960)."""
    return (1 - theta[0]).square() + 100 * (theta[1] - theta[0].square()).square()


def slope_of(target: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    free = theta.detach().clone().requires_grad_()
    return torch.autograd.grad(target(free), free)[0]


PATHS = [
    pytest.param(
        component,
        target,
        id=f"{target.__name__}-{component.model_fields['kind'].default}",
        marks=() if (row + column) % 3 == 0 else pytest.mark.slow,
    )
    for row, component in enumerate(ELEMENTWISE)
    for column, target in enumerate((sphere, ellipse, rosenbrock))
]
"""In the fast tier, each rule descends one function."""


@pytest.mark.parametrize(("component", "target"), PATHS)
def test_a_rule_descends_a_known_function_on_the_path_of_torch(component: Any, target: Any) -> None:
    kind = component().kind
    bent = target is rosenbrock
    rate = {"adadelta": 0.3 if bent else 1.0, "adagrad": 0.1}.get(kind, 5e-4 if bent else 0.01)
    spec = component(base={"kind": "sgd", "learning_rate": rate}) if kind == "sam" else component(learning_rate=rate)
    origin = torch.tensor([-1.2, 1.0])
    mine, theirs = origin[None].clone(), torch.nn.Parameter(origin.clone())
    each_step = dataclasses.replace(PLAN, steps_per_epoch=1)
    rule = built([spec], mine, Rates([spec], [schedules.Constant()], each_step))
    up, optimizer = ascent.build([spec], mine), peer(spec, [theirs])
    for step in range(1, STEPS + 1):
        gradient = slope_of(target, mine[0])[None]
        if up is not None:
            up.climb(mine, gradient)
            gradient = slope_of(target, mine[0])[None]
            up.come_back(mine)
        rule.step(mine, gradient, step)
        place, climb = theirs.detach(), slope_of(target, theirs)
        if isinstance(spec, specs.SAM):
            place = place + spec.rho * climb / torch.linalg.vector_norm(climb)
        theirs.grad = slope_of(target, place)
        optimizer.step()
        if step % 100 == 0:
            torch.testing.assert_close(mine[0], theirs.detach(), rtol=1e-3, atol=1e-4)
    assert target(mine[0]) < 0.5 * target(origin)
