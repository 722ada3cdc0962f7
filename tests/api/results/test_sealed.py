"""Ensembles on sealed rows, by hand."""

import numpy as np
import pytest

from api.results.predictions import Floats, Predictions
from api.results.sealed import ensemble_score
from models.spec.evaluation import Bagging, Boosting

CLASSES = np.array([0, 1, 1, 0])


def said(outputs: Floats, targets: Floats | None = None) -> Predictions:
    """A member that saw four rows, all of which train."""
    known = CLASSES if targets is None else targets
    return Predictions("run", 0, outputs, known, np.ones(4), np.zeros(4, bool), None)


def sure(*classes: int) -> Floats:
    """Probabilities 0.9 for these classes of two."""
    return np.where(np.eye(2)[list(classes)] == 1, 0.9, 0.1)


def test_a_bagged_ensemble_goes_by_the_mean_of_its_members() -> None:
    weak = np.array([[0.4, 0.6]])
    outputs = np.stack([np.array([[0.9, 0.1]]), weak, weak])
    assert ensemble_score(Bagging(ensemble=3), "accuracy", [], outputs, np.array([0])) == 1.0, "though outvoted"
    values = np.array([[[1.0]], [[2.0]], [[6.0]]])
    assert ensemble_score(Bagging(ensemble=3), "mean_squared_error", [], values, np.array([5.0])) == 2.0


def test_a_boosted_vote_is_weighed_by_the_training_rows() -> None:
    # The first member got one of four rows wrong, the others two, which is chance and says nothing.
    members = [said(sure(0, 1, 1, 1)), said(sure(0, 1, 0, 1)), said(sure(1, 0, 1, 0))]
    outputs = np.stack([sure(0), sure(1), sure(1)])
    assert ensemble_score(Boosting(rounds=3), "accuracy", members, outputs, np.array([0])) == 1.0


def test_a_boosted_sum_is_the_sum_of_its_rounds() -> None:
    outputs = np.array([[[1.0], [0.0]], [[2.0], [4.0]]])
    boosting = Boosting(rounds=2, shrinkage=0.5)
    score = ensemble_score(boosting, "mean_squared_error", [], outputs, np.array([1.5, 1.0]))
    assert score == pytest.approx(np.sqrt((0 + 1) / 2))
