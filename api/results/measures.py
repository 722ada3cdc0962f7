"""How good predictions are: the accuracy of classes, the mean squared error of values."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from api.results.predictions import Floats, Predictions

Measure = Literal["accuracy", "mean_squared_error"]


def of_rows(outputs: Floats, targets: NDArray[Any], measure: Measure) -> Floats:
    """For each row whether it is right, 1 or 0, or its squared error: (…, R, O) and (R,) to (…, R)."""
    if measure == "accuracy":
        right: Floats = (outputs.argmax(-1) == targets).astype(np.float64)
        return right
    errors: Floats = (outputs[..., 0] - targets) ** 2
    return errors


def stacked(members: Sequence[Predictions]) -> Floats:
    """The outputs of all members, (M, R, O)."""
    return np.stack([member.outputs for member in members])


def votes(outputs: Floats) -> Floats:
    """For each member 1 at the class that it takes for the likeliest: (M, R, C)."""
    cast: Floats = np.eye(outputs.shape[-1])[outputs.argmax(-1)]
    return cast
