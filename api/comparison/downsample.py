"""Fewer points that still tell the truth: the first, the last and every extreme stay."""

import numpy as np
from numpy.typing import NDArray

from api.comparison.history import Series

MIN_POINTS = 5
"""First, last, the first that is not finite, and one bin's minimum and maximum."""


def kept_points(values: NDArray[np.float64], max_points: int) -> NDArray[np.int64]:
    """Which of the points to keep, as growing indices, at most `max_points` of them.

    The points fall into equal bins and of each the lowest and the highest stay, so no spike is lost; the first and the
    last point stay as well, and the first that is NaN or infinite: that is where it went wrong.

    Raises:
        ValueError: if `max_points` is less than 5.

    """
    if max_points < MIN_POINTS:
        raise ValueError(f"max_points is at least {MIN_POINTS}: first, last, lowest, highest and first non-finite")
    if len(values) <= max_points:
        return np.arange(len(values))
    finite = np.isfinite(values)
    ends = [0, len(values) - 1]
    if not finite.all():
        ends.append(int(np.argmin(finite)))
    where = np.flatnonzero(finite)
    bins = (max_points - len(ends)) // 2
    if len(where) > 2 * bins:
        where = where[_extremes(values[where], bins)]
    return np.unique(np.concatenate((np.array(ends), where)))


def _extremes(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Where the lowest and the highest value of each of at most `bins` equal bins stand."""
    width = -(-len(values) // bins)
    rows = -(-len(values) // width)
    # Repeating the last value fills the last bin without adding an extreme of its own.
    filled = np.pad(values, (0, rows * width - len(values)), mode="edge").reshape(rows, width)
    starts = np.arange(rows) * width
    found = np.concatenate((starts + filled.argmin(axis=1), starts + filled.argmax(axis=1)))
    return found.clip(max=len(values) - 1)


def downsample(series: Series, max_points: int) -> Series:
    """A series of at most `max_points` points: the first, the last and every extreme stay.

    Raises:
        ValueError: if `max_points` is less than 5.

    """
    kept = kept_points(series.values, max_points)
    return Series(series.steps[kept], series.values[kept])
