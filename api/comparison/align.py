"""Bring the runs of a job onto one grid, along steps, epochs, samples or seconds."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.comparison.history import RunHistory, Series
from models.spec.plan import Plan

Axis = Literal["step", "epoch", "samples", "seconds"]

MAX_GRID = 20_000
"""Points of a common grid when the runs' own grids differ."""

Line = tuple[NDArray[np.float64], NDArray[np.float64]]
"""x and y, each (points,), x never falling."""


class Aligned(NamedTuple):
    """Runs on one grid."""

    x: NDArray[np.float64]
    """(P,)"""
    values: NDArray[np.float64]
    """(runs, P); NaN where a run has no finite value."""
    interpolated: bool
    """The runs' own grids differ, so that values lie between recorded ones."""


def along(axis: Axis, run: RunHistory, series: Series, plan: Plan) -> Line:
    """One series with its steps expressed along an axis.

    epoch = step / steps per epoch; samples = step × rows of a batch; seconds = the run's own `train_seconds`,
    interpolated. Points later than the last known second are left out rather than guessed.
    """
    steps = series.steps.astype(np.float64)
    values = np.where(np.isfinite(series.values), series.values, np.nan)
    match axis:
        case "step":
            return steps, values
        case "epoch":
            return steps / plan.steps_per_epoch, values
        case "samples":
            return steps * plan.batch_rows, values
        case "seconds":
            return _along_seconds(run, steps, values)


def _along_seconds(run: RunHistory, steps: NDArray[np.float64], values: NDArray[np.float64]) -> Line:
    clock = run.clock
    if clock is None:
        return np.empty(0), np.empty(0)
    known = steps <= clock.steps[-1]
    return _seconds(clock, steps[known]), values[known]


def seconds_at(run: RunHistory, step: int) -> float | None:
    """How long the run had trained after a step, by its own clock; None later than the clock was read."""
    clock = run.clock
    if clock is None or step > clock.steps[-1]:
        return None
    return float(_seconds(clock, np.array([step], dtype=np.float64))[0])


def _seconds(clock: Series, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    # Training begins at second 0, whatever step the clock was first read at.
    seconds: NDArray[np.float64] = np.interp(steps, np.append(0, clock.steps), np.append(0.0, clock.values))
    return seconds


def align(lines: Sequence[Line]) -> Aligned:
    """Put lines on one grid.

    Runs of one job share their grid, or the beginning of it where one stopped early; then nothing is interpolated. Only
    where grids differ does each line become piecewise linear on the union of them, and nowhere beyond its own ends.
    """
    lines = [line for line in lines if len(line[0])]
    if not lines:
        return Aligned(np.empty(0), np.empty((0, 0)), interpolated=False)
    longest = max((x for x, _ in lines), key=len)
    if all(np.array_equal(x, longest[: len(x)]) for x, _ in lines):
        values = np.full((len(lines), len(longest)), np.nan)
        for row, (_, y) in zip(values, lines, strict=True):
            row[: len(y)] = y
        return Aligned(longest, values, interpolated=False)
    grid = np.unique(np.concatenate([x for x, _ in lines]))
    if len(grid) > MAX_GRID:
        grid = grid[np.linspace(0, len(grid) - 1, MAX_GRID).round().astype(np.int64)]
    values = np.stack([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in lines])
    return Aligned(grid, values, interpolated=True)
