"""From the cells of a data set to the inputs of a network: fitted on the training rows of a run, kept with its weights.

Everything here is numpy and works row by row, so that a row comes out the same, to the bit, in whatever company it is
transformed: all at once, batch by batch from disk, or alone for a prediction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.reading import Feature
from models.stored import Column

CHUNK_BYTES = 32 << 20
"""Cells held at once while something is fitted."""

Cells = NDArray[Any]
"""(R, columns) as they lie in storage; see `models.stored`."""
Floats = NDArray[np.float64]
Gather = Callable[[NDArray[np.int64]], Cells]
"""The cells of rows, by their numbers."""


class Transformation(Protocol):
    """Of the inputs of one run."""

    def apply(self, cells: Cells) -> NDArray[Any]:
        """The inputs (R, F) of these rows."""

    def undo(self, values: Floats) -> Floats:
        """Where there is one input only: the cells (R,) that become these inputs."""

    def tensors(self, name: str) -> dict[str, NDArray[np.float32]]:
        """What stands beside the weights for it, under names that begin with `name`."""

    def description(self) -> dict[str, Any] | None:
        """What a reader of the weights needs to apply it to raw rows, as plain JSON values; None if the tensors do."""


@dataclass(frozen=True)
class Scale:
    """An affine change of units, (value − mean) / scale, of one run: both (columns,)."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, values: Floats) -> "Scale":
        """Zero mean and unit variance over these rows; a constant column keeps its units."""
        deviation = values.std(axis=0)
        return cls(
            values.mean(axis=0).astype(np.float32),
            np.where(deviation > 0, deviation, 1).astype(np.float32),
        )

    def apply(self, values: Cells) -> Floats:
        return np.asarray((values - self.mean) / self.scale, np.float64)

    def undo(self, values: Floats) -> Floats:
        original: Floats = values * self.scale + self.mean
        return original

    def tensors(self, name: str) -> dict[str, NDArray[np.float32]]:
        return {f"{name}_mean": self.mean, f"{name}_scale": self.scale}

    def description(self) -> None:
        return None


@dataclass(frozen=True)
class NumberInput:
    """A number, date or boolean as one input, (x − mean) / scale; an empty cell counts as `fill`."""

    name: str
    type: str
    fill: float
    mean: float
    scale: float

    inputs = 1


@dataclass(frozen=True)
class CategoryInput:
    """A category as one input for each value that a training row had, then zeros, then one for any other value."""

    name: str
    values: tuple[str, ...]
    inputs: int

    type = "category"


class TableTransformation:
    """Of the columns of a table. `places` are those of the columns among the cells; `numbers` says for each category
    which of its inputs each cell's number means (the last one for those that no training row had).
    """

    def __init__(
        self,
        columns: Sequence[NumberInput | CategoryInput],
        places: Sequence[int],
        numbers: Sequence[NDArray[np.int64] | None],
    ) -> None:
        self.columns = tuple(columns)
        starts = np.cumsum([0, *(column.inputs for column in columns)])
        self.inputs = int(starts[-1])
        numeric = [k for k, column in enumerate(columns) if isinstance(column, NumberInput)]
        self._sources = np.array([places[k] for k in numeric], np.int64)
        self._targets = starts[numeric]
        of = [column for column in columns if isinstance(column, NumberInput)]
        self._fill, self._mean, self._scale = (
            np.array([getattr(column, name) for column in of], np.float64) for name in ("fill", "mean", "scale")
        )
        self._categories = [
            (places[k], int(starts[k]), lookup) for k, lookup in enumerate(numbers) if lookup is not None
        ]

    def apply(self, cells: Cells) -> NDArray[np.float32]:
        inputs = np.zeros((len(cells), self.inputs), np.float32)
        values = cells[:, self._sources]
        inputs[:, self._targets] = (np.where(np.isnan(values), self._fill, values) - self._mean) / self._scale
        rows = np.arange(len(cells))
        for place, start, lookup in self._categories:
            # An empty cell takes the entry past the end of the values, that of "any other value".
            codes = np.where(np.isnan(cells[:, place]), len(lookup) - 1, cells[:, place]).astype(np.int64)
            inputs[rows, start + lookup[codes]] = 1
        return inputs

    def undo(self, values: Floats) -> Floats:
        original: Floats = values * self._scale[0] + self._mean[0]
        return original

    def tensors(self, name: str) -> dict[str, NDArray[np.float32]]:  # noqa: ARG002
        return {}

    def description(self) -> dict[str, Any]:
        return {"layout": "table", "columns": [_described(column) for column in self.columns]}


