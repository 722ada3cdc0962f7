"""Every schedule equals its namesake in torch.optim.lr_scheduler at every step of a run."""

from typing import Any, assert_never

import numpy as np
import pytest
import torch
from torch.optim import SGD
from torch.optim import lr_scheduler as peers

from models.spec import schedules as specs
from models.spec.component import choices
from models.spec.job import JobSpec
from models.spec.optimizers import Adam
from models.spec.plan import Plan, plan
from worker.training.schedules import Rates, factors

RATE = 0.3


def work(steps: int) -> Plan:
    """A budget of these steps, 9 an epoch."""
    return plan(JobSpec.model_validate({"dataset": "sine", "optimizer": "sgd", "budget": {"steps": steps}}))


def by_torch(spec: specs.Schedule, steps: int) -> list[float]:
    """The learning rate of every update."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], RATE)
    scheduler = peer(spec, optimizer, steps)
    every = work(steps).steps_per_epoch if isinstance(spec, specs.Exponential) else 1
    rates = []
    for step in range(1, steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % every == 0 and step < steps:
            scheduler.step()
    return rates


def peer(spec: specs.Schedule, optimizer: SGD, steps: int) -> peers.LRScheduler:
    match spec:
        case specs.Constant():
            return peers.ConstantLR(optimizer, 1.0)
        case specs.Warmup():
            return peers.LinearLR(optimizer, spec.start_factor, total_iters=spec.steps)
        case specs.StepDecay():
            return peers.StepLR(optimizer, spec.every_steps, spec.gamma)
        case specs.Exponential():
            return peers.ExponentialLR(optimizer, spec.gamma)
        case specs.Cosine():
            return peers.CosineAnnealingLR(optimizer, steps, spec.minimum_factor * RATE)
        case specs.OneCycle():
            return peers.OneCycleLR(
                optimizer,
                RATE,
                steps,
                pct_start=spec.warmup_fraction,
                div_factor=spec.initial_divisor,
                final_div_factor=spec.final_divisor,
                cycle_momentum=False,
            )
        case _:
            assert_never(spec)


def by_formula(many: list[specs.Schedule], steps: int) -> Any:
    return RATE * factors(many, np.arange(1.0, steps + 1)[:, None], work(steps))


UNUSUAL: dict[str, dict[str, Any]] = {
    "constant": {},
    "warmup": {"steps": 37, "start_factor": 0.3},
    "step": {"every_steps": 41, "gamma": 0.5},
    "exponential": {"gamma": 0.7},
    "cosine": {"minimum_factor": 0.25},
    "one_cycle": {"warmup_fraction": 0.45, "initial_divisor": 7.0, "final_divisor": 30.0},
}

EACH = pytest.mark.parametrize("component", list(choices(specs.Schedule)), ids=lambda c: c.__name__)


@EACH
@pytest.mark.parametrize("steps", [1, 2, 300, 2_500])
def test_a_schedule_equals_torch_at_every_step(component: Any, steps: int) -> None:
    for spec in (component(), component(**UNUSUAL[component().kind])):
        np.testing.assert_allclose(by_formula([spec], steps)[:, 0], by_torch(spec, steps), rtol=1e-9, atol=1e-15)


@EACH
def test_runs_with_other_values_of_a_schedule_stand_beside_each_other(component: Any) -> None:
    many = [component(**UNUSUAL[component().kind]), component()]
    both = by_formula(many, 300)
    assert both.shape == (300, 2)
    for column, spec in enumerate(many):
        assert np.array_equal(both[:, column], by_formula([spec], 300)[:, 0])


def test_one_cycle_may_go_only_up_or_only_down() -> None:
    up, down, at_the_top = (
        by_formula([specs.OneCycle(warmup_fraction=fraction)], 10)[:, 0] for fraction in (1.0, 0.0, 0.1)
    )
    np.testing.assert_allclose(up, by_torch(specs.OneCycle(warmup_fraction=1.0), 10))
    np.testing.assert_allclose(down, by_torch(specs.OneCycle(warmup_fraction=0.0), 10))
    assert at_the_top[0] == RATE, "torch divides by zero here"
    assert (np.diff(at_the_top) < 0).all()


def test_the_rates_are_the_optimizers_times_the_factors_whoever_is_left() -> None:
    optimizers = [Adam(learning_rate=rate) for rate in (0.1, 0.2, 0.4)]
    schedules: list[specs.Schedule] = [specs.StepDecay(every_steps=2, gamma=gamma) for gamma in (0.5, 0.1, 1.0)]
    rates = Rates(optimizers, schedules, work(10))
    steps = np.arange(1.0, 6)[:, None]
    expected = [[0.1, 0.2, 0.4]] * 2 + [[0.05, 0.02, 0.4]] * 2 + [[0.025, 0.002, 0.4]]
    np.testing.assert_allclose(rates.at(steps), expected)
    assert np.array_equal(rates.select([2, 0]).at(steps), rates.at(steps)[:, [2, 0]])


def test_every_schedule_has_unusual_values_to_be_tested_with() -> None:
    assert set(UNUSUAL) == {c.model_fields["kind"].default for c in choices(specs.Schedule)}
