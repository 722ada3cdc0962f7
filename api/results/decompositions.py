"""Why replicates of one training are wrong: bias, variance, noise."""

import numpy as np
from numpy.typing import NDArray

from api.results.measures import votes
from api.results.predictions import Floats


def of_squared_error(outputs: Floats, targets: Floats, truth: Floats | None) -> dict[str, float]:
    """The mean of (f − y)² over M replicates and R rows, in parts that add up to it; f̄ is the replicates' mean.

    Without the truth t, bias² is (f̄ − y)² and holds the noise: error = bias² + variance. With it, bias² is (f̄ − t)²
    and noise (y − t)²: error = bias² + variance + noise + covariance, the last being 2 (f̄ − t)(t − y), which is zero
    but for the chance in these rows (Geman, Bienenstock & Doursat 1992).

    Args:
        outputs: values (M, R).
        targets: values (R,).
        truth: values without noise (R,), where they are known.

    """
    center = outputs.mean(0)
    parts = {
        "error": float(((outputs - targets) ** 2).mean()),
        "variance": float(outputs.var(0).mean()),
    }
    if truth is None:
        return parts | {"bias_squared": float(((center - targets) ** 2).mean())}
    return parts | {
        "bias_squared": float(((center - truth) ** 2).mean()),
        "noise": float(((targets - truth) ** 2).mean()),
        "covariance": float((2 * (center - truth) * (truth - targets)).mean()),
    }


def of_brier_score(outputs: Floats, targets: NDArray[np.int64]) -> dict[str, float]:
    """The same for class probabilities (M, R, C), summed over the classes: brier = bias² + variance (Brier 1950)."""
    wanted = np.eye(outputs.shape[2])[targets]
    center = outputs.mean(0)
    return {
        "brier": float(((outputs - wanted) ** 2).sum(2).mean()),
        "brier_bias_squared": float(((center - wanted) ** 2).sum(1).mean()),
        "brier_variance": float(outputs.var(0).sum(1).mean()),
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
