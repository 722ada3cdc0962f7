from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.spec.component import choices
from models.spec.datasets import BuiltIn, Diabetes, Iris, Sine, Wine
from models.spec.evaluation import Holdout
from models.spec.job import JobSpec
from worker.training import cohort_data, datasets, splits
from worker.training.randomness import Member


@pytest.mark.parametrize("component", list(choices(BuiltIn)), ids=lambda d: d.__name__)
def test_a_data_set_has_the_shape_that_its_spec_promises(component: Any) -> None:
    dataset = component()
    rows = datasets.load(dataset)
    assert rows.inputs.shape == (dataset.shape.rows, dataset.shape.features)
    assert rows.targets.shape == (dataset.shape.rows, dataset.shape.outputs)
    assert rows.inputs.dtype == rows.targets.dtype == np.float64
    assert np.isfinite(rows.inputs).all()
    assert np.isfinite(rows.targets).all()
    if dataset.shape.task == "classification":
        assert (rows.targets.sum(axis=1) == 1).all()
        assert (rows.targets.max(axis=0) == 1).all()
    assert datasets.load(dataset) is rows


@pytest.mark.parametrize("component", list(choices(BuiltIn)), ids=lambda d: d.__name__)
def test_a_data_set_has_the_same_rows_whenever_it_is_loaded(component: Any) -> None:
    here = datasets.load(component())
    datasets.load.cache_clear()
    again = datasets.load(component())
    assert again is not here
    assert np.array_equal(again.inputs, here.inputs)
    assert np.array_equal(again.targets, here.targets)


@pytest.mark.parametrize("component", list(choices(BuiltIn)), ids=lambda d: d.__name__)
def test_a_network_learns_from_every_data_set(train_runs: Any, component: Any) -> None:
    heard = train_runs(
        {
            "dataset": component().kind,
            "network": {"kind": "mlp", "hidden": [32]},
            "optimizer": {"kind": "adam", "learning_rate": 0.01},
            "batch_size": 32,
            "budget": {"steps": 200},
            "record": {"every_steps": 1, "evaluate_every": 100},
        },
        [0],
    )
    losses = heard.values(0, "train_loss")
    assert losses[-20:].mean() < 0.9 * losses[:20].mean()
    validation = heard.values(0, "validation_loss")
    assert validation[-1] < validation[0]


@pytest.mark.parametrize(
    ("dataset", "first", "classes"),
    [
        (Iris(), [5.1, 3.5, 1.4, 0.2], [50, 50, 50]),
        (Wine(), [14.23, 1.71, 2.43, 15.6, 127, 2.8, 3.06, 0.28, 2.29, 5.64, 1.04, 3.92, 1065], [59, 71, 48]),
    ],
    ids=["iris", "wine"],
)
def test_iris_and_wine_are_those_of_the_textbooks(dataset: Any, first: list[float], classes: list[int]) -> None:
    rows = datasets.load(dataset)
    assert rows.inputs[0].tolist() == first
    assert rows.targets.argmax(axis=1).tolist() == np.repeat(range(3), classes).tolist()


def test_measured_columns_are_standardized_and_generated_ones_are_not() -> None:
    for kind in ("iris", "wine"):
        spec = JobSpec.model_validate({"dataset": kind, "optimizer": "sgd"})
        assert cohort_data.prepare([spec], [Member(0)], "cpu").transformations is not None
    for kind in ("polynomial", "moons", "circles", "spirals", "blobs", "stripes", "mnist1d"):
        spec = JobSpec.model_validate({"dataset": kind, "optimizer": "sgd"})
        data = cohort_data.prepare([spec], [Member(0)], "cpu")
        assert data.transformations is None
        assert data.target_scales is None
        with pytest.raises(ValidationError, match="standardize"):
            JobSpec.model_validate({"dataset": {"kind": kind, "standardize": True}, "optimizer": "sgd"})


def test_sine_is_a_sine_with_its_noise() -> None:
    rows = datasets.load(Sine(samples=5_000, noise=0.3, frequency=2))
    noise = rows.targets[:, 0] - np.sin(2 * rows.inputs[:, 0])
    assert noise.std() == pytest.approx(0.3, rel=0.05)
    assert (rows.inputs[0, 0], rows.inputs[-1, 0]) == (-3, 3)


def test_the_splits_are_disjoint_and_whole_and_only_the_test_rows_are_common_to_all_seeds() -> None:
    evaluation = Holdout(validation=0.25, test=0.1)
    sealed = splits.test_rows(200, evaluation)
    parts = [splits.split(200, evaluation, Member(seed)) for seed in range(5)]
    for part in parts:
        assert (len(part.training), len(part.validation), len(sealed)) == evaluation.sizes(200)
        assert sorted([*part.training, *part.validation, *sealed]) == list(range(200))
    assert len({tuple(sorted(part.validation)) for part in parts}) == 5


def test_each_run_is_standardized_over_its_own_training_rows() -> None:
    spec = JobSpec.model_validate({"dataset": "diabetes", "optimizer": "sgd"})
    data = cohort_data.prepare([spec, spec], [Member(0), Member(1)], "cpu")
    training = data.training.inputs[..., :-1].double()
    assert training.mean(1).abs().max() < 1e-5
    assert (training.std(1, correction=0) - 1).abs().max() < 1e-5
    assert data.training.targets.mean(1).abs().max() < 1e-5
    assert data.transformations is not None
    means = [made.tensors("input")["input_mean"] for made in data.transformations]
    assert not np.array_equal(means[0], means[1])
    part = splits.split(442, spec.evaluation, Member(1))
    original = data.transformations[1].undo(data.validation.inputs[1, :, :-1].numpy())
    np.testing.assert_allclose(original, datasets.load(Diabetes()).inputs[part.validation], rtol=1e-4, atol=1e-4)


def test_a_constant_column_and_raw_data_keep_their_units() -> None:
    digits = JobSpec.model_validate({"dataset": "digits", "optimizer": "sgd"})
    raw = JobSpec.model_validate({"dataset": {"kind": "digits", "standardize": False}, "optimizer": "sgd"})
    assert cohort_data.prepare([digits], [Member(0)], "cpu").training.inputs.isfinite().all()
    data = cohort_data.prepare([raw], [Member(0)], "cpu")
    assert data.transformations is None
    assert data.training.inputs.max() == 16
