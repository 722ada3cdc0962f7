"""Which cells are missing together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.stored import Gap

MOST_PATTERNS = 1_000

_TOGETHER = 8
"""Columns that are looked at in one go: their missing cells are the bits of a byte."""

Mask = NDArray[np.bool_]


def gaps(missing: Sequence[tuple[int, Mask]], rows: int) -> tuple[Gap, ...] | None:
    """The patterns of missing cells. `missing` are the places of columns and their masks (rows,).

    Every eight columns refine the patterns of those before them, so that no matrix of all masks is needed, and too many
    patterns are noticed early.
    """
    pattern_of_row = np.zeros(rows, np.int32)
    patterns: list[tuple[int, ...]] = [()]
    for first in range(0, len(missing), _TOGETHER):
        some = missing[first : first + _TOGETHER]
        bits = np.zeros(rows, np.int32)
        for bit, (_, mask) in enumerate(some):
            bits |= mask.astype(np.int32) << bit
        finer = pattern_of_row << _TOGETHER | bits
        present = np.flatnonzero(np.bincount(finer, minlength=1))
        if len(present) > MOST_PATTERNS + 1:  # rows that miss nothing are one of them
            return None
        numbers = np.zeros(len(patterns) << _TOGETHER, np.int32)
        numbers[present] = np.arange(len(present))
        pattern_of_row = numbers[finer]
        patterns = [
            patterns[code >> _TOGETHER] + tuple(place for bit, (place, _) in enumerate(some) if code >> bit & 1)
            for code in present.tolist()
        ]
    counts = np.bincount(pattern_of_row, minlength=len(patterns)).tolist()
    found = [Gap(columns=columns, rows=count) for columns, count in zip(patterns, counts, strict=True) if columns]
    return tuple(found) if len(found) <= MOST_PATTERNS else None