def _described(column: NumberInput | CategoryInput) -> dict[str, Any]:
    if isinstance(column, CategoryInput):
        return {"name": column.name, "type": "category", "values": list(column.values), "inputs": column.inputs}
    return {
        "name": column.name,
        "type": column.type,
        "fill": column.fill,
        "mean": column.mean,
        "scale": column.scale,
    }


def fit_table(
    features: Sequence[Feature],
    columns: Sequence[Column],
    gather: Gather,
    rows: NDArray[np.int64],
    *,
    standardize: bool,
) -> TableTransformation:
    """Fit on the training `rows`, a row that was drawn twice counting twice."""
    numeric = [k for k, feature in enumerate(features) if feature.type != "category"]
    sources = np.array([features[k].place for k in numeric], np.int64)
    seen = {
        k: np.zeros(len(columns[feature.place].values or ()), bool)
        for k, feature in enumerate(features)
        if feature.type == "category"
    }

    def numbers_and_values() -> Iterator[Floats]:
        for cells in _chunks(gather, rows, 8 * len(columns)):
            for k, present in seen.items():
                codes = cells[:, features[k].place]
                present[codes[~np.isnan(codes)].astype(np.int64)] = True
            yield cells[:, sources]

    mean, deviation = moments(numbers_and_values, len(numeric))
    order = {k: j for j, k in enumerate(numeric)}
    inputs: list[NumberInput | CategoryInput] = []
    lookups: list[NDArray[np.int64] | None] = []
    for k, feature in enumerate(features):
        if k in seen:
            values = columns[feature.place].values or ()
            lookup = np.full(len(values) + 1, feature.inputs - 1)
            lookup[:-1][seen[k]] = np.arange(seen[k].sum())
            known = tuple(values[i].value for i in np.flatnonzero(seen[k]))
            inputs.append(CategoryInput(feature.name, known, feature.inputs))
            lookups.append(lookup)
        else:
            j = order[k]
            center, scale = (float(mean[j]), float(deviation[j])) if standardize else (0.0, 1.0)
            # A sealed row may be what makes a column of whole numbers one of others: here they are the same.
            kind = "number" if feature.type == "integer" else feature.type
            inputs.append(NumberInput(feature.name, kind, float(mean[j]), center, scale))
            lookups.append(None)
    return TableTransformation(inputs, [feature.place for feature in features], lookups)


class GridTransformation:
    """Of images and series: units, channels, size, then (x − mean) / scale of each channel, all in float32.

    Pixels count from 0 to 1. `stored` and `grid` are (channels, …), of the cells and of the inputs.
    """

    def __init__(
        self,
        stored: tuple[int, ...],
        grid: tuple[int, ...],
        *,
        pixels: bool,
        mean: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
    ) -> None:
        self._stored, self._grid, self._pixels = stored, grid, pixels
        channels = grid[0]
        self._mean = np.array(mean if mean is not None else [0.0] * channels, np.float32)
        self._scale = np.array(scale if scale is not None else [1.0] * channels, np.float32)
        self._averages = [_averages(before, after) for before, after in zip(stored[1:], grid[1:], strict=True)]

    def natural(self, cells: Cells) -> NDArray[np.float32]:
        """The inputs (R, channels, …) before they are standardized."""
        values: NDArray[Any] = cells.astype(np.float32)
        if self._pixels:
            values /= np.float32(255)
        values = values.reshape(len(cells), *self._stored)
        before, after = self._stored[0], self._grid[0]
        if (before, after) == (3, 1):
            red, green, blue = values[:, 0], values[:, 1], values[:, 2]
            values = (np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue)[:, None]
        elif (before, after) == (1, 3):
            values = np.repeat(values, 3, axis=1)
        if self._stored[1:] != self._grid[1:]:
            rows, columns = self._averages
            values = rows @ values @ columns.T
        return np.asarray(values, np.float32)

    def apply(self, cells: Cells) -> NDArray[np.float32]:
        values = self.natural(cells)
        shape = (-1, *[1] * (values.ndim - 2))
        values -= self._mean.reshape(shape)
        values /= self._scale.reshape(shape)
        inputs: NDArray[np.float32] = values.reshape(len(cells), -1)
        return inputs

    def undo(self, values: Floats) -> Floats:
        original: Floats = (values * self._scale[0] + self._mean[0]) * (255 if self._pixels else 1)
        return original

    def tensors(self, name: str) -> dict[str, NDArray[np.float32]]:  # noqa: ARG002
        return {}

    def description(self) -> dict[str, Any]:
        return {
            "layout": "grid",
            "stored": list(self._stored),
            "grid": list(self._grid),
            "pixels": self._pixels,
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
        }


