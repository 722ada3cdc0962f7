"""Runs that break their training process, each in its own way, at one step of one seed."""

import ctypes
import os
import time
from collections.abc import Callable
from typing import Any

from worker.training import loop
from worker.training.cohort import Cohort

VARIABLE = "DESCENT_CHAOS_POISON"
SEED, STEP = 5, 200


def break_down() -> None:
    ctypes.string_at(0)


def blow_up() -> None:
    hoard: list[bytearray] = []
    while True:
        hoard.append(bytearray(64 << 20))


def hang() -> None:
    time.sleep(3_600)


POISONS: dict[str, Callable[[], None]] = {"segfault": break_down, "out_of_memory": blow_up, "hung": hang}
"""By the reason that a run must be given."""


def apply() -> None:
    """Poison this process as the environment says; leave it whole where that says nothing."""
    name = os.environ.get(VARIABLE, "")
    if not name:
        return
    healthy = loop._update

    def poisoned(cohort: Cohort, loss: Any, batch: Any, step: int) -> None:
        if step == STEP and any(order._seed == SEED for order in cohort.batches._orders):
            POISONS[name]()
        healthy(cohort, loss, batch, step)

    loop._update = poisoned
