"""The noise of gradients whose covariance is known."""

from math import inf

import numpy as np
import pytest

from models.spec.analyses import GradientNoiseScale
from tests.worker.training.analyses.trained import least_squares, members, spec_of, subjects_of, untrained
from worker.training.analyses import NotAnalysable, analyse


def test_signal_and_noise_are_those_of_the_gradients_of_all_rows() -> None:
    spec = spec_of(dataset="diabetes", network="linear")
    runs = [untrained(spec, seed) for seed in range(2)]
    data = subjects_of(spec, runs).data.training
    analysis = GradientNoiseScale(rows=200, small=4, large=64, pairs=1_000)
    for run, findings in enumerate(analyse(analysis, [spec] * 2, members(range(2)), runs)):
        inputs, targets = data.inputs[run, :200].double(), data.targets[run, :200].double()
        theta = subjects_of(spec, runs).weights.theta[run][:, None]
        gradients = 2 * (inputs @ theta - targets) * inputs
        covariance = float(gradients.var(0).sum())
        # Less what the mean of 200 rows has of the noise.
        signal = float(gradients.mean(0).square().sum()) - covariance / 200
        for name, expected in (("trace_of_covariance", covariance), ("gradient_squared", signal)):
            pairs = np.array(findings.details[name])
            assert len(pairs) == 1_000
            assert findings.values[name] == pytest.approx(pairs.mean())
            assert abs(pairs.mean() - expected) < 4 * pairs.std() / 1_000**0.5
        assert findings.values["noise_scale"] == pytest.approx(
            findings.values["trace_of_covariance"] / findings.values["gradient_squared"]
        )


def test_in_a_minimum_there_is_nothing_but_noise() -> None:
    spec = spec_of(dataset="diabetes", network="linear")
    analysis = GradientNoiseScale(rows=65_536, large=16_384)
    (found,) = analyse(analysis, [spec], members([0]), [least_squares(spec)])
    assert found.details["large"] == found.details["rows"] < 442
    assert found.values["gradient_squared"] < 0
    assert found.values["noise_scale"] == inf


def test_fewer_rows_than_a_small_batch_are_refused() -> None:
    spec = spec_of(dataset="diabetes", network="linear")
    with pytest.raises(NotAnalysable, match="the 30 rows are no more than a small batch of 30"):
        analyse(GradientNoiseScale(rows=30, small=30), [spec], members([0]), [untrained(spec, 0)])
