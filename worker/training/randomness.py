"""Randomness as a pure function of (seed, purpose, position), never of history.

A counter-based generator (Philox, Salmon et al. 2011) makes every draw seekable: nothing random has to be stored to
resume, and contenders with the same seed see the same splits, initial weights and data order: comparisons are paired.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

D = TypeVar("D", bound=np.generic)

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
    INPUT_NOISE = 7
    WEIGHT_NOISE = 8
    MIX_PARTNERS = 9
    MIX_SHARES = 10
    LABEL_NOISE = 11
    RESAMPLE = 12
    AUGMENT = 13
    CUT = 14
    ANALYSIS = 15


@dataclass(frozen=True)
class Member:
    """One of the runs of a seed: a fold, a replicate, a member of an ensemble. A holdout has number 0 alone."""

    seed: int
    number: int = 0

    @property
    def key(self) -> int:
        """The seed of what each member draws for itself: its first weights, order, masks and noise."""
        return self.seed + (self.number << 32)


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


class StepDraws(ABC, Generic[D]):
    """What one run draws for each of its updates; several updates from one generator, as starting one costs."""

    def __init__(self, seed: int, purpose: Purpose, numbers: int) -> None:
        self._seed = seed
        self._purpose = purpose
        self._numbers = numbers
        self._steps = max(1, min(64, NUMBERS_DRAWN_AT_ONCE // numbers))
        self._position: int | None = None
        self._drawn: NDArray[D]

    @abstractmethod
    def _draw(self, generator: np.random.Generator, steps: int) -> NDArray[D]:
        """Draw for so many updates: (steps, numbers)."""

    def at(self, step: int) -> NDArray[D]:
        """The numbers of update `step`, counted from 0: (numbers,)."""
        position, offset = divmod(step, self._steps)
        if position != self._position:
            self._drawn = self._draw(stream(self._seed, self._purpose, position), self._steps)
            self._position = position
        drawn: NDArray[D] = self._drawn[offset]
        return drawn

    def between(self, first: int, last: int) -> NDArray[D]:
        """The numbers of updates `first` … `last` − 1, counted from 0: (last − first, numbers)."""
        return np.stack([self.at(step) for step in range(first, last)])


class DropoutBits(StepDraws[np.uint16]):
    """16 random bits for each unit."""

    def _draw(self, generator: np.random.Generator, steps: int) -> NDArray[np.uint16]:
        words = -(-self._numbers // 4)
        raw = generator.bit_generator.random_raw(steps * words)
        return raw.astype("<u8", copy=False).view("<u2").reshape(steps, 4 * words)[:, : self._numbers]


class DropoutMasks:
    """The dropout masks of one run: 0 with its probability p, else 1/(1 − p).

    A unit's fate is 16 random bits, so p is rounded to a multiple of 2⁻¹⁶. The bits do not depend on p: runs of the
    same seed with different p drop nested sets of units.
    """

    def __init__(self, seed: int, probability: float, numbers: int) -> None:
        self._bits = DropoutBits(seed, Purpose.DROPOUT, numbers)
        self._threshold = np.uint16(min(round(probability * 65_536), 65_535))
        self._scale = np.float32(1 / (1 - probability))

    def between(self, first: int, last: int) -> NDArray[np.float32]:
        """The masks of updates `first` … `last` − 1, counted from 0: shape (last − first, numbers)."""
        return np.multiply(self._bits.between(first, last) >= self._threshold, self._scale, dtype=np.float32)


class Normals(StepDraws[np.float32]):
    """Standard normal numbers: runs of the same seed with different strengths of noise see it in the same direction."""

    def _draw(self, generator: np.random.Generator, steps: int) -> NDArray[np.float32]:
        return generator.standard_normal((steps, self._numbers), dtype=np.float32)


class Uniforms(StepDraws[np.float64]):
    """Numbers uniform on [0, 1)."""

    def _draw(self, generator: np.random.Generator, steps: int) -> NDArray[np.float64]:
        return generator.random((steps, self._numbers))


class MixPartners(StepDraws[np.int64]):
    """For each row of a batch the row of that batch with which it is mixed: a permutation."""

    def __init__(self, seed: int, rows: int) -> None:
        super().__init__(seed, Purpose.MIX_PARTNERS, rows)

    def _draw(self, generator: np.random.Generator, steps: int) -> NDArray[np.int64]:
        in_order = np.broadcast_to(np.arange(self._numbers), (steps, self._numbers))
        return generator.permuted(in_order, axis=1)


class MixShares(StepDraws[np.float32]):
    """The partner's share 1 − λ in each batch, from Beta(α, α)."""

    def __init__(self, seed: int, alpha: float) -> None:
        super().__init__(seed, Purpose.MIX_SHARES, 1)
        self._alpha = alpha

    def _draw(self, generator: np.random.Generator, steps: int) -> NDArray[np.float32]:
        return (1 - generator.beta(self._alpha, self._alpha, (steps, 1))).astype(np.float32)
