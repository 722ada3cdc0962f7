"""Sharpness where it can be worked out: on quadratics, whose maximum over a box is at a corner."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import Tensor

from models.spec.analyses import Sharpness
from tests.worker.training.analyses.trained import (
    dense_hessian,
    least_squares,
    members,
    spec_of,
    subjects_of,
    untrained,
)
from worker.training import networks
from worker.training.analyses import NotAnalysable, TrainedRun, analyse
from worker.training.analyses.networks import Weights
from worker.training.analyses.objective import Objective
from worker.training.analyses.sharpness import box_sharpness

LINES: dict[str, Any] = {"dataset": "sine", "network": "linear"}
SURFACES: dict[str, Any] = {"dataset": "diabetes", "network": "linear"}


def values_of(spec: Any, run: TrainedRun, **options: Any) -> dict[str, float]:
    return analyse(Sharpness(rows=65_536, **options), [spec], members([0]), [run])[0].values


def corners(sides: Tensor) -> Tensor:
    """Of the box, (2ⁿ, n): a quadratic that is convex has its maximum at one of them."""
    return torch.tensor(list(product([-1.0, 1.0], repeat=len(sides))), dtype=torch.float64) * sides


def rises(hessian: Tensor, gradient: Tensor, places: Tensor) -> Tensor:
    """By how much a quadratic is higher at places (n, P)."""
    return places @ gradient + 0.5 * ((places @ hessian) * places).sum(1)


def test_the_sharpness_of_a_separable_quadratic_is_that_of_every_corner() -> None:
    # f = Σ λᵢ wᵢ² + b² at w = 0: the rows are orthogonal, the targets zero. Half the curvature times ε² at each side.
    spec = spec_of(**SURFACES)
    curvatures = torch.logspace(-3, 3, 10, dtype=torch.float64)
    rows = torch.from_numpy(hadamard(16)[:, 1:11]).double() * curvatures.sqrt()
    theta, averages, none, targets = (torch.zeros(1, *shape).double() for shape in ([11], [0], [], [16, 1]))
    weights = Weights(theta, averages, none)
    objective = Objective(spec, networks.build(spec), weights, rows[None], targets)
    start = np.random.default_rng(0).uniform(-0.01, 0.01, 11)
    for epsilon in (1e-3, 0.3):
        found = box_sharpness(objective, epsilon, start, None, 10)
        assert found == pytest.approx(100 * epsilon**2 * float(curvatures.sum() + 1), rel=1e-4)


@pytest.mark.parametrize("fields", [LINES, SURFACES], ids=str)
@pytest.mark.parametrize("minimum", [True, False])
def test_the_sharpness_of_a_quadratic_is_that_of_a_corner_which_is_a_local_maximum(
    fields: dict[str, Any], minimum: bool
) -> None:
    spec = spec_of(**fields)
    run = least_squares(spec) if minimum else untrained(spec, 3)
    subjects = subjects_of(spec, [run])
    objective = subjects.objective("training", 65_536)
    loss, gradient = objective.gradients(objective.theta)
    hessian = dense_hessian(subjects, 0, 65_536)
    found = values_of(spec, run, epsilons=(1e-3, 5e-4, 0.25), iterations=50)
    assert list(found) == ["sharpness_0.001", "sharpness_0.0005", "sharpness_0.25", "adaptive_sharpness", "loss"]
    assert found["loss"] == pytest.approx(float(loss))
    for epsilon in (1e-3, 5e-4, 0.25):
        places = corners(epsilon * (objective.theta[0].abs() + 1))
        heights = 100 * rises(hessian, gradient[0], places) / (1 + loss)
        corner = int((heights - found[f"sharpness_{epsilon:g}"]).abs().argmin())
        assert found[f"sharpness_{epsilon:g}"] == pytest.approx(float(heights[corner]), rel=1e-4)
        # From there, each side of the box is in the way of a further rise.
        assert ((gradient[0] + hessian @ places[corner]) * places[corner] >= 0).all()


def test_the_adaptive_sharpness_of_a_minimum_follows_the_curvature_in_units_of_the_weights() -> None:
    spec = spec_of(**SURFACES)
    run = least_squares(spec)
    subjects = subjects_of(spec, [run])
    scale = subjects.weights.theta[0].abs()
    hessian = dense_hessian(subjects, 0, 65_536) * scale * scale[:, None]
    expected = 0.5 * 0.3**2 * torch.linalg.eigvalsh(hessian)[-1].item()
    assert values_of(spec, run, radius=0.3)["adaptive_sharpness"] == pytest.approx(expected, rel=1e-3)


def test_a_subspace_of_two_dimensions_is_a_box_of_its_own() -> None:
    spec = spec_of(**SURFACES)
    subjects = subjects_of(spec, [untrained(spec, 1)])
    objective = subjects.objective("training", 65_536)
    x, columns = objective.theta[0], np.random.default_rng(0).standard_normal((11, 2))
    loss, gradient = objective.gradients(objective.theta)
    inside = torch.from_numpy(columns)
    sides = 1e-2 * ((torch.linalg.pinv(inside) @ x).abs() + 1)
    hessian = inside.mT @ dense_hessian(subjects, 0, 65_536) @ inside
    highest = float(rises(hessian, inside.mT @ gradient[0], corners(sides)).max())
    found = box_sharpness(objective, 1e-2, np.array([0.01, -0.02]), columns, 20)
    assert found == pytest.approx(100 * highest / (1 + float(loss)), rel=1e-6)
    whole = box_sharpness(objective, 1e-2, np.full(11, 0.01), np.eye(11), 20)
    assert whole == pytest.approx(box_sharpness(objective, 1e-2, np.full(11, 0.01), None, 20))


def test_a_subspace_cannot_be_larger_than_what_it_lies_in() -> None:
    spec = spec_of(**SURFACES)
    assert values_of(spec, untrained(spec, 0), subspace=11)["sharpness_0.001"] > 0
    with pytest.raises(NotAnalysable, match="12 dimensions is too large for 11 parameters"):
        values_of(spec, untrained(spec, 0), subspace=12)


def test_rescaling_relus_changes_sharpness_but_not_the_adaptive_one() -> None:
    spec = spec_of(dataset="iris", network={"kind": "mlp", "hidden": [8]})
    run = untrained(spec, 2)
    factors = {"layers.0.weight": 8, "layers.0.bias": 8, "layers.1.weight": 1 / 8, "layers.1.bias": 1}
    other = TrainedRun({name: array * np.float32(factors[name]) for name, array in run.tensors.items()})
    here, there = values_of(spec, run), values_of(spec, other)
    assert here["loss"] == pytest.approx(there["loss"], rel=1e-6)
    assert here["adaptive_sharpness"] == pytest.approx(there["adaptive_sharpness"], rel=1e-6)
    assert here["sharpness_0.001"] != pytest.approx(there["sharpness_0.001"], rel=0.1)


def test_a_network_that_says_the_same_everywhere_around_is_not_sharp() -> None:
    spec = spec_of(dataset="iris", network={"kind": "mlp", "hidden": [4]})
    network = networks.build(spec)
    row = torch.zeros(network.columns)
    views = [view for _, view in network.blocks(row[None])]
    views[0][0, -1] = -9  # no unit ever fires, and what follows multiplies by zero
    named = network.named(row)
    found = values_of(spec, TrainedRun(named), epsilons=(1e-9,))
    assert found["sharpness_1e-09"] == pytest.approx(0, abs=1e-6)
    assert found["adaptive_sharpness"] == 0
