"""What comes out of an analysis, for one run."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class NotAnalysable(ValueError):
    """An analysis that has nothing to measure here; its message is for people."""


@dataclass(frozen=True)
class Findings:
    """What was measured of one run."""

    values: dict[str, float]
    """Numbers by which runs are compared; NaN or infinite where that is what came out."""
    details: dict[str, Any]
    """What lies behind them, as plain JSON values: curves, grids, and which rows were used in which precision."""


def plain(numbers: ArrayLike) -> Any:
    """Nested lists of numbers; None where one is not finite."""
    array = np.asarray(numbers, np.float64)
    kept = array.astype(object)
    kept[~np.isfinite(array)] = None
    return kept.tolist()
