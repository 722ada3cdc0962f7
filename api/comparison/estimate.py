"""A mean and its interval as they are answered. NaN and infinities travel as null."""

from math import isfinite

from api.comparison.intervals import MeanInterval
from models.claims import Interval


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if value is not None and isfinite(value) else None


class Estimate(Interval):
    """Over runs, or over seeds where the runs of a seed share their rows."""

    @classmethod
    def of(cls, interval: MeanInterval) -> "Estimate":
        return cls(
            mean=finite(interval.mean),
            lower=finite(interval.lower),
            upper=finite(interval.upper),
            n=interval.n,
        )
