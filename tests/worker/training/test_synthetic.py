from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.datasets import make_circles, make_moons

from models.spec.datasets import Blobs, Circles, Moons, Polynomial, Sine, Spirals, Stripes
from worker.training import datasets, synthetic

CLASSES: list[Callable[..., Any]] = [Moons, Circles, Spirals]


def of_class(dataset: Any, number: int) -> NDArray[np.float64]:
    rows = datasets.load(dataset)
    points: NDArray[np.float64] = rows.inputs[rows.targets[:, number] == 1]
    return points


@pytest.mark.parametrize("samples", [10, 500])
def test_moons_without_noise_are_those_of_scikit_learn(samples: int) -> None:
    points, classes = make_moons(samples, shuffle=False)
    for number in (0, 1):
        ours = of_class(Moons(samples=samples, noise=0), number)
        np.testing.assert_allclose(ours, points[classes == number], atol=1e-12)


@pytest.mark.parametrize(("samples", "inner_radius"), [(10, 0.8), (500, 0.25)])
def test_circles_without_noise_are_those_of_scikit_learn(samples: int, inner_radius: float) -> None:
    points, classes = make_circles(samples, shuffle=False, factor=inner_radius)
    for number in (0, 1):
        ours = of_class(Circles(samples=samples, noise=0, inner_radius=inner_radius), number)
        np.testing.assert_allclose(ours, points[classes == number], atol=1e-12)


def test_two_spirals_are_those_of_lang_and_witbrock() -> None:
    i = np.arange(97)
    angle, radius = i * np.pi / 16, 6.5 * (104 - i) / 104
    published = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)[::-1]  # from the outside inwards
    dataset = Spirals(samples=194, noise=0, arms=2, turns=3)
    for number, sign in ((0, 1), (1, -1)):
        x, y = 6.5 * of_class(dataset, number).T
        np.testing.assert_allclose(np.stack([-y, x], axis=1), sign * published, atol=1e-12)


def test_arms_of_a_spiral_are_turned_copies_of_one() -> None:
    dataset = Spirals(samples=250, noise=0, arms=5, turns=1.5)
    first = of_class(dataset, 0) @ [1, 1j]
    for number in range(5):
        np.testing.assert_allclose(of_class(dataset, number) @ [1, 1j], first * np.exp(2j * np.pi * number / 5))
    np.testing.assert_allclose(first[[0, -1]], [1 / 13, -1], atol=1e-12)


@pytest.mark.parametrize(
    ("coefficients", "x", "y"),
    [
        ([0, -1, 0, 2], [-1, -0.5, 0, 0.5, 1], [-1, 0.25, 0, -0.25, 1]),
        ([3], [-1, -0.5, 0, 0.5, 1], [3, 3, 3, 3, 3]),
        ([1, -2, 4], [-1, -0.5, 0, 0.5, 1], [7, 3, 1, 1, 3]),
    ],
    ids=str,
)
def test_a_polynomial_has_its_coefficients_from_the_constant_upwards(
    coefficients: list[float], x: list[float], y: list[float]
) -> None:
    dataset = Polynomial.model_validate({"samples": 401, "noise": 0, "coefficients": coefficients})
    rows = datasets.load(dataset)
    np.testing.assert_allclose(rows.inputs[::100, 0], x, atol=1e-12)
    np.testing.assert_allclose(rows.targets[::100, 0], y, atol=1e-12)
    np.testing.assert_allclose(synthetic.truth(dataset, np.array(x)), y, atol=1e-12)


@pytest.mark.parametrize(
    ("one", "strong"),
    [
        (Sine(samples=5_000, noise=0.1), Sine(samples=5_000, noise=0.3)),
        (Polynomial(samples=5_000, noise=0.1), Polynomial(samples=5_000, noise=0.3)),
    ],
    ids=["sine", "polynomial"],
)
def test_the_true_function_leaves_the_noise_and_nothing_else(one: Any, strong: Any) -> None:
    residuals = [
        (rows.targets - synthetic.truth(dataset, rows.inputs))[:, 0]
        for dataset, rows in ((d, datasets.load(d)) for d in (one, strong))
    ]
    assert np.square(residuals[0]).mean() == pytest.approx(0.1**2, rel=0.05)
    assert abs(np.corrcoef(residuals[0][1:], residuals[0][:-1])[0, 1]) < 0.05
    np.testing.assert_allclose(residuals[1], 3 * residuals[0], atol=1e-12)