def _averages(before: int, after: int) -> NDArray[np.float32]:
    """(after, before): each new pixel is the mean of the stretch of old ones that it covers."""
    edges = np.linspace(0, before, after + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixels = np.arange(before)
    covered = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    return np.asarray(covered * after / before, np.float32)


def fit_grid(
    stored: tuple[int, ...],
    grid: tuple[int, ...],
    gather: Gather,
    rows: NDArray[np.int64],
    *,
    pixels: bool,
    standardize: bool,
) -> GridTransformation:
    """Fit on the training `rows`."""
    plain = GridTransformation(stored, grid, pixels=pixels)
    if not standardize:
        return plain

    def channels() -> Iterator[Floats]:
        for cells in _chunks(gather, rows, 8 * int(np.prod(stored))):
            values = plain.natural(cells).reshape(len(cells), grid[0], -1)
            yield values.swapaxes(1, 2).reshape(-1, grid[0]).astype(np.float64)

    mean, deviation = moments(channels, grid[0])
    return GridTransformation(stored, grid, pixels=pixels, mean=mean.tolist(), scale=deviation.tolist())


def transformation_from(description: dict[str, Any]) -> TableTransformation | GridTransformation:
    """What `description` told, for rows whose cells are numbered as `cells_of` numbers them."""
    if description["layout"] == "grid":
        return GridTransformation(
            tuple(description["stored"]),
            tuple(description["grid"]),
            pixels=description["pixels"],
            mean=description["mean"],
            scale=description["scale"],
        )
    columns: list[NumberInput | CategoryInput] = []
    lookups: list[NDArray[np.int64] | None] = []
    for column in description["columns"]:
        if column["type"] == "category":
            values = tuple(column["values"])
            columns.append(CategoryInput(column["name"], values, column["inputs"]))
            lookups.append(np.array([*range(len(values)), column["inputs"] - 1], np.int64))
        else:
            columns.append(NumberInput(**column))
            lookups.append(None)
    return TableTransformation(columns, range(len(columns)), lookups)


def moments(chunks: Callable[[], Iterator[Floats]], columns: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column without its NaN, 1 for a deviation of 0, over chunks walked twice.

    A column without any number has mean 0. Two passes, because the sum of squares of large numbers would leave nothing
    of their differences.
    """
    count, total = np.zeros(columns), np.zeros(columns)
    for values in chunks():
        there = ~np.isnan(values)
        count += there.sum(0)
        total += np.where(there, values, 0).sum(0)
    mean = total / np.maximum(count, 1)
    squares = np.zeros(columns)
    for values in chunks():
        squares += np.square(np.where(np.isnan(values), 0, values - mean)).sum(0)
    deviation = np.sqrt(squares / np.maximum(count, 1))
    return mean, np.where(deviation > 0, deviation, 1.0)


def _chunks(gather: Gather, rows: NDArray[np.int64], row_bytes: int) -> Iterator[Cells]:
    # Sorted, so that a disk reads forwards; the sums are over the same rows in one and the same order.
    ordered = np.sort(rows)
    step = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, len(ordered), step):
        yield gather(ordered[start : start + step])
