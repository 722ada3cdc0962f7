"""Runs that break their training process, each in its own way, at one step of one seed."""

import ctypes
import math
import os
import time
from collections.abc import Callable
from typing import Any

from worker.training import loop
from worker.training.cohort import Cohort

VARIABLE = "DESCENT_CHAOS_POISON"
SEED, STEP = 5, 200


def break_down(_: Cohort, __: int) -> None:
    ctypes.string_at(0)


def blow_up(_: Cohort, __: int) -> None:
    hoard: list[bytearray] = []
    while True:
        hoard.append(bytearray(64 << 20))


def hang(_: Cohort, __: int) -> None:
    time.sleep(3_600)


def lose_the_numbers(cohort: Cohort, row: int) -> None:
    cohort.gradient[row] = math.nan


POISONS: dict[str, Callable[[Cohort, int], None]] = {
    "segfault": break_down,
    "out_of_memory": blow_up,
    "hung": hang,
    "diverged": lose_the_numbers,
}
"""By the reason that a run must be given: what happens to a cohort because of one of its rows."""


def apply() -> None:
    """Poison this process as the environment says; leave it whole where that says nothing."""
    name = os.environ.get(VARIABLE, "")
    if not name:
        return
    healthy = loop._update

    def poisoned(cohort: Cohort, loss: Any, batch: Any, step: int) -> None:
        if step == STEP:
            for row, order in enumerate(cohort.batches._orders):
                if order._seed == SEED:
                    POISONS[name](cohort, row)
        healthy(cohort, loss, batch, step)

    loop._update = poisoned
