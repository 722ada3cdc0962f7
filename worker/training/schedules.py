"""The learning rate of every update: the optimizer's, times a factor that is a pure function of the step."""

from collections.abc import Sequence
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from models.spec.optimizers import Optimizer
from models.spec.plan import Plan
from models.spec.schedules import Constant, Cosine, Exponential, OneCycle, Schedule, StepDecay, Warmup

Values = NDArray[np.float64]


class Rates:
    """The learning rates of K runs, at any of their updates."""

    def __init__(self, optimizers: Sequence[Optimizer], schedules: Sequence[Schedule], work: Plan) -> None:
        self._optimizers = list(optimizers)
        self._schedules = list(schedules)
        self._work = work

    def at(self, steps: Values) -> Values:
        """The rates (S, K) of these updates, (S, 1), counted from 1."""
        rates = np.array([optimizer.learning_rate for optimizer in self._optimizers], np.float64)
        return rates * factors(self._schedules, steps, self._work)

    def alike(self) -> list[tuple[int, int]]:
        """First and last + 1 of neighbouring runs whose optimizer and schedule are the same."""
        pairs = list(zip(self._optimizers, self._schedules, strict=True))
        starts = [k for k in range(len(pairs)) if k == 0 or pairs[k] != pairs[k - 1]]
        return list(zip(starts, [*starts[1:], len(pairs)], strict=True))

    def select(self, columns: Sequence[int]) -> "Rates":
        """The rates of some of the runs."""
        return Rates([self._optimizers[k] for k in columns], [self._schedules[k] for k in columns], self._work)


def factors(schedules: Sequence[Schedule], steps: Values, work: Plan) -> Values:
    """Factors (S, K) on the learning rates of these updates, (S, 1), counted from 1; `schedules` are of one kind."""

    def each(name: str) -> Values:
        return np.array([getattr(schedule, name) for schedule in schedules], np.float64)

    head, done = schedules[0], steps - 1
    match head:
        case Constant():
            return np.ones((len(steps), len(schedules)))
        case Warmup():
            start = each("start_factor")
            return start + (1 - start) * np.minimum(done / each("steps"), 1)
        case StepDecay():
            return each("gamma") ** (done // each("every_steps"))
        case Exponential():
            return each("gamma") ** (done // work.steps_per_epoch)
        case Cosine():
            return _half_cosine(1.0, each("minimum_factor"), done / work.steps)
        case OneCycle():
            return _one_cycle(each("warmup_fraction"), each("initial_divisor"), each("final_divisor"), done, work.steps)
        case _:
            assert_never(head)


def _one_cycle(fraction: Values, initial: Values, final: Values, done: Values, steps: int) -> Values:
    """Up from 1 / initial to 1 with the last update of that fraction, down to 1 / (initial · final) with the last."""
    peak, end = fraction * steps - 1, steps - 1
    # A phase without a length has no share to be worked out: of none, the whole is over.
    up = np.divide(done, peak, out=np.ones(np.broadcast_shapes(done.shape, peak.shape)), where=peak > 0)
    length = end - peak
    down = np.divide(done - peak, length, out=np.ones(up.shape), where=length > 0)
    return np.where(done <= peak, _half_cosine(1 / initial, 1.0, up), _half_cosine(1.0, 1 / (initial * final), down))


def _half_cosine(first: Values | float, last: Values | float, share: Values) -> Values:
    """From the first to the last along half a cosine."""
    values: Values = last + (first - last) / 2 * (1 + np.cos(np.pi * share))
    return values
