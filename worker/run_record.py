"""One run of a cohort as its recorder knows it: what is new of it, and what it comes to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from models.lifecycle import ClaimedRun
from models.metric_stream import FROM_NOTHING, Chunk, Cursor, pack
from models.metrics import METRICS
from models.status import RunStatus, StatusReason
from models.tables import Artifact
from worker.training.boundary import Ending, Leave, Result

_ENDINGS: dict[Result | Leave, tuple[RunStatus, StatusReason | None]] = {
    Result.COMPLETED: (RunStatus.SUCCEEDED, None),
    Result.STOPPED_EARLY: (RunStatus.SUCCEEDED, StatusReason.STOPPED_EARLY),
    Result.DIVERGED: (RunStatus.FAILED, StatusReason.DIVERGED),
    Result.EXCEEDED: (RunStatus.FAILED, StatusReason.EXCEEDED_MAX_SECONDS),
    Leave.CANCELLED: (RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER),
}


class Packed(NamedTuple):
    """A chunk on its way."""

    run_id: str
    cursor: Cursor
    payload: bytes


@dataclass
class Best:
    """Last and best of one metric, in the metric's own direction."""

    lower_is_better: bool | None
    last: float = math.nan
    best: float = math.nan
    best_step: int | None = None

    def take(self, steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        self.last = float(values[-1])
        if self.lower_is_better is None or not np.isfinite(values).any():
            return
        index = int(np.nanargmin(values) if self.lower_is_better else np.nanargmax(values))
        value = float(values[index])
        improved = value < self.best if self.lower_is_better else value > self.best
        if math.isnan(self.best) or improved:
            self.best, self.best_step = value, int(steps[index])

    def told(self) -> list[float | int | None]:
        """For a checkpoint: last, best, and the step of the best."""
        return [self.last, self.best, self.best_step]

    def summary(self) -> dict[str, float | int | None]:
        def finite(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {"last": finite(self.last), "best": finite(self.best), "best_step": self.best_step}


@dataclass
class RunRecord:
    """One run of the cohort, as this recorder knows it."""

    run: ClaimedRun
    from_step: int = FROM_NOTHING
    """The step from which it goes on."""
    next_number: int = 0
    step: int = 0
    columns: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = field(default_factory=dict)
    unsaved: list[Packed] = field(default_factory=list)
    """Chunks that are not yet in SQL."""
    unsent: list[Packed] = field(default_factory=list)
    """Chunks that were not yet offered to Redis."""
    snapshots: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    best: dict[str, Best] = field(default_factory=dict)
    ending: Ending | None = None
    failure: tuple[StatusReason, str] | None = None
    """Why it fails although the engine was content with it."""
    is_whole: bool = False
    """Its last chunk is packed."""
    artifacts: list[Artifact] | None = None
    """The files that it leaves, once they are stored."""
    done: bool = False
    """Its ending is written, or it is somebody else's: nothing more is."""

    @classmethod
    def of(cls, run: ClaimedRun, resume_step: int, summary: Mapping[str, Any]) -> Self:
        """A run that begins, or goes on from a step with what its history comes to so far."""
        record = cls(run, resume_step or FROM_NOTHING, step=resume_step)
        for metric, told in summary.items():
            record.best[metric] = Best(_lower_is_better(metric), *told)
        return record

    def told(self) -> dict[str, Any]:
        """For a checkpoint: what its history comes to so far."""
        return {metric: best.told() for metric, best in self.best.items()}

    def take(self, metric: str, steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        self.columns.setdefault(metric, []).append((steps, values))
        self.step = max(self.step, int(steps[-1]))
        self.best.setdefault(metric, Best(_lower_is_better(metric))).take(steps, values)

    def pack(self, end: RunStatus | None = None) -> None:
        """Turn the columns at hand into the next chunk."""
        cursor = Cursor(self.run.attempt, self.next_number)
        columns = {
            metric: (np.concatenate([s for s, _ in parts]), np.concatenate([v for _, v in parts]))
            for metric, parts in self.columns.items()
        }
        from_step = self.from_step if cursor.number == 0 else None
        packed = Packed(self.run.id, cursor, pack(Chunk(cursor, columns, from_step=from_step, end=end)))
        self.columns = {}
        self.next_number += 1
        self.unsaved.append(packed)
        self.unsent.append(packed)

    def pack_rest(self) -> None:
        """Pack what was told since the last chunk; once, with the ending in it, if there is one."""
        status = self.status()
        if status is not None and not self.is_whole:
            self.pack(end=status[0])
            self.is_whole = True
        elif self.columns:
            self.pack()

    def status(self) -> tuple[RunStatus, StatusReason | None] | None:
        """How the run ends; None while it trains, and where it goes on elsewhere."""
        if self.failure is not None:
            return RunStatus.FAILED, self.failure[0]
        return _ENDINGS.get(self.ending.result) if self.ending else None

    def summary(self) -> dict[str, Any]:
        return {metric: best.summary() for metric, best in self.best.items()}


def _lower_is_better(metric: str) -> bool | None:
    better = METRICS[metric].better
    return None if better is None else better == "lower"
