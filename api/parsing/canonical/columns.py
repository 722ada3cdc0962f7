"""One column: from cells of many kinds to numbers, and what is known of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from numpy.typing import NDArray

from api.parsing.canonical.formulas import check_formulas
from api.parsing.canonical.values import LISTED_INTEGERS, LONGEST_VALUE, Mask, Numbers, Sealing, distinct_integers
from api.parsing.contract import Limits, Refused, short
from models.stored import Column, ColumnType

FIRST = 10
"""Rows of a preview."""

_EXACT = 2**53
_SHOWN_CHARACTERS = 100
_A_DAY = {"D": 1, "s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


@dataclass(frozen=True)
class Cells:
    """A column on its way into the matrix."""

    column: Column
    numbers: Numbers | None
    """(N,) of any number type, any value where one is missing; None for text."""
    missing: Mask | None
    """(N,); None where nothing is."""
    shown: list[Any]
    """The first cells, for the preview."""
    note: str | None = None

    def fill(self, rows: slice, out: NDArray[np.float64]) -> None:
        """Put the numbers of some rows into a column of a block."""
        if self.numbers is None:
            out[:] = np.nan
            return
        out[:] = self.numbers[rows]
        if self.missing is not None:
            out[self.missing[rows]] = np.nan


def read_column(name: str, cells: pa.ChunkedArray, sealing: Sealing, limits: Limits) -> Cells:
    """Find out what a column holds.

    Raises:
        Refused: for infinite numbers, formulas, and types that are no column of a table.

    """
    kind = cells.type
    if kinds.is_dictionary(kind):
        return read_column(name, cells.cast(kind.value_type), sealing, limits)
    missing = _mask(pc.is_null(cells)) if cells.null_count else None
    if kinds.is_null(kind):
        return _numbers(name, np.full(len(cells), np.nan), None)
    if kinds.is_boolean(kind):
        return _booleans(name, _plain(cells.cast(pa.uint8()), 0), missing, sealing)
    if kinds.is_integer(kind):
        return _integers(name, _plain(cells, 0), missing, sealing)
    if kinds.is_floating(kind):
        wide = cells.cast(pa.float32()) if kinds.is_float16(kind) else cells
        return _numbers(name, _plain(wide, np.nan), missing)
    if kinds.is_decimal(kind):
        return _numbers(name, _plain(cells.cast(pa.float64()), np.nan), missing)
    if kinds.is_date(kind) or kinds.is_timestamp(kind):
        return _dates(name, cells, missing)
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        return _text(name, cells.cast(pa.large_string()), missing, sealing, limits)
    raise Refused(
        "column_type",
        f"column {short(name)} is of type {short(str(kind))}: store it as numbers, booleans, dates or text",
    )


def _plain(cells: pa.ChunkedArray, instead: float) -> Numbers:
    numbers: Numbers = (cells.fill_null(instead) if cells.null_count else cells).to_numpy()
    return numbers


def _mask(cells: pa.ChunkedArray) -> Mask:
    mask: Mask = cells.to_numpy()
    return mask


def _shown(numbers: Numbers, missing: Mask | None, show: Callable[[Any], Any]) -> list[Any]:
    gone = np.zeros(FIRST, np.bool_) if missing is None else missing[:FIRST]
    return [None if no else show(number) for number, no in zip(numbers[:FIRST].tolist(), gone, strict=False)]


def _count(missing: Mask | None) -> int:
    return 0 if missing is None else int(np.count_nonzero(missing))


class Moments(TypedDict, total=False):
    """What a column's description says of its numbers."""

    minimum: float
    maximum: float
    mean: float


def _moments(present: Numbers) -> Moments:
    if not len(present):
        return {}
    with np.errstate(over="ignore"):
        mean = float(np.mean(present, dtype=np.float64))
    if not np.isfinite(mean):  # the sum overflowed, the mean cannot
        mean = float(np.sum(present.astype(np.float64) / len(present)))
    return {"minimum": float(present.min()), "maximum": float(present.max()), "mean": mean}


def _numbers(name: str, numbers: Numbers, missing: Mask | None) -> Cells:
    gone = np.isnan(numbers)  # a NaN that was written as one, and what _plain put in
    if np.isinf(numbers).any():
        row = int(np.argmax(np.isinf(numbers))) + 1
        raise Refused("not_finite", f"column {short(name)}, row {row:,} is infinite: leave such cells empty")
    missing = gone if gone.any() else None
    column = Column(name=name, type="number", missing=_count(missing), **_moments(_present(numbers, missing)))
    return Cells(column, numbers, missing, _shown(numbers, missing, float))