@pytest.mark.parametrize("component", CLASSES, ids=["moons", "circles", "spirals"])
def test_noise_moves_points_about_their_places_in_directions_that_its_strength_does_not_change(component: Any) -> None:
    still, some, more = (datasets.load(component(samples=5_000, noise=noise)) for noise in (0, 0.1, 0.2))
    moved = some.inputs - still.inputs
    np.testing.assert_allclose(more.inputs - still.inputs, 2 * moved, atol=1e-12)
    np.testing.assert_allclose(moved.std(axis=0), 0.1, rtol=0.05)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=0.01)
    assert abs(np.corrcoef(moved[:, 0], moved[:, 1])[0, 1]) < 0.05


def test_a_blob_is_a_round_cloud_about_its_center() -> None:
    sizes = {"samples": 20_000, "classes": 4, "features": 3}
    for number in range(4):
        centers = of_class(Blobs(**sizes, spread=0), number)
        cloud = of_class(Blobs(**sizes, spread=0.5), number)
        assert (centers == centers[0]).all()
        assert (np.abs(centers[0]) <= 1).all()
        np.testing.assert_allclose(cloud.mean(axis=0), centers[0], atol=0.03)
        np.testing.assert_allclose(np.cov(cloud.T), 0.25 * np.eye(3), atol=0.02)


def test_blobs_keep_their_centers_when_rows_are_added() -> None:
    few, many = (of_class(Blobs(samples=samples, spread=0), 2)[0] for samples in (20, 2_000))
    assert np.array_equal(few, many)


@pytest.mark.parametrize(
    ("dataset", "sizes"),
    [
        (Moons(samples=11), [6, 5]),
        (Circles(samples=1_000), [500, 500]),
        (Spirals(samples=23, arms=3), [8, 8, 7]),
        (Spirals(samples=20, arms=10), [2] * 10),
        (Blobs(samples=103, classes=20), [6] * 3 + [5] * 17),
    ],
    ids=str,
)
def test_classes_have_equally_many_rows_give_or_take_one(dataset: Any, sizes: list[int]) -> None:
    rows = datasets.load(dataset)
    assert rows.targets.sum(axis=0).tolist() == sizes
    assert np.isfinite(rows.inputs).all()
    assert rows.inputs.shape == (dataset.shape.rows, dataset.shape.features)
    assert rows.targets.shape == (dataset.shape.rows, dataset.shape.outputs)


@pytest.mark.parametrize(
    ("component", "fields"),
    [
        (Polynomial, {"samples": 9}),
        (Polynomial, {"coefficients": []}),
        (Polynomial, {"coefficients": [0.0] * 22}),
        (Polynomial, {"coefficients": [1e4]}),
        (Polynomial, {"coefficients": [float("nan")]}),
        (Polynomial, {"degree": 3}),
        (Moons, {"samples": 1_000_001}),
        (Moons, {"noise": -0.1}),
        (Moons, {"spread": 0.1}),
        (Circles, {"inner_radius": 0}),
        (Circles, {"inner_radius": 1}),
        (Circles, {"noise": float("inf")}),
        (Spirals, {"samples": 19}),
        (Spirals, {"arms": 1}),
        (Spirals, {"arms": 11}),
        (Spirals, {"turns": 0}),
        (Spirals, {"turns": 10.1}),
        (Blobs, {"classes": 1}),
        (Blobs, {"classes": 21}),
        (Blobs, {"features": 0}),
        (Blobs, {"features": 101}),
        (Blobs, {"spread": -1}),
        (Blobs, {"samples": 100_001}),
    ],
    ids=str,
)
def test_what_is_out_of_bounds_is_refused(component: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        component.model_validate(fields)


def test_stripes_run_in_the_direction_of_their_class_and_no_pixel_tells_it() -> None:
    clean, classes = synthetic.stripes(Stripes(samples=400, noise=0, classes=4))
    images = clean.reshape(400, 28, 28)
    assert np.abs(images).max() <= 1
    # Across the first class's stripes lies x, along them y; a quarter turn on it is the other way round.
    along_y, along_x = np.abs(np.diff(images, axis=1)).max((1, 2)), np.abs(np.diff(images, axis=2)).max((1, 2))
    assert along_y[classes == 0].max() < 1e-9 < along_x[classes == 0].min()
    assert along_x[classes == 2].max() < 1e-9 < along_y[classes == 2].min()
    spectrum = np.abs(np.fft.rfft(images[classes == 0][:, 0], axis=1)).argmax(1)
    assert set(spectrum.tolist()) <= {2, 3, 4, 5}
    means = np.stack([clean[classes == number].mean(0) for number in range(4)])
    assert np.abs(means).max() < 0.3
    noisy, _ = synthetic.stripes(Stripes(samples=400, noise=0.5, classes=4))
    assert (noisy - clean).std() == pytest.approx(0.5, rel=0.01)
