"""Exact tests for a handful of pairs, and what a family of them may claim."""

from collections.abc import Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIGNIFICANCE = 0.05
"""A verdict is given when the p that is adjusted for the whole family does not exceed this."""
MAX_EXACT_PAIRS = 30
MONTE_CARLO_FLIPS = 100_000
_MONTE_CARLO_SEED = 20_240_229
_FLIPS_AT_ONCE = 10_000


class SignFlip(NamedTuple):
    """A two-sided p, the smallest that this many pairs can reach, and whether every flip was counted."""

    p_value: float
    smallest_p: float
    exact: bool


def sign_flip(differences: Sequence[float] | NDArray[np.float64]) -> SignFlip:
    """Two-sided p = share of the 2ⁿ ways to flip signs with |Σ ±dᵢ| ≥ |Σ dᵢ| (Fisher 1935; Pitman 1937).

    If pairing were all that the two sides have in common with their labels, each difference would be as likely with
    the other sign; nothing is assumed of its distribution. All flips are counted up to 30 pairs. Beyond that, p is
    (1 + hits) / (1 + 100,000) over random flips from a fixed seed (Phipson & Smyth 2010), so it repeats.
    `differences` is (n,), n ≥ 1 and finite.
    """
    d = np.asarray(differences, dtype=np.float64)
    assert d.ndim == 1
    assert d.size
    assert np.isfinite(d).all()
    # Flips that tie with the observation in exact arithmetic must count as ties here.
    threshold = abs(float(d.sum())) - 1e-12 * float(np.abs(d).sum())
    if d.size > MAX_EXACT_PAIRS:
        return SignFlip(_monte_carlo(d, threshold), 1 / (1 + MONTE_CARLO_FLIPS), exact=False)
    return SignFlip(_share_of_flips(d, threshold), smallest_p(d.size), exact=True)


def _share_of_flips(d: NDArray[np.float64], threshold: float) -> float:
    """Every flip counted: 2^(n/2) sums of either half, and for each of the one how many of the other go too far."""
    # A flip of everything changes no absolute sum: keep the first sign and count half of the flips.
    first, second = d[:1], np.zeros(1)
    for difference in d[1 : (d.size + 1) // 2]:
        first = np.concatenate((first + difference, first - difference))
    for difference in d[(d.size + 1) // 2 :]:
        second = np.concatenate((second + difference, second - difference))
    second.sort()
    above = second.size - np.searchsorted(second, threshold - first, "left")
    below = np.searchsorted(second, -threshold - first, "right")
    # Where no difference is left, each flip both rises to the threshold and falls to it.
    beyond = second.size * first.size if threshold <= 0 else int((above + below).sum())
    return beyond / (first.size * second.size)


def _monte_carlo(d: NDArray[np.float64], threshold: float) -> float:
    generator = np.random.default_rng(_MONTE_CARLO_SEED)
    hits = 0
    for _ in range(MONTE_CARLO_FLIPS // _FLIPS_AT_ONCE):
        signs = generator.integers(0, 2, size=(_FLIPS_AT_ONCE, d.size), dtype=np.int8) * 2 - 1
        hits += int(np.count_nonzero(np.abs(signs @ d) >= threshold))
    return (1 + hits) / (1 + MONTE_CARLO_FLIPS)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided p = min(1, 2 P(X ≤ min(wins, losses))), X binomial with ½ (Arbuthnot 1710; Dixon & Mood 1946).

    Uses only who won each pair. Ties carry no information and are left out beforehand.
    """
    n = wins + losses
    tail = sum(comb(n, k) for k in range(min(wins, losses) + 1))
    return min(1.0, float(2 * tail / 2**n))


def smallest_p(pairs: int) -> float:
    """2 / 2ⁿ: what n pairs reach when all of them agree. No data can push either exact test below it."""
    return min(1.0, 2.0 ** (1 - pairs))


def seeds_needed(family: int) -> int:
    """The fewest seeds with which one of `family` comparisons can be settled: 2/2ⁿ ≤ 0.05 / family.

    That is a floor and not a promise: with it, agreement of all seeds suffices. 1 → 6, 2 → 7, 7 → 9.
    """
    n = 1
    while smallest_p(n) > SIGNIFICANCE / family:
        n += 1
    return n


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust a family of p: in growing order p₍ᵢ₎ ← max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎) (Holm 1979).

    Rejecting those ≤ 0.05 keeps the chance of even one false rejection ≤ 0.05, whatever their dependence.
    """
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
