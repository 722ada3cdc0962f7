"""The arithmetic between the rounds of boosting, for the worker that trains the next and the API that adds them up."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def member_weight(error: float, lightest: float, classes: int, shrinkage: float) -> float:
    """A member's say α = ν (log((1 − error) / error) + log(C − 1)), SAMME (Zhu et al. 2009).

    A member no better than chance says nothing. One without an error would say everything for ever; it counts as if it
    had got half of the `lightest` row wrong, which is less than any error that there can be.
    """
    error = max(error, 0.5 * lightest)
    if error >= 1 - 1 / classes:
        return 0.0
    return shrinkage * float(np.log((1 - error) / error) + np.log(classes - 1))


def samme(outputs: Floats, targets: NDArray[np.int64], shrinkage: float) -> tuple[Floats, Floats]:
    """Weights of the members so far, (M,), and of the training rows for the next, (N,), which sum to 1.

    `outputs` (M, N, C) are what each member says of the training rows, `targets` (N,) their classes.
    """
    rows, classes = outputs.shape[1:]
    weights, says = np.full(rows, 1 / rows), []
    for member in outputs:
        wrong = member.argmax(1) != targets
        says.append(member_weight(float(weights @ wrong), float(weights.min()), classes, shrinkage))
        weights = weights * np.exp(says[-1] * wrong)
        weights /= weights.sum()
    return np.array(says), weights


def additive(outputs: Floats, shrinkage: float) -> Floats:
    """The sum of the members after each of them: (M, N, O) to (M, N, O)."""
    total: Floats = shrinkage * outputs.cumsum(0)
    return total
