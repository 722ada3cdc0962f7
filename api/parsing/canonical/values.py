"""The values of a column of few: how often each stands there, and how long it stays unsealed."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.parsing.contract import Refused
from models.sealing import sealing_order
from models.stored import Value

MOST_VALUES = 200_000
"""Of all columns together: they stand in the description, which is read whole."""

LISTED_INTEGERS = 100
"""Whole numbers of more different values are not listed: they are amounts."""

LONGEST_VALUE = 200
"""Characters of a category, or of a class's name; longer ones are text."""

_SMALL_SPAN = 2**20

Numbers = NDArray[Any]
Mask = NDArray[np.bool_]


class Sealing:
    """The order in which rows are sealed, and how many values were listed by it."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._left = MOST_VALUES

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return sealing_order(self._rows)

    def has_room(self, values: int) -> bool:
        return values <= self._left

    def listed(self, values: Sequence[str], places: Numbers, missing: Mask | None = None) -> tuple[Value, ...]:
        """`values` in order; `places` (N,) are every row's value among them.

        Raises:
            Refused: if all columns together have too many.

        """
        self._left -= len(values)
        if self._left < 0:
            raise Refused(
                "too_large", f"the columns have more than {MOST_VALUES:,} categories together: leave columns out"
            )
        sealed = places[self._order]
        steps = np.arange(1, len(sealed) + 1)
        if missing is not None:
            there = ~missing[self._order]
            sealed, steps = sealed[there], steps[there]
        last = np.zeros(len(values), np.int64)
        last[sealed] = steps  # of several rows with the same value, the last one counts
        counts = np.bincount(sealed, minlength=len(values))
        return tuple(
            Value(value=value, count=count, last_sealed=until)
            for value, count, until in zip(values, counts.tolist(), last.tolist(), strict=True)
        )


def distinct_integers(numbers: Numbers) -> Numbers:
    """The different ones, sorted; `numbers` (N,) is not empty."""
    low, high = int(numbers.min()), int(numbers.max())
    if high - low < min(_SMALL_SPAN, 16 * len(numbers) + 1024):
        return (np.flatnonzero(np.bincount(offsets(numbers, low))).astype(object) + low).astype(numbers.dtype)
    ordered = np.sort(numbers)
    different: Numbers = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return different


def offsets(numbers: Numbers, low: int) -> NDArray[np.int64]:
    """How far above the lowest of them numbers lie: less than 2⁶³."""
    if numbers.dtype.kind == "u":
        return np.asarray(numbers - numbers.dtype.type(low), np.int64)
    above: NDArray[np.int64] = numbers.astype(np.int64) - low
    return above
