from typing import Any

import numpy as np
import pytest

from models.spec.component import choices
from models.spec.datasets import Dataset, Diabetes, Sine
from models.spec.evaluation import Holdout
from models.spec.job import JobSpec
from worker.training import datasets, splits


@pytest.mark.parametrize("component", list(choices(Dataset)), ids=lambda d: d.__name__)
def test_a_data_set_has_the_shape_that_its_spec_promises(component: Any) -> None:
    dataset = component()
    rows = datasets.load(dataset)
    assert rows.inputs.shape == (dataset.shape.rows, dataset.shape.features)
    assert rows.targets.shape == (dataset.shape.rows, dataset.shape.outputs)
    if dataset.shape.task == "classification":
        assert (rows.targets.sum(axis=1) == 1).all()
        assert (rows.targets.max(axis=0) == 1).all()
    assert datasets.load(dataset) is rows


def test_sine_is_a_sine_with_its_noise() -> None:
    rows = datasets.load(Sine(samples=5_000, noise=0.3, frequency=2))
    noise = rows.targets[:, 0] - np.sin(2 * rows.inputs[:, 0])
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert (rows.inputs[0, 0], rows.inputs[-1, 0]) == (-3, 3)


def test_the_splits_are_disjoint_and_whole_and_only_the_test_rows_are_common_to_all_seeds() -> None:
    evaluation = Holdout(validation=0.25, test=0.1)
    sealed = splits.test_rows(200, evaluation)
    parts = [splits.split(200, evaluation, seed) for seed in range(5)]
    for part in parts:
        assert (len(part.training), len(part.validation), len(sealed)) == evaluation.sizes(200)
        assert sorted([*part.training, *part.validation, *sealed]) == list(range(200))
    assert len({tuple(sorted(part.validation)) for part in parts}) == 5


def test_each_run_is_standardized_over_its_own_training_rows() -> None:
    spec = JobSpec.model_validate({"dataset": "diabetes", "optimizer": "sgd"})
    data = datasets.prepare([spec, spec], [0, 1], "cpu")
    training = data.training.inputs[..., :-1].double()
    assert training.mean(1).abs().max() < 1e-5
    assert (training.std(1, correction=0) - 1).abs().max() < 1e-5
    assert data.training.targets.mean(1).abs().max() < 1e-5
    assert data.input_scales is not None
    assert not np.array_equal(data.input_scales[0].mean, data.input_scales[1].mean)
    part = splits.split(442, spec.evaluation, 1)
    original = data.input_scales[1].undo(data.validation.inputs[1, :, :-1].numpy())
    np.testing.assert_allclose(original, datasets.load(Diabetes()).inputs[part.validation], rtol=1e-4, atol=1e-4)


def test_a_constant_column_and_raw_data_keep_their_units() -> None:
    digits = JobSpec.model_validate({"dataset": "digits", "optimizer": "sgd"})
    raw = JobSpec.model_validate({"dataset": {"kind": "digits", "standardize": False}, "optimizer": "sgd"})
    assert datasets.prepare([digits], [0], "cpu").training.inputs.isfinite().all()
    data = datasets.prepare([raw], [0], "cpu")
    assert data.input_scales is None
    assert data.training.inputs.max() == 16
