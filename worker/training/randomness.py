"""Randomness as a pure function of (seed, purpose, position), never of history.

A counter-based generator (Philox, Salmon et al. 2011) makes every draw seekable: nothing random has to be stored to
resume, and contenders with the same seed see the same splits, initial weights and data order: comparisons are paired.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

DATASET_SEED = 0
"""The seed of what belongs to a data set rather than to a run."""

EPOCHS_DRAWN_AT_ONCE = 16
ROWS_DRAWN_AT_ONCE = 65_536
NUMBERS_DRAWN_AT_ONCE = 1 << 20


class Purpose(IntEnum):
    """What a stream is for. The numbers are part of every run's bits: never renumber, only add."""

    TEST_SPLIT = 1
    SPLIT = 2
    INIT = 3
    SHUFFLE = 4
    DROPOUT = 5
    DATA_NOISE = 6


def stream(seed: int, purpose: Purpose, position: int = 0) -> np.random.Generator:
    """The generator for one position; positions are 2¹²⁸ numbers apart, so they never meet."""
    return np.random.Generator(np.random.Philox(key=seed + (int(purpose) << 64), counter=position << 128))


def uniform(seed: int, layer: int, shape: tuple[int, ...], bound: float) -> NDArray[np.float32]:
    """Initial parameters of one layer, uniform on [−bound, bound)."""
    unit = stream(seed, Purpose.INIT, layer).random(shape, dtype=np.float32)
    return np.float32(2 * bound) * unit - np.float32(bound)


class DataOrder:
    """The order in which one run sees its training rows: a fresh permutation every epoch."""

    def __init__(self, seed: int, rows: int) -> None:
        self._seed = seed
        self._rows = rows
        # Several epochs from one generator, because starting one costs as much as a small permutation.
        self._epochs = max(1, min(EPOCHS_DRAWN_AT_ONCE, ROWS_DRAWN_AT_ONCE // rows))
        self._drawn: int | None = None
        self._orders: NDArray[np.int64] = np.empty((0, 0), np.int64)

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """A permutation of the training rows, shape (rows,)."""
        position, offset = divmod(epoch, self._epochs)
        if position != self._drawn:
            in_order = np.broadcast_to(np.arange(self._rows), (self._epochs, self._rows))
            self._orders = stream(self._seed, Purpose.SHUFFLE, position).permuted(in_order, axis=1)
            self._drawn = position
        order: NDArray[np.int64] = self._orders[offset]
        return order


class DropoutMasks:
    """The dropout masks of one run: 0 with its probability p, else 1/(1 − p).

    A unit's fate is 16 random bits, so p is rounded to a multiple of 2⁻¹⁶. The bits do not depend on p: runs of the
    same seed with different p drop nested sets of units.
    """

    def __init__(self, seed: int, probability: float, numbers: int) -> None:
        self._seed = seed
        self._threshold = np.uint16(min(round(probability * 65_536), 65_535))
        self._scale = np.float32(1 / (1 - probability))
        self._numbers = numbers
        self._steps = max(1, min(64, NUMBERS_DRAWN_AT_ONCE // numbers))
        self._drawn: int | None = None
        self._bits: NDArray[np.uint16] = np.empty((0, 0), np.uint16)

    def between(self, first: int, last: int) -> NDArray[np.float32]:
        """The masks of updates `first` … `last` − 1, counted from 0: shape (last − first, numbers)."""
        bits = np.stack([self._step(step) for step in range(first, last)])
        return np.multiply(bits >= self._threshold, self._scale, dtype=np.float32)

    def _step(self, step: int) -> NDArray[np.uint16]:
        position, offset = divmod(step, self._steps)
        if position != self._drawn:
            words = -(-self._numbers // 4)
            raw = stream(self._seed, Purpose.DROPOUT, position).bit_generator.random_raw(self._steps * words)
            self._bits = raw.astype("<u8", copy=False).view("<u2").reshape(self._steps, 4 * words)[:, : self._numbers]
            self._drawn = position
        bits: NDArray[np.uint16] = self._bits[offset]
        return bits
