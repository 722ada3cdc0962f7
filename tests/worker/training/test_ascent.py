"""Sharpness-aware training equals the same training written out in plain torch.nn, both gradients of one batch."""

from typing import Any

import numpy as np
import pytest
import torch

from models.spec.job import JobSpec
from models.spec.optimizers import SAM
from tests.worker.training.plain import Plain
from worker.training.ascent import Ascent

BASE: dict[str, Any] = {
    "dataset": {"kind": "sine", "samples": 300},
    "network": {"kind": "mlp", "hidden": [16, 8], "activation": "tanh"},
    "batch_size": 16,
    "budget": {"steps": 150},
    "record": {"every_steps": 1},
}
MOMENTUM = {"kind": "momentum", "learning_rate": 0.02}


def losses(spec: JobSpec, seed: int) -> list[float]:
    """The loss of each update, and θ + ρ g / ‖g‖ (or its adaptive form) by hand."""
    plain, optimizer = Plain(spec, seed), spec.optimizer
    assert isinstance(optimizer, SAM)
    parameters = list(plain.module.parameters())
    base = torch.optim.SGD(parameters, optimizer.learning_rate, momentum=0.9)
    found = []
    for step in range(plain.plan.steps):
        loss, penalty = plain.batch_loss(step), plain.penalty()
        gradients = torch.autograd.grad(loss, parameters)
        scales = [p.abs() if optimizer.adaptive else torch.ones_like(p) for p in parameters]
        norm = torch.cat([(t * g).flatten() for t, g in zip(scales, gradients, strict=True)]).norm()
        origins = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for p, t, g in zip(parameters, scales, gradients, strict=True):
                p.add_(optimizer.rho * t * t * g / norm)
        base.zero_grad()
        plain.batch_loss(step).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for p, origin in zip(parameters, origins, strict=True):
                p.copy_(origin)
        if penalty.requires_grad:
            plain.penalty().backward()  # type: ignore[no-untyped-call]
        base.step()
        plain.project(optimizer.learning_rate)
        found.append(loss.item() + penalty.item())
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": {"kind": "sam", "base": MOMENTUM, "rho": 0.1}},
        {"optimizer": {"kind": "sam", "base": MOMENTUM, "rho": 0.5, "adaptive": True}},
        {"optimizer": {"kind": "sam", "base": MOMENTUM}, "regularizers": ["dropout", {"kind": "l2", "weight": 0.01}]},
        {
            "optimizer": {"kind": "sam", "base": MOMENTUM},
            "regularizers": [{"kind": "l1", "weight": 0.01, "proximal": True}],
        },
    ],
    ids=["plain", "adaptive", "dropout and penalty", "proximal"],
)
def test_sharpness_aware_training_equals_plain_torch(train_runs: Any, changes: dict[str, Any]) -> None:
    heard = train_runs(BASE | changes, [3, 4])
    for row, seed in enumerate((3, 4)):
        expected = losses(JobSpec.model_validate(BASE | changes), seed)
        np.testing.assert_allclose(heard.values(row, "train_loss"), expected, rtol=2e-3, atol=1e-5)


def test_a_radius_of_zero_is_the_base_rule_to_the_bit(train_runs: Any) -> None:
    without = train_runs(BASE | {"optimizer": MOMENTUM, "regularizers": ["dropout"]}, [0])
    zero = {"kind": "sam", "base": MOMENTUM, "rho": 0.0}
    assert train_runs(BASE | {"optimizer": zero, "regularizers": ["dropout"]}, [0]).bits(0) == without.bits(0)


@pytest.mark.parametrize("adaptive", [False, True])
def test_at_a_stationary_point_there_is_nowhere_to_climb(adaptive: bool) -> None:
    theta, gradient = torch.tensor([[3.0, 4.0], [1.0, 2.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    up = Ascent([SAM(rho=0.5, adaptive=adaptive)] * 2, theta)
    up.climb(theta, gradient)
    assert theta.tolist() == [[3.0, 4.0], [1.0, 3.0 if adaptive else 2.5]]
    up.come_back(theta)
    assert theta.tolist() == [[3.0, 4.0], [1.0, 2.0]]
