"""Intervals for means of few runs: Student's t.

With 3 to 10 runs a percentile bootstrap or z = 1.96 covers only 76 to 90 % of the time when it says 95;
the t quantile (4.303, 2.776, 2.262 at 2, 4, 9 degrees of freedom) covers what it says.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit


class MeanInterval(NamedTuple):
    """A mean with its interval; NaN where too few values say nothing."""

    mean: float
    lower: float
    upper: float
    n: int

    def negated(self) -> "MeanInterval":
        """Of the values with the other sign."""
        return MeanInterval(0 - self.mean, 0 - self.upper, 0 - self.lower, self.n)


class Bands(NamedTuple):
    """A mean with its interval at each of P points; every array is (P,)."""

    mean: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    n: NDArray[np.int64]


def mean_bands(values: NDArray[np.float64], confidence: float, overlap: float = 0.0) -> Bands:
    """The mean, and mean ± t s √(1/n + overlap) over the runs, point by point (Student 1908).

    s is the sample's standard deviation with n − 1 and t the quantile (1 + confidence)/2 at n − 1 degrees of freedom.
    Folds have most of their training rows in common, so that s²/n claims too much: `overlap`, n_test / n_train of a
    fold, corrects for it (Nadeau & Bengio 2003); it is 0 for runs that are independent. `values` is (runs, P); what is
    not finite does not count, and n tells how many did. A point of fewer than two values has no interval.
    """
    finite = np.isfinite(values)
    n = finite.sum(axis=0)
    # Losses near the end of float64 may overflow when squared: the interval is infinite then, not an error.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.where(finite, values, 0.0).sum(axis=0) / n
        squares = (np.where(finite, values - mean, 0.0) ** 2).sum(axis=0)
        quantiles = np.array([_quantile(count - 1, confidence) for count in range(values.shape[0] + 1)])
        half = quantiles[n] * np.sqrt(squares / (n - 1) * (1 / n + overlap))
        return Bands(mean, mean - half, mean + half, n)


def mean_interval(
    values: Sequence[float] | NDArray[np.float64], confidence: float, overlap: float = 0.0
) -> MeanInterval:
    """The same for one sample; for differences of pairs this is the paired-t interval."""
    bands = mean_bands(np.asarray(values, dtype=np.float64).reshape(-1, 1), confidence, overlap)
    return MeanInterval(float(bands.mean[0]), float(bands.lower[0]), float(bands.upper[0]), int(bands.n[0]))


def _quantile(degrees: float, confidence: float) -> float:
    return float(stdtrit(degrees, (1 + confidence) / 2)) if degrees > 0 else float("nan")


def nadeau_bengio(differences: Sequence[float], overlap: float) -> float:
    """Two-sided p of the corrected resampled t-test (Nadeau & Bengio 2003) on J ≥ 2 differences of paired folds.

    t = d̄ / √(s² (1/J + n_test/n_train)) on J − 1 degrees of freedom, J counting all folds of all repeats and seeds and
    `overlap` being n_test/n_train. The plain paired t-test leaves the second term out and so rejects far too often.
    """
    assert len(differences) >= 2
    error = float(np.std(differences, ddof=1)) * (1 / len(differences) + overlap) ** 0.5
    mean = float(np.mean(differences))
    if error == 0:
        return float(mean == 0)
    return 2 * float(stdtr(len(differences) - 1, -abs(mean) / error))


class Welch(NamedTuple):
    """The difference of two means, and its two-sided p."""

    difference: MeanInterval
    p_value: float


def welch(first: Sequence[float], second: Sequence[float], confidence: float) -> Welch:
    """Welch's t for two unpaired samples of unequal variance (Welch 1947).

    t = (x̄ − ȳ) / √(u + v) with u = s_x²/n and v = s_y²/m, on (u + v)² / (u²/(n − 1) + v²/(m − 1)) degrees of freedom
    (Satterthwaite 1946). Each sample needs two values.
    """
    n, m = len(first), len(second)
    assert n >= 2
    assert m >= 2
    u, v = float(np.var(first, ddof=1)) / n, float(np.var(second, ddof=1)) / m
    difference = float(np.mean(first)) - float(np.mean(second))
    if u + v == 0:
        return Welch(MeanInterval(difference, difference, difference, n + m), float(difference == 0))
    degrees = (u + v) ** 2 / (u**2 / (n - 1) + v**2 / (m - 1))
    error = float(np.sqrt(u + v))
    half = _quantile(degrees, confidence) * error
    p_value = 2 * float(stdtr(degrees, -abs(difference) / error))
    return Welch(MeanInterval(difference, difference - half, difference + half, n + m), p_value)
