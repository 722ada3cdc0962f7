"""The loss around the weights."""

from typing import Any

import numpy as np
import pytest
import torch

from models.spec.analyses import LossLandscape
from tests.worker.training.analyses.trained import members, spec_of, subjects_of, untrained
from worker.training.analyses import TrainedRun, analyse
from worker.training.analyses.landscape import filter_normalized
from worker.training.blocks import AffineBlock

NETWORKS: list[dict[str, Any]] = [
    {"dataset": "sine", "network": {"kind": "mlp", "hidden": [8, 5]}},
    {
        "dataset": "mnist1d",
        "network": {"kind": "cnn1d", "channels": [3], "kernels": [5]},
        "regularizers": ["batch_norm"],
    },
    {"dataset": "mnist1d", "network": {"kind": "gru", "hidden": 2}},
]


@pytest.mark.parametrize("fields", NETWORKS, ids=str)
@pytest.mark.parametrize("dimensions", [1, 2])
def test_the_centre_of_the_landscape_is_the_loss(fields: dict[str, Any], dimensions: int) -> None:
    spec = spec_of(**fields)
    runs = [untrained(spec, seed) for seed in range(2)]
    analysis = LossLandscape(rows=30, points=5, dimensions=dimensions, radius=0.5)
    objective = subjects_of(spec, runs).objective("training", 30)
    for run, found in enumerate(analyse(analysis, [spec] * 2, members(range(2)), runs)):
        losses = np.array(found.details["losses"])
        assert losses.shape == (5,) * dimensions
        assert found.details["axis"] == [-0.5, -0.25, 0, 0.25, 0.5]
        assert losses[(2,) * dimensions] == pytest.approx(float(objective.losses[run]))
        assert found.values["loss"] == pytest.approx(float(objective.losses[run]))
        assert found.values["mean_rise"] == pytest.approx(losses.mean() - found.values["loss"])


def test_the_second_list_runs_along_the_second_direction() -> None:
    spec = spec_of(**NETWORKS[0])
    run = untrained(spec, 0)
    line, square = (
        analyse(LossLandscape(rows=30, points=3, dimensions=d), [spec], members([0]), [run])[0].details["losses"]
        for d in (1, 2)
    )
    assert [row[1] for row in square] == pytest.approx(line)


@pytest.mark.parametrize("fields", NETWORKS, ids=str)
def test_each_filter_of_a_direction_has_its_own_norm_and_nothing_else_moves(fields: dict[str, Any]) -> None:
    spec = spec_of(**fields)
    subjects = subjects_of(spec, [untrained(spec, seed) for seed in range(2)])
    theta = subjects.weights.theta
    drawn = torch.randn_like(theta)
    directions = filter_normalized(subjects.network, theta, drawn)
    blocks = zip(subjects.network.blocks(directions), subjects.network.blocks(theta), strict=True)
    for (block, moved), (_, still) in blocks:
        if not isinstance(block, AffineBlock):
            assert not moved.any()
            continue
        torch.testing.assert_close(moved[:, : block.inputs].norm(dim=1), still[:, : block.inputs].norm(dim=1))
        assert not moved[:, block.inputs :].any()


def test_runs_of_one_seed_are_looked_at_from_the_same_side() -> None:
    spec = spec_of(**NETWORKS[0])
    run, other = untrained(spec, 0), untrained(spec, 1)

    def losses(runs: list[TrainedRun], seeds: list[int]) -> list[Any]:
        found = analyse(LossLandscape(rows=30, points=5), [spec] * len(runs), members(seeds), runs)
        return [np.array(findings.details["losses"]) for findings in found]

    here, there, elsewhere = losses([run, run, run], [4, 4, 5])
    np.testing.assert_allclose(here, there)
    assert abs(here - elsewhere).max() > 0.1
    np.testing.assert_allclose(losses([other, run], [4, 4])[1], here)
