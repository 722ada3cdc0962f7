"""What the loop tells, and when."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models.metrics import METRICS
from models.spec.job import JobSpec
from worker.training import cohort_data, observer
from worker.training.boundary import Leave, Result
from worker.training.evaluate import CLEAN_TRAIN_ROWS
from worker.training.loop import train
from worker.training.randomness import Member

SINE: dict[str, Any] = {
    "dataset": {"kind": "sine", "samples": 300},
    "network": {"kind": "mlp", "hidden": [16]},
    "optimizer": "adam",
    "batch_size": 32,
    "budget": {"steps": 50},
}
DIGITS: dict[str, Any] = {"dataset": "digits", "network": "linear", "optimizer": "adam", "budget": {"steps": 30}}
AT_ALL = {"parameter_norm", "validation_loss", "clean_train_loss", "generalization_gap", "train_seconds"}


def test_losses_and_evaluations_come_at_the_steps_that_were_asked_for(train_runs: Any) -> None:
    heard = train_runs(SINE | {"record": {"every_steps": 7, "evaluate_every": 20}}, [0, 1])
    for row in (0, 1):
        assert heard.steps(row, "train_loss") == [7, 14, 21, 28, 35, 42, 49]
        for metric in AT_ALL | {"validation_rmse", "validation_r2"}:
            assert heard.steps(row, metric) == [0, 20, 40, 50]
        for metric in ("gradient_norm", "update_ratio", "learning_rate"):
            assert heard.steps(row, metric) == [20, 40, 50]
        assert heard.endings[row].result is Result.COMPLETED
        assert heard.endings[row].step == 50
    assert set(heard.series[0]) <= set(METRICS)


def test_classes_are_measured_by_accuracy_and_values_by_rmse(train_runs: Any) -> None:
    classes, values = train_runs(DIGITS, [0]), train_runs(SINE, [0])
    accuracies = {"clean_train_accuracy", "validation_accuracy"}
    assert accuracies <= set(classes.series[0])
    assert not accuracies & set(values.series[0])
    assert set(classes.series[0]) | set(values.series[0]) == set(METRICS)


@pytest.mark.parametrize(
    "base", [SINE, DIGITS, SINE | {"dataset": "diabetes", "loss": "huber"}], ids=["sine", "digits", "diabetes"]
)
def test_the_metrics_follow_from_the_weights(train_runs: Any, base: dict[str, Any]) -> None:
    heard = train_runs(base, [4, 5])
    spec = JobSpec.model_validate(base)
    data = cohort_data.prepare([spec], [Member(5)], "cpu")
    weights = {name: torch.from_numpy(tensor) for name, tensor in heard.weights(1).items()}

    def predict(inputs: torch.Tensor) -> torch.Tensor:
        h = inputs[0, :, :-1]
        for index in range(len(getattr(spec.network, "hidden", ())) + 1):
            h = torch.relu(h) if index else h
            h = nn.functional.linear(h, weights[f"layers.{index}.weight"], weights[f"layers.{index}.bias"])
        return h

    expected: dict[str, float] = {}
    for split, rows in (("clean_train", data.training), ("validation", data.validation)):
        most = CLEAN_TRAIN_ROWS if split == "clean_train" else None
        outputs, targets = predict(rows.inputs)[:most], rows.targets[0, :most]
        if data.task == "classification":
            expected[f"{split}_loss"] = nn.functional.cross_entropy(outputs, targets.argmax(1)).item()
            expected[f"{split}_accuracy"] = (outputs.argmax(1) == targets.argmax(1)).double().mean().item()
        else:
            loss = nn.functional.huber_loss if spec.loss == "huber" else nn.functional.mse_loss
            expected[f"{split}_loss"] = loss(outputs, targets).item()
            if split == "validation":
                scale = float(data.target_scales[0].scale[0]) if data.target_scales else 1.0
                squared = (outputs - targets).square()
                expected["validation_rmse"] = squared.mean().sqrt().item() * scale
                expected["validation_r2"] = 1 - (squared.sum() / (targets - targets.mean()).square().sum()).item()
    expected["generalization_gap"] = expected["validation_loss"] - expected["clean_train_loss"]
    layers = [tensor for name, tensor in weights.items() if name.startswith("layers.")]
    expected["parameter_norm"] = torch.cat([t.flatten() for t in layers]).norm().item()
    for metric, value in expected.items():
        assert heard.values(1, metric)[-1] == pytest.approx(value, rel=1e-4, abs=1e-5), metric


def test_gradient_norm_and_update_ratio_are_those_of_the_last_update(train_runs: Any) -> None:
    rate = 0.125
    options = {"optimizer": {"kind": "sgd", "learning_rate": rate}, "record": {"evaluate_every": 1}}
    heard = train_runs(SINE | options, [0])
    update = heard.values(0, "update_ratio") * heard.values(0, "parameter_norm")[1:]
    np.testing.assert_allclose(update, rate * heard.values(0, "gradient_norm"), rtol=1e-3)


def test_the_learning_rate_is_that_of_the_last_update(train_runs: Any) -> None:
    specs = [
        SINE | {"optimizer": {"kind": "sgd", "learning_rate": rate}, "schedule": {"kind": "step", "every_steps": 20}}
        for rate in (0.1, 0.05)
    ]
    heard = train_runs([one | {"record": {"evaluate_every": 10}} for one in specs], [0, 1])
    for row, rate in enumerate((0.1, 0.05)):
        assert heard.steps(row, "learning_rate") == [10, 20, 30, 40, 50]
        expected = rate * np.array([1, 1, 0.1, 0.1, 0.01])
        np.testing.assert_allclose(heard.values(row, "learning_rate"), expected, rtol=1e-6)
        update = heard.values(row, "update_ratio") * heard.values(row, "parameter_norm")[1:]
        np.testing.assert_allclose(update, expected * heard.values(row, "gradient_norm"), rtol=1e-3)


def test_a_run_that_diverges_ends_at_its_first_non_finite_loss_whatever_the_window(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(rate: float) -> dict[str, Any]:
        return SINE | {
            "optimizer": {"kind": "sgd", "learning_rate": rate},
            "network": {"kind": "mlp", "hidden": [16, 16]},
            "record": {"every_steps": 5, "evaluate_every": 25},
        }

    specs = [one(0.01), one(1e3), one(0.02)]
    heard = train_runs(specs, [0, 1, 2])
    monkeypatch.setattr(observer, "REPORT_SECONDS", 0)
    again = train_runs(specs, [0, 1, 2])
    ending = heard.endings[1]
    assert ending.result is Result.DIVERGED
    assert ending.weights is None
    losses = heard.values(1, "train_loss")
    assert np.isfinite(losses[:-1]).all()
    assert not np.isfinite(losses[-1])
    assert heard.steps(1, "train_loss")[-1] == ending.step
    assert all(step < ending.step for step in heard.steps(1, "validation_loss"))
    assert [heard.endings[row].result for row in (0, 2)] == [Result.COMPLETED] * 2
    assert [again.bits(row) for row in range(3)] == [heard.bits(row) for row in range(3)]


def test_those_who_are_asked_to_leave_leave_without_weights(train_runs: Any) -> None:
    long = SINE | {"budget": {"steps": 1_000_000}, "record": {"every_steps": 1000, "evaluate_every": 10_000}}
    leaves = {0: Leave.CANCELLED, 1: Leave.LOST, 2: Leave.RELEASED}
    heard = train_runs(long, [0, 1, 2], lambda: leaves)
    assert {row: ending.result for row, ending in heard.endings.items()} == leaves
    assert all(ending.weights is None and ending.step < 1_000_000 for ending in heard.endings.values())


@pytest.mark.parametrize("base", [SINE, DIGITS, SINE | {"dataset": "diabetes"}], ids=["curve", "classes", "values"])
def test_snapshots_are_plain_json_at_the_steps_that_were_asked_for(train_runs: Any, base: dict[str, Any]) -> None:
    heard = train_runs(base | {"record": {"snapshots": [0, 13, 30]}}, [0, 1])
    for row in (0, 1):
        assert list(heard.snapshots[row]) == [0, 13, 30]
        assert json.loads(json.dumps(heard.snapshots[row][13], allow_nan=False)) == heard.snapshots[row][13]
    assert heard.snapshots[0][0] != heard.snapshots[0][30]
    content = heard.snapshots[0][30]
    if base is SINE:
        assert len(content["inputs"]) == len(content["outputs"]) == 200
        rows = np.array([content["rows"]["inputs"], content["rows"]["targets"]])
        assert rows.shape == (2, 180)
        assert np.abs(rows[1] - np.sin(2 * rows[0])).mean() < 0.2
    elif base is DIGITS:
        assert len(content["targets"]) == len(content["outputs"]) == 256
        assert np.allclose(np.sum(content["outputs"], axis=1), 1, atol=1e-4)
        right = np.argmax(content["outputs"], axis=1) == content["targets"]
        assert right.mean() > 0.3
    else:
        targets = np.array(content["targets"])
        assert np.array(content["outputs"]).shape == (*targets.shape, 1)
        assert 100 < targets.mean() < 200  # disease progression, not standard deviations


def test_weights_tell_the_units_they_were_trained_in(train_runs: Any) -> None:
    digits = train_runs(DIGITS, [0]).weights(0)
    assert {name: t.shape for name, t in digits.items()} == {
        "layers.0.weight": (10, 64),
        "layers.0.bias": (10,),
        "input_mean": (64,),
        "input_scale": (64,),
    }
    assert {t.dtype for t in digits.values()} == {np.dtype(np.float32)}
    assert {"target_mean", "target_scale"} <= set(train_runs(SINE | {"dataset": "diabetes"}, [0]).weights(0))
    assert not {"input_mean", "target_mean"} & set(train_runs(SINE, [0]).weights(0))


def test_contenders_with_one_seed_start_alike_whatever_their_optimizer(train_runs: Any) -> None:
    adam, sgd = (train_runs(SINE | {"optimizer": kind}, [9]) for kind in ("adam", "sgd"))
    for metric in ("validation_loss", "clean_train_loss", "parameter_norm"):
        assert adam.series[0][metric][0] == sgd.series[0][metric][0]
    assert adam.values(0, "validation_loss")[-1] != sgd.values(0, "validation_loss")[-1]


def test_training_learns(train_runs: Any) -> None:
    heard = train_runs(DIGITS | {"network": {"kind": "mlp", "hidden": [64]}, "budget": {"epochs": 20}}, [0])
    assert heard.values(0, "validation_accuracy")[-1] > 0.93


def test_the_threads_of_the_process_are_left_as_they_were(train_runs: Any) -> None:
    threads = torch.get_num_threads()
    train_runs(SINE, [0])
    assert torch.get_num_threads() == threads


def test_specs_that_cannot_share_a_program_are_refused() -> None:
    specs = [JobSpec.model_validate(SINE), JobSpec.model_validate(SINE | {"batch_size": 16})]
    with pytest.raises(ValueError, match="cohort key"):
        train(specs, [Member(0), Member(1)], None, dict)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one member a run"):
        train(specs[:1], [Member(0), Member(1)], None, dict)  # type: ignore[arg-type]
