"""Calibration by hand."""

import pytest
import torch

from models.spec.analyses import Calibration
from tests.worker.training.analyses.trained import members, spec_of, untrained
from worker.training.analyses import NotAnalysable, analyse
from worker.training.analyses.calibration import calibration


def test_a_reliability_curve_by_hand() -> None:
    said = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6], [0.5, 0.5]], dtype=torch.float64)
    targets = torch.eye(2, dtype=torch.float64)[[0, 1, 1, 1, 0]]
    values, curve = calibration(said.log(), targets, 4)
    assert curve["edges"] == [0, 0.25, 0.5, 0.75, 1]
    assert curve["count"] == [0, 1, 2, 2]
    assert curve["confidence"][0] is None
    assert curve["confidence"][1:] == pytest.approx([0.5, 0.65, 0.85])
    assert curve["accuracy"][0] is None
    assert curve["accuracy"][1:] == pytest.approx([1, 1, 0.5])
    assert values["expected_calibration_error"] == pytest.approx((0.5 + 2 * 0.35 + 2 * 0.35) / 5)
    assert values["maximum_calibration_error"] == pytest.approx(0.5)
    assert values["brier_score"] == pytest.approx(2 * (0.01 + 0.64 + 0.09 + 0.16 + 0.25) / 5)
    logs = torch.tensor([0.9, 0.2, 0.7, 0.6, 0.5]).log()
    assert values["negative_log_likelihood"] == pytest.approx(-float(logs.mean()))


def test_certainty_falls_into_the_last_bin() -> None:
    certain = torch.tensor([[0.0, -torch.inf]], dtype=torch.float64).clamp_min(-1e4)
    values, curve = calibration(certain, torch.tensor([[1.0, 0.0]], dtype=torch.float64), 3)
    assert curve["count"] == [0, 0, 1]
    assert values["expected_calibration_error"] == 0


def test_the_likelihood_is_that_of_the_loss_and_the_rows_are_those_that_validate() -> None:
    spec = spec_of(dataset="iris", network="mlp")
    (found,) = analyse(Calibration(), [spec], members([0]), [untrained(spec, 0)])
    assert found.details["split"] == "validation"
    assert found.details["rows"] == sum(found.details["count"]) == 30
    assert found.values["negative_log_likelihood"] > 0


def test_values_have_no_probabilities() -> None:
    spec = spec_of(dataset="sine")
    with pytest.raises(NotAnalysable, match="calibration is of class probabilities"):
        analyse(Calibration(), [spec], members([0]), [untrained(spec, 0)])
