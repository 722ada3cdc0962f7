"""Random numbers of the analyses. Runs of one seed draw the same: what they are compared by is paired."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from worker.training.randomness import Member, Purpose, stream


class Draw(IntEnum):
    """What is drawn. The numbers are positions of a stream: never renumber, only add."""

    BOX_START = 0
    SUBSPACE = 1
    ADAPTIVE_START = 2
    LANCZOS_START = 3
    PROBES = 4
    BATCHES = 5
    DIRECTIONS = 6


def generators(members: Sequence[Member], draw: Draw) -> list[np.random.Generator]:
    """One for each run."""
    return [stream(member.seed, Purpose.ANALYSIS, draw) for member in members]


def normals(random: Sequence[np.random.Generator], *shape: int) -> Tensor:
    """Standard normal numbers for each run, (K, *shape)."""
    return torch.from_numpy(np.stack([generator.standard_normal(shape) for generator in random]))


def signs(random: Sequence[np.random.Generator], count: int) -> Tensor:
    """−1 or 1 with equal chances (Rademacher), (K, count)."""
    drawn = np.stack([generator.integers(0, 2, count, np.int8) for generator in random])
    return torch.from_numpy(drawn).double().mul_(2).sub_(1)