def _present(numbers: Numbers, missing: Mask | None) -> Numbers:
    return numbers if missing is None else numbers[~missing]


def _booleans(name: str, numbers: Numbers, missing: Mask | None, sealing: Sealing) -> Cells:
    column = Column(
        name=name,
        type="boolean",
        missing=_count(missing),
        distinct=len(np.unique(_present(numbers, missing))),
        values=sealing.listed(("false", "true"), numbers, missing),
    )
    return Cells(column, numbers, missing, _shown(numbers, missing, bool))


def _integers(name: str, numbers: Numbers, missing: Mask | None, sealing: Sealing) -> Cells:
    present = _present(numbers, missing)
    if not len(present):
        return _numbers(name, np.full(len(numbers), np.nan), None)
    different = distinct_integers(present)
    values, notes = None, []
    if len(different) <= LISTED_INTEGERS:
        if sealing.has_room(len(different)):
            places = np.searchsorted(different, numbers).clip(max=len(different) - 1)
            values = sealing.listed([str(value) for value in different.tolist()], places, missing)
        else:
            notes.append(f"the values of column {short(name)} are not listed: there are too many in all")
    if max(int(present.max()), -int(present.min())) > _EXACT:
        notes.append(f"column {short(name)} holds whole numbers beyond 2^53, which were rounded")
    column = Column(
        name=name,
        type="integer",
        missing=_count(missing),
        distinct=len(different),
        values=values,
        **_moments(present),
    )
    return Cells(column, _narrow(numbers), missing, _shown(numbers, missing, int), "; ".join(notes) or None)


def _narrow(numbers: Numbers) -> Numbers:
    """The same whole numbers in as few bytes as hold them."""
    dtype = np.promote_types(np.min_scalar_type(numbers.min()), np.min_scalar_type(numbers.max()))
    return numbers.astype(dtype) if dtype.kind in "iu" else numbers


def _dates(name: str, cells: pa.ChunkedArray, missing: Mask | None) -> Cells:
    kind = cells.type
    unit = "D" if kinds.is_date32(kind) else "ms" if kinds.is_date64(kind) else kind.unit
    counts = _plain(cells.cast(pa.int32() if unit == "D" else pa.int64()), 0)
    per_day = _A_DAY[unit]

    def show(count: int) -> str:
        if unit == "D":
            return str(np.datetime64(count, "D"))
        return str(np.datetime64(count // (per_day // _A_DAY["s"]), "s"))

    days = counts / per_day
    column = Column(name=name, type="date", missing=_count(missing), **_moments(_present(days, missing)))
    return Cells(column, days, missing, _shown(counts, missing, show))


def _text(name: str, cells: pa.ChunkedArray, missing: Mask | None, sealing: Sealing, limits: Limits) -> Cells:
    shown = [None if cell is None else cell[:_SHOWN_CHARACTERS] for cell in cells.slice(0, FIRST).to_pylist()]
    present = len(cells) - _count(missing)
    if not present:
        return _numbers(name, np.full(len(cells), np.nan), None)
    encoded = cells.dictionary_encode().combine_chunks()
    distinct = encoded.dictionary
    if pc.any(pc.match_substring(distinct, "\0")).as_py():
        raise Refused("nul", f"column {short(name)} holds a NUL character, which no database stores: take it out")
    check_formulas(name, distinct, cells)
    kind = _text_kind(distinct, present, limits)
    if kind == "text":
        column = Column(name=name, type="text", missing=_count(missing), distinct=len(distinct))
        return Cells(column, None, missing, shown)
    order = pc.sort_indices(distinct)
    place = np.empty(len(order), np.int32)
    place[order.to_numpy()] = np.arange(len(order))
    places = place[encoded.indices.fill_null(0).to_numpy()]
    values = sealing.listed(distinct.take(order).to_pylist(), places, missing)
    column = Column(name=name, type="category", missing=_count(missing), distinct=len(distinct), values=values)
    return Cells(column, places.astype(np.min_scalar_type(len(order))), missing, shown)


def _text_kind(distinct: pa.Array, present: int, limits: Limits) -> ColumnType:
    few = len(distinct) <= 0.5 * present or (present <= 20 and len(distinct) <= 10)
    if not few or len(distinct) > limits.classes:
        return "text"
    longest: int = pc.max(pc.utf8_length(distinct)).as_py()
    return "category" if longest <= LONGEST_VALUE else "text"
