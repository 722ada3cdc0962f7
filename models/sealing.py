"""Which rows are sealed away: decided by the number of rows alone, before anybody looks at them."""

import numpy as np
from numpy.typing import NDArray

_SEED, _PURPOSE = 0, 1
"""Key of the stream, as `worker.training.randomness` numbers them."""


def sealing_order(rows: int) -> NDArray[np.int64]:
    """Row numbers in the order in which they are sealed: a spec that seals n rows seals the first n of these."""
    draws = np.random.Generator(np.random.Philox(key=_SEED + (_PURPOSE << 64)))
    return draws.permutation(rows)
