"""Prechelt's criteria on curves worked out by hand, and on a run's own."""

from typing import Any

import numpy as np
import pytest
import torch

from models.spec.regularizers import EarlyStopping
from worker.training import early_stopping
from worker.training.boundary import Result
from worker.training.early_stopping import Stopping


def stopping(*rules: dict[str, Any]) -> Stopping:
    given = [EarlyStopping.model_validate({"kind": "early_stopping"} | rule) for rule in rules]
    return early_stopping.build(given, [torch.zeros(len(given), 1)])


def stops(rule: dict[str, Any], validation: list[float], training: list[float] | None = None) -> list[int]:
    """The evaluations at which the criterion says stop; 0 is the one before the first update."""
    judge = stopping(rule)
    said = []
    for t, (loss, train) in enumerate(zip(validation, training or validation, strict=True)):
        if judge.hear(np.array([loss], np.float32), np.array([train], np.float32), [torch.full((1, 1), float(t))])[0]:
            said.append(t)
    return said


GL: dict[str, Any] = {"criterion": "generalization_loss"}
PQ: dict[str, Any] = {"criterion": "progress_quotient"}
UP: dict[str, Any] = {"criterion": "successive_increases"}


def test_generalization_loss_is_the_rise_over_the_best_in_percent() -> None:
    # GL = 0, 0, 5, 0, 10, 25 %
    curve = [4.0, 2.0, 2.1, 1.0, 1.1, 1.25]
    assert stops(GL | {"threshold": 4}, curve) == [2, 4, 5]
    assert stops(GL | {"threshold": 9}, curve) == [4, 5]
    assert stops(GL | {"threshold": 20}, curve) == [5]
    assert stops(GL | {"threshold": 26}, curve) == []


def test_the_progress_quotient_weighs_the_rise_against_the_training_progress_of_the_strip() -> None:
    # Strips end at 2, 4 and 6. GL there: 0, 10, 25 %.
    validation = [4.0, 1.2, 1.0, 1.3, 1.1, 1.2, 1.25]
    # P there: 1000 (2.5 / 2 − 1) = 250; 1000 (1.9 / 1.8 − 1) = 55.6; 1000 (1.64 / 1.6 − 1) = 25.
    training = [9.0, 1.5, 1.0, 1.0, 0.9, 0.84, 0.8]
    # GL / P: 0, 0.18, 1.
    assert stops(PQ | {"strip": 2, "threshold": 0.17}, validation, training) == [4, 6]
    assert stops(PQ | {"strip": 2, "threshold": 0.19}, validation, training) == [6]
    assert stops(PQ | {"strip": 2, "threshold": 0.99}, validation, training) == [6]
    assert stops(PQ | {"strip": 2, "threshold": 1.01}, validation, training) == []


@pytest.mark.parametrize("level", [0.1, 0.3, 0.7])
def test_training_that_no_longer_moves_is_stopped_by_any_rise(level: float) -> None:
    assert stops(PQ | {"strip": 3, "threshold": 1e6}, [1, 1, 1, 1.01, 1, 1, 1], [level] * 7) == [3]


def test_successive_increases_counts_strips_that_end_higher_than_the_one_before() -> None:
    # The ends of the strips are 5, 6, 7, 6, 7, 8, 9; what lies between them does not count.
    validation = [5.0, 0, 6, 9, 7, 9, 6, 0, 7, 0, 8, 0, 9]
    assert stops(UP | {"strip": 2, "increases": 1}, validation) == [2, 4, 8, 10, 12]
    assert stops(UP | {"strip": 2, "increases": 2}, validation) == [4, 10, 12]
    assert stops(UP | {"strip": 2, "increases": 3}, validation) == [12]
    assert stops(UP | {"strip": 2, "increases": 4}, validation) == []


@pytest.mark.parametrize("criterion", [GL, PQ | {"strip": 2}, UP | {"strip": 2}, {"patience": 100}])
def test_losses_of_zero_and_those_that_are_not_finite_stop_nobody_and_warn_nobody(criterion: dict[str, Any]) -> None:
    stops(criterion, [0.0, 0.0, 1.0, float("nan"), float("inf"), 0.0])
    assert stops(criterion, [float("nan")] * 7) == []


@pytest.mark.parametrize(
    ("criterion", "field", "values"),
    [
        ({}, "patience", (1, 2, 3, 5)),
        (GL, "threshold", (0.05, 0.2, 5, 20)),
        (PQ | {"strip": 2}, "threshold", (0.05, 0.2, 5, 20)),
        (UP | {"strip": 2}, "increases", (1, 2, 1, 3)),
    ],
)
def test_each_run_has_its_own_thresholds_and_keeps_them_when_neighbours_leave(
    criterion: dict[str, Any], field: str, values: tuple[float, ...]
) -> None:
    generator = np.random.default_rng(0)
    curves = 1 + 0.3 * generator.random((41, 2, 4)).astype(np.float32)
    rules = [criterion | {field: value} for value in values]
    lone = [
        [bool(judge.hear(v[[k]], t[[k]], [torch.zeros(1, 1)])[0]) for v, t in curves]
        for k, judge in enumerate(stopping(rule) for rule in rules)
    ]
    judge, keep = stopping(*rules), [0, 1, 2, 3]
    for index, (validation, training) in enumerate(curves):
        if index in (11, 24):
            judge.select(torch.tensor([0, 2, 3][: len(keep) - 1]))
            keep = [keep[k] for k in [0, 2, 3][: len(keep) - 1]]
        said = judge.hear(validation[keep], training[keep], [torch.zeros(len(keep), 1)])
        assert said.tolist() == [lone[k][index] for k in keep]


BASE: dict[str, Any] = {
    "dataset": "breast_cancer",
    "network": {"kind": "mlp", "hidden": [32]},
    "optimizer": {"kind": "adam", "learning_rate": 0.03},
    "budget": {"steps": 400},
    "record": {"evaluate_every": 10},
}


@pytest.mark.parametrize("restore_best", [True, False])
@pytest.mark.parametrize(
    "rule",
    [
        GL | {"threshold": 10},
        PQ | {"strip": 3, "threshold": 0.05},
        UP | {"strip": 2, "increases": 2},
    ],
    ids=lambda rule: rule["criterion"],
)
def test_a_run_ends_where_its_own_curve_says_and_keeps_what_it_should(
    train_runs: Any, rule: dict[str, Any], restore_best: bool
) -> None:
    free = train_runs(BASE, [1])
    curves = [free.values(0, metric).astype(float).tolist() for metric in ("validation_loss", "clean_train_loss")]
    last = stops(rule, *curves)[0]
    rules = [{"kind": "early_stopping", "restore_best": restore_best} | rule]
    heard = train_runs(BASE | {"regularizers": rules}, [1])
    assert 0 < last < 40
    assert (heard.endings[0].result, heard.endings[0].step) == (Result.STOPPED_EARLY, 10 * last)
    kept = 10 * (int(np.argmin(curves[0][: last + 1])) if restore_best else last)
    expected = train_runs(BASE | {"budget": {"steps": kept}, "record": {"evaluate_every": kept}}, [1]).weights(0)
    assert all(np.array_equal(tensor, expected[name]) for name, tensor in heard.weights(0).items())
