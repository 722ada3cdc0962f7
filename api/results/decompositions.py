"""Why replicates of one training are wrong: bias, variance, noise."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.results.measures import votes
from api.results.predictions import Floats


def of_squared_error(outputs: Floats, targets: Floats, truth: Floats | None) -> dict[str, float]:
    """The mean of (f − y)² over M replicates and R rows, in parts that add up to it; f̄ is the replicates' mean.

    Without the truth t, bias² is (f̄ − y)² and holds the noise: error = bias² + variance. With it, bias² is (f̄ − t)²
    and noise (y − t)²: error = bias² + variance + noise + covariance, the last being 2 (f̄ − t)(t − y), which is zero
    but for the chance in these rows (Geman, Bienenstock & Doursat 1992). Bias² and variance are corrected for the
    number of replicates: see `_corrected`.

    Args:
        outputs: values (M, R).
        targets: values (R,).
        truth: values without noise (R,), where they are known.

    """
    center = outputs.mean(0)
    aim = targets if truth is None else truth
    bias_squared, variance = _corrected(((center - aim) ** 2).mean(), outputs.var(0).mean(), len(outputs))
    parts = {
        "error": float(((outputs - targets) ** 2).mean()),
        "variance": variance,
        "bias_squared": bias_squared,
    }
    if truth is None:
        return parts
    return parts | {
        "noise": float(((targets - truth) ** 2).mean()),
        "covariance": float((2 * (center - truth) * (truth - targets)).mean()),
    }


def _corrected(bias_squared: Any, variance: Any, members: int) -> tuple[float, float]:
    """Bias² and variance of one network, from the distance and the spread of M replicates around their mean f̄.

    The spread around f̄ is less than that around the expectation: the variance is M/(M−1) of it. And f̄ itself is off the
    expectation by chance, which adds variance/M to its squared distance: bias² is so much less. What the one gains the
    other loses, so both still add up to the error. Where the bias is small, this estimate of bias² may fall below 0.
    A single replicate has no spread: all of its error counts as bias.
    """
    corrected = float(variance) * members / max(1, members - 1)
    return float(bias_squared) - corrected / members, corrected


def of_brier_score(outputs: Floats, targets: NDArray[np.int64]) -> dict[str, float]:
    """The same for class probabilities (M, R, C), summed over the classes: brier = bias² + variance (Brier 1950)."""
    bias_squared, variance = _of_shares(outputs, targets)
    wanted = np.eye(outputs.shape[2])[targets]
    return {
        "brier": float(((outputs - wanted) ** 2).sum(2).mean()),
        "brier_bias_squared": bias_squared,
        "brier_variance": variance,
    }


def _of_shares(shares: Floats, targets: NDArray[np.int64]) -> tuple[float, float]:
    """Bias² and variance of (M, R, C) around the classes' own columns."""
    wanted, center = np.eye(shares.shape[2])[targets], shares.mean(0)
    return _corrected(((center - wanted) ** 2).sum(1).mean(), shares.var(0).sum(1).mean(), len(shares))


def of_cross_entropy(outputs: Floats, targets: NDArray[np.int64]) -> dict[str, float]:
    """The mean of −log π of the right class as bias + variance, both never below 0 (Yang et al. 2020).

    The center π̄ ∝ exp(E log π) is the mean of log-probabilities, not of probabilities. Bias is the cross-entropy of π̄,
    variance the mean of KL(π̄ ‖ π), which is −log Σ exp(E log π). Of M replicates, without a correction for M: there is
    none that keeps the parts adding up.

    Args:
        outputs: class probabilities (M, R, C); what was rounded to 0 counts as the least that float32 can tell from it.
        targets: classes (R,).

    """
    logs = np.log(np.maximum(outputs, np.finfo(np.float32).tiny))
    center = logs.mean(0)
    largest = center.max(1, keepdims=True)
    scale = largest[:, 0] + np.log(np.exp(center - largest).sum(1))
    rows = np.arange(len(targets))
    return {
        "cross_entropy": float(-logs[:, rows, targets].mean()),
        "cross_entropy_bias": float((scale - center[rows, targets]).mean()),
        "cross_entropy_variance": float(-scale.mean()),
    }


def of_mistakes(outputs: Floats, targets: NDArray[np.int64]) -> dict[str, float]:
    """The rate of mistakes as error = bias + variance_unbiased − variance_biased (Domingos 2000), without noise.

    The main prediction of a row is what most replicates say; bias is how often it is wrong. Where it is right, other
    predictions are mistakes; where it is wrong, right ones are the fewer mistakes.
    """
    cast = votes(outputs)
    main = cast.sum(0).argmax(1)
    said_right = (outputs.argmax(2) == targets).mean(0)
    biased = main != targets
    return {
        "error": float(1 - said_right.mean()),
        "bias": float(biased.mean()),
        "variance_unbiased": float(np.where(biased, 0, 1 - said_right).mean()),
        "variance_biased": float(np.where(biased, said_right, 0).mean()),
    }


def of_votes(outputs: Floats, targets: NDArray[np.int64]) -> dict[str, float]:
    """The rate of mistakes as error = bias² + variance (Kohavi & Wolpert 1996), without noise.

    With p the share of the votes for each class and y the class itself, one-hot: bias² = ½ Σ (y − p)² and
    variance = ½ (1 − Σ p²): half of what the squared error of the votes comes to, so the correction for the number of
    replicates is the same, which is also theirs. Unlike Domingos', the variance only ever adds to the error.
    """
    bias_squared, variance = _of_shares(votes(outputs), targets)
    return {"vote_bias_squared": bias_squared / 2, "vote_variance": variance / 2}


OF_CLASSES = (of_mistakes, of_votes, of_brier_score, of_cross_entropy)
"""All that there are for class probabilities."""
