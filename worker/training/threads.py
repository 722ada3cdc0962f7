"""How the processor computes: on how many threads, and what it does with numbers too small to matter."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

NUMBERS_A_THREAD = 1 << 15
"""The least that an elementwise kernel gives a thread."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads; afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def use_threads(count: int) -> None:
    """Compute on so many threads from now on, and start them.

    Threads inherit how the one that starts them treats subnormal numbers, so whatever is computed first must not start
    them: a network trained later would have other bits.
    """
    torch.set_num_threads(count)
    with flushing_subnormals():
        pass


@contextmanager
def flushing_subnormals() -> Iterator[None]:
    """Take subnormal numbers for zeros, if every thread does: a run may move from one to another.

    A unit of ReLUs that has died has a gradient of zero, and the running averages of an optimizer shrink towards it
    until they are subnormal, below 1.2e-38, where a processor takes many times as long.
    """
    here = _are_zeros(1)
    torch.set_flush_denormal(True)
    everywhere = subnormals_are_zeros()
    torch.set_flush_denormal(everywhere)
    try:
        yield
    finally:
        torch.set_flush_denormal(here)


def subnormals_are_zeros() -> bool:
    """Whether every thread takes subnormal numbers for zeros."""
    return _are_zeros(NUMBERS_A_THREAD * torch.get_num_threads())


def _are_zeros(count: int) -> bool:
    halves = torch.full((count,), torch.finfo(torch.float32).tiny) / 2
    # By their bits: to compare a subnormal number with zero is to take it for one, or not.
    return not torch.count_nonzero(halves.view(torch.int32))


# A thread inherits this from the one that starts it, so the engine starts them; where this process has started them
# before, none takes subnormal numbers for zeros.
with flushing_subnormals():
    pass
