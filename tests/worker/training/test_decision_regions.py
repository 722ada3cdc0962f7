"""Snapshots of networks that tell classes apart by two numbers: which class they see where."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from models.spec.job import JobSpec
from worker.training import cohort_data
from worker.training.evaluate import PLANE_MARGIN, PLANE_POINTS, Evaluator, _scale_of
from worker.training.randomness import Member
from worker.training.transformations import NumberInput, Scale, TableTransformation

MOONS: dict[str, Any] = {
    "dataset": {"kind": "moons", "samples": 400},
    "network": {"kind": "mlp", "hidden": [16]},
    "optimizer": {"kind": "adam", "learning_rate": 0.02},
    "budget": {"steps": 300},
    "record": {"snapshots": [0, 300]},
}
THREE_BLOBS = MOONS | {"dataset": {"kind": "blobs", "features": 2, "classes": 3, "spread": 0.1}}


@pytest.mark.parametrize("base", [MOONS, THREE_BLOBS], ids=["moons", "blobs"])
def test_the_plane_is_the_weights_own_over_the_rows_that_were_learned_from(
    train_runs: Any, base: dict[str, Any]
) -> None:
    heard = train_runs(base, [4, 5])
    content = heard.snapshots[1][300]
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    data = cohort_data.prepare([JobSpec.model_validate(base)], [Member(5)], "cpu")
    learned = data.training.inputs[0, :, :2].numpy()
    assert np.allclose(content["rows"]["inputs"], learned[:300], atol=1e-5)
    assert content["rows"]["targets"] == data.training.targets[0, :300].argmax(1).tolist()

    for column, name in enumerate("xy"):
        ticks = np.array(content["grid"][name])
        low, high = learned[:, column].min(), learned[:, column].max()
        margin = PLANE_MARGIN * (high - low)
        assert np.allclose(ticks, np.linspace(low - margin, high + margin, PLANE_POINTS), atol=1e-4)

    weights = {name: torch.from_numpy(tensor) for name, tensor in heard.weights(1).items()}
    x, y = np.meshgrid(content["grid"]["x"], content["grid"]["y"])
    cells = torch.from_numpy(np.stack([x, y], 2).astype(np.float32))
    hidden = torch.relu(cells @ weights["layers.0.weight"].T + weights["layers.0.bias"])
    sure, classes = (hidden @ weights["layers.1.weight"].T + weights["layers.1.bias"]).softmax(2).max(2)
    assert (np.array(content["classes"]) == classes.numpy()).mean() > 0.999
    assert np.abs(np.array(content["confidence"]) - sure.numpy()).max() < 0.006


def test_regions_follow_the_classes_once_they_are_learned(train_runs: Any) -> None:
    heard = train_runs(MOONS, [0, 1])

    def agreement(content: dict[str, Any]) -> float:
        x, y = (np.array(content["grid"][name]) for name in "xy")
        points = np.array(content["rows"]["inputs"])
        across, up = (np.abs(ticks[None] - points[:, [k]]).argmin(1) for k, ticks in enumerate((x, y)))
        said = np.array(content["classes"])[up, across]
        return float((said == content["rows"]["targets"]).mean())

    for row in (0, 1):
        assert agreement(heard.snapshots[row][300]) > 0.95
    assert heard.snapshots[0][300]["classes"] != heard.snapshots[1][300]["classes"]


def test_a_run_s_neighbours_change_nothing_about_its_plane(train_runs: Any) -> None:
    alone, among = train_runs(MOONS, [7]), train_runs(MOONS, [6, 7, 8])
    assert alone.snapshots[0] == among.snapshots[1]


def test_a_network_that_is_lost_has_no_confidence(monkeypatch: pytest.MonkeyPatch, train_runs: Any) -> None:
    forward = Evaluator.predict
    monkeypatch.setattr(Evaluator, "predict", lambda self, inputs: forward(self, inputs) * torch.nan)
    content = train_runs(MOONS | {"budget": {"steps": 1}, "record": {"snapshots": [0]}}, [0]).snapshots[0][0]
    assert {cell for line in content["confidence"] for cell in line} == {None}
    json.dumps(content, allow_nan=False)


def test_units_are_the_data_s_own() -> None:
    scale = Scale(np.array([1, 2], np.float32), np.array([3, 4], np.float32))
    assert _scale_of(scale) is scale
    first, second = (NumberInput(name, "number", 0.0, mean, 2.0) for name, mean in (("a", 10.0), ("b", 20.0)))
    of_table = _scale_of(TableTransformation([first, second], [0, 1], [None, None]))
    assert of_table is not None
    assert of_table.undo(np.array([[1.0, -1.0]])).tolist() == [[12.0, 18.0]]
    assert _scale_of(TableTransformation([first], [0], [None])) is None
