"""Images and series become rows: a grid's matrix, its targets, its description and a look at it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from api.parsing.canonical.columns import FIRST, Moments
from api.parsing.canonical.matrices import Matrix, check_sizes, write_matrix
from api.parsing.canonical.thumbnails import thumbnails
from api.parsing.canonical.values import LISTED_INTEGERS, Sealing, distinct_integers
from api.parsing.contract import Parsed, Refused
from api.parsing.upload import Upload
from models.stored import ROWS, TARGETS, Column, Description, Preview

_TARGET = "label"


@dataclass(frozen=True)
class Labels:
    """The targets of a grid: (N,) of numbers, or of places in `names`."""

    numbers: NDArray[Any]
    names: tuple[str, ...] | None = None
    """Sorted."""

    @classmethod
    def of_classes(cls, numbers: NDArray[Any], names: Iterable[str]) -> "Labels":
        """Classes numbered in any order are numbered by their sorted names, those that occur alone."""
        every = list(names)
        present = sorted({every[number] for number in np.unique(numbers)})
        place = np.array([present.index(name) if name in present else -1 for name in every])
        return cls(place[numbers], tuple(present))

    def target(self, row: int) -> float | int | str:
        if self.names is not None:
            return self.names[int(self.numbers[row])]
        number: float | int = self.numbers[row].item()
        return number


@dataclass(frozen=True)
class Grid:
    """Rows on their way into storage."""

    format: str
    shape: tuple[int, ...]
    """(C, H, W) or (C, L)."""
    numbers: Literal["uint8", "float32"]
    blocks: Iterable[Matrix]
    """Blocks of flattened rows, (n, C·H·W)."""
    labels: Labels
    notes: tuple[str, ...] = ()
    known: str | None = None


def write_grid(upload: Upload, grid: Grid) -> Parsed:
    """Write the matrix and the targets of a grid."""
    labels, limits = grid.labels, upload.limits
    rows = len(labels.numbers)
    # Looked at first: what is wrong with a label should not wait for the images.
    column = _column(labels, Sealing(rows), limits.classes)
    shape = (rows, int(np.prod(grid.shape)))
    check_sizes(limits, (shape, grid.numbers), ((rows,), "float64"))
    sizes = {ROWS: write_matrix(upload.folder / ROWS, shape, grid.numbers, grid.blocks)}
    sizes[TARGETS] = write_matrix(upload.folder / TARGETS, (rows,), "float64", [labels.numbers])
    description = Description(
        format=grid.format,
        layout="grid",
        rows=rows,
        columns=(column,),
        grid=grid.shape,
        numbers=grid.numbers,
        known=grid.known,
        sizes=sizes,
        notes=grid.notes,
    )
    preview = Preview(
        columns=[_TARGET],
        rows=[[labels.target(row)] for row in range(min(rows, FIRST))],
        thumbnails=thumbnails(upload.folder / ROWS, grid.shape, labels.numbers, labels.target, grid.numbers),
    )
    return Parsed(description, preview)


def _column(labels: Labels, sealing: Sealing, classes: int) -> Column:
    numbers = labels.numbers
    if labels.names is not None:
        if len(labels.names) > classes:
            raise Refused("too_large", f"more than {classes:,} classes exceed the limit: upload fewer of them")
        named = sealing.listed(labels.names, numbers)
        return Column(name=_TARGET, type="category", missing=0, distinct=len(labels.names), values=named)
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers))) + 1
        raise Refused("not_finite", f"the target of row {row:,} is missing or infinite: leave the row out")
    moments: Moments = {
        "minimum": float(numbers.min()),
        "maximum": float(numbers.max()),
        "mean": float(np.mean(numbers, dtype=np.float64)),
    }
    if numbers.dtype.kind == "f":
        return Column(name=_TARGET, type="number", missing=0, **moments)
    different = distinct_integers(numbers)
    values = None
    if len(different) <= LISTED_INTEGERS:
        words = [str(number) for number in different.tolist()]
        values = sealing.listed(words, np.searchsorted(different, numbers))
    return Column(name=_TARGET, type="integer", missing=0, distinct=len(different), values=values, **moments)
