"""The predictions of one run, as its worker stored them."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """What a network says of the R rows that it may see, in the order of their numbers."""

    run_id: str
    member: int
    outputs: Floats
    """(R, O): class probabilities, or values in their own units."""
    targets: NDArray[Any]
    """(R,): classes, or values."""
    drawn: NDArray[Any]
    """(R,): how often the run trained on the row."""
    validates: NDArray[np.bool_]
    """(R,): whether the row validates; the others are those that may train."""
    truth: Floats | None
    """(R,): values without noise, where the data set knows them."""

    @classmethod
    def read(cls, run_id: str, member: int, content: bytes) -> Self:
        """From the bytes of the artifact."""
        stored = load(content)
        return cls(
            run_id,
            member,
            stored["outputs"].astype(np.float64),
            stored["targets"],
            stored["drawn"],
            stored["validates"].astype(np.bool_),
            stored.get("truth"),
        )
