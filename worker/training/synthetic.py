"""Generated data sets: inputs (N, F) and for each row its value or the number of its class (N,).

Their noise belongs to them and not to a run, so every run of every job sees the same rows. It does not depend on its
strength: data sets that differ in that alone have their rows moved in the same directions.
"""

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from models.spec.datasets import Blobs, Circles, Moons, Polynomial, Sine, Spirals, Stripes
from worker.training.randomness import DATASET_SEED, Purpose, stream

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]


def truth(dataset: Sine | Polynomial, x: Floats) -> Floats:
    """The function without its noise. No prediction has a smaller expected squared error, which is `noise`²."""
    values: Floats
    match dataset:
        case Sine():
            values = np.sin(dataset.frequency * x)
        case Polynomial():
            values = np.asarray(np.polynomial.polynomial.polyval(x, dataset.coefficients), np.float64)
        case _:
            assert_never(dataset)
    return values


def curve(dataset: Sine | Polynomial) -> tuple[Floats, Floats]:
    end = 3 if isinstance(dataset, Sine) else 1
    x = np.linspace(-end, end, dataset.samples)
    return x[:, None], truth(dataset, x) + dataset.noise * _normals(dataset.samples)


def moons(dataset: Moons) -> tuple[Floats, Classes]:
    index, last, classes = _places(dataset.samples, 2)
    angle = np.pi * index / last
    one = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.where(classes[:, None] == 0, one, [1, 0.5] - one)
    return points + dataset.noise * _normals(points.shape), classes


def circles(dataset: Circles) -> tuple[Floats, Classes]:
    index, last, classes = _places(dataset.samples, 2)
    radius = np.where(classes == 0, 1, dataset.inner_radius)
    points = _polar(radius, 2 * np.pi * index / (last + 1))
    return points + dataset.noise * _normals(points.shape), classes


def spirals(dataset: Spirals) -> tuple[Floats, Classes]:
    index, last, arms = _places(dataset.samples, dataset.arms)
    s = index / last
    points = _polar((1 + 12 * s) / 13, 2 * np.pi * (dataset.turns * s + arms / dataset.arms))
    return points + dataset.noise * _normals(points.shape), arms


def blobs(dataset: Blobs) -> tuple[Floats, Classes]:
    _, _, classes = _places(dataset.samples, dataset.classes)
    draws = stream(DATASET_SEED, Purpose.DATA_NOISE)
    centers = draws.uniform(-1, 1, (dataset.classes, dataset.features))
    return centers[classes] + dataset.spread * draws.standard_normal((dataset.samples, dataset.features)), classes


def stripes(dataset: Stripes) -> tuple[Floats, Classes]:
    _, _, classes = _places(dataset.samples, dataset.classes)
    draws = stream(DATASET_SEED, Purpose.DATA_NOISE)
    waves, phase = draws.uniform(2, 5, dataset.samples), draws.uniform(0, 2 * np.pi, dataset.samples)
    angle = np.pi * classes / dataset.classes
    place = (np.arange(dataset.size) + 0.5) / dataset.size - 0.5
    across = np.cos(angle)[:, None, None] * place + np.sin(angle)[:, None, None] * place[:, None]
    images = np.sin(2 * np.pi * waves[:, None, None] * across + phase[:, None, None]).reshape(dataset.samples, -1)
    return images + dataset.noise * draws.standard_normal(images.shape), classes


def _places(samples: int, classes: int) -> tuple[Classes, Classes, Classes]:
    """Deal rows to classes in turn: for each row its index in its class, the last index in that class, the class."""
    index, own = np.divmod(np.arange(samples), classes)
    return index, np.bincount(own)[own] - 1, own


def _polar(radius: Floats, angle: Floats) -> Floats:
    """Points of the plane (N, 2)."""
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _normals(shape: int | tuple[int, ...]) -> Floats:
    return stream(DATASET_SEED, Purpose.DATA_NOISE).standard_normal(shape)
