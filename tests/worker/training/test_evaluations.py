"""Members in training: no company is visible, and nobody sees the sealed rows."""

from typing import Any

import numpy as np
import pytest

from models import boosting
from models.spec.job import JobSpec
from worker.training import datasets, splits
from worker.training.datasets import Rows
from worker.training.randomness import Member
from worker.training.splits import Round

BASE: dict[str, Any] = {
    "dataset": "breast_cancer",
    "network": {"kind": "mlp", "hidden": [7], "activation": "tanh"},
    "optimizer": {"kind": "momentum", "learning_rate": 0.05},
    "batch_size": 16,
    "budget": {"steps": 40},
    "record": {"every_steps": 1, "evaluate_every": 10},
}
KINDS: list[dict[str, Any]] = [
    {"kind": "holdout"},
    {"kind": "k_fold", "folds": 3, "repeats": 2},
    {"kind": "bootstrap", "replicates": 4},
    {"kind": "bagging", "ensemble": 4},
    {"kind": "boosting", "rounds": 3},
]
STOPPING = {"kind": "early_stopping", "patience": 1}


def members_of(spec: dict[str, Any]) -> list[Member]:
    return [Member(*run) for run in JobSpec.model_validate(spec).runs]


@pytest.mark.parametrize("dataset", ["breast_cancer", "diabetes"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind["kind"]))
def test_no_member_sees_its_company(train_runs: Any, kind: dict[str, Any], dataset: str) -> None:
    spec = BASE | {"evaluation": kind, "seeds": 2, "dataset": dataset, "regularizers": ["dropout", STOPPING]}
    members = members_of(spec)
    heard = train_runs(spec, members)
    for row, member in list(enumerate(members))[::3]:
        assert train_runs(spec, [member]).bits(0) == heard.bits(row)


def test_a_holdout_is_its_first_member(train_runs: Any) -> None:
    assert train_runs(BASE, [Member(5)]).bits(0) == train_runs(BASE, [5]).bits(0)
    assert Member(5).key == 5
    assert len({Member(seed, number).key for seed in range(4) for number in range(4)}) == 16


@pytest.mark.parametrize("dataset", ["digits", "diabetes", "sine"])
def test_predictions_are_those_of_the_weights_that_are_kept(train_runs: Any, dataset: str) -> None:
    spec = BASE | {"dataset": dataset, "evaluation": {"kind": "bagging", "ensemble": 2}, "regularizers": [STOPPING]}
    heard = train_runs(spec, members_of(spec))
    rows = datasets.load(JobSpec.model_validate(spec).dataset)
    for row in range(2):
        weights, said = heard.weights(row), heard.endings[row].predictions
        assert said is not None
        x = rows.inputs[said["rows"]]
        if "input_mean" in weights:
            x = (x - weights["input_mean"]) / weights["input_scale"]
        hidden = np.tanh(x @ weights["layers.0.weight"].T + weights["layers.0.bias"])
        outputs = hidden @ weights["layers.1.weight"].T + weights["layers.1.bias"]
        if "target_mean" in weights:
            outputs = outputs * weights["target_scale"] + weights["target_mean"]
        if dataset == "digits":
            outputs = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        np.testing.assert_allclose(said["outputs"], outputs, rtol=2e-4, atol=2e-5)
        assert said["drawn"].sum() == said["drawn"][said["validates"] == 0].sum() > 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind["kind"]))
@pytest.mark.parametrize("dataset", ["breast_cancer", "diabetes"])
def test_whatever_the_sealed_rows_hold_no_bit_of_a_run_changes(
    train_runs: Any, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any], dataset: str
) -> None:
    regularizers = ["dropout", "batch_norm", {"kind": "label_noise", "share": 0.1}, STOPPING]
    spec = BASE | {"dataset": dataset, "evaluation": kind, "regularizers": regularizers}
    members = members_of(spec)[:3]
    usual = train_runs(spec, members)
    job = JobSpec.model_validate(spec)
    rows = datasets.load(job.dataset)
    sealed = splits.test_rows(len(rows.inputs), job.evaluation)
    assert len(sealed) > 50
    inputs, targets = rows.inputs.copy(), rows.targets.copy()
    inputs[sealed] = 1e6 * np.random.default_rng(0).standard_normal(inputs[sealed].shape)
    targets[sealed] = targets[sealed][:, ::-1] if dataset == "breast_cancer" else 1e6
    changed = Rows(inputs, targets, rows.standardizes)
    monkeypatch.setattr("worker.training.cohort_data.open_rows", lambda *_: changed)
    other = train_runs(spec, members)
    for row in range(len(members)):
        assert other.bits(row) == usual.bits(row)
        said = usual.endings[row].predictions
        assert said is None or not set(said["rows"].tolist()) & set(sealed.tolist())


def test_a_later_round_learns_what_is_left_in_its_own_units(train_runs: Any) -> None:
    spec = BASE | {"dataset": "diabetes", "evaluation": {"kind": "boosting", "rounds": 2}, "budget": {"steps": 300}}
    first = train_runs(spec, [Member(0, 0)]).endings[0].predictions
    assert first is not None
    left = first["targets"][:, None] - boosting.additive(first["outputs"][None].astype(np.float64), 1.0)[-1]
    heard = train_runs(spec, [Member(0, 1)], rounds=[Round(first["rows"], residuals=left)])
    trains = first["validates"] == 0
    assert heard.weights(0)["target_scale"][0] == pytest.approx(left[trains].std(), rel=1e-5)
    second = heard.endings[0].predictions
    assert second is not None
    assert np.array_equal(second["targets"], first["targets"])
    assert np.mean((left - second["outputs"])[trains] ** 2) < np.mean(left[trains] ** 2)
