"""What the engine tells its surroundings, and what it lets them tell it. Nothing here knows who listens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Leave(StrEnum):
    """Why a run is asked to leave its cohort before its budget is spent."""

    CANCELLED = "cancelled"
    """Its owner no longer wants it."""
    PAUSED = "paused"
    """Its owner wants it to rest. It is saved first."""
    RELEASED = "released"
    """Its worker is going away; another will train it. It is saved first."""
    LOST = "lost"
    """It is no longer this worker's: write nothing more about it."""


class Result(StrEnum):
    """How a run's training ended by itself."""

    COMPLETED = "completed"
    """Its budget is spent."""
    STOPPED_EARLY = "stopped_early"
    """Early stopping ended it."""
    DIVERGED = "diverged"
    """Its loss became NaN or infinite; the history ends with that step."""
    EXCEEDED = "exceeded"
    """It trained for longer than its budget allows."""


@dataclass(frozen=True)
class Ending:
    """The end of one run inside a cohort."""

    result: Result | Leave
    step: int
    """Steps taken."""
    train_seconds: float
    """Wall time of the cohort's training until this run left it."""
    weights: Mapping[str, NDArray[np.float32]] | None
    """Tensors under torch.nn's names and layouts (`layers.0.weight` is (out, in)); None if the run left or diverged."""
    description: Mapping[str, Any] | None = None
    """What makes raw rows of an uploaded data set the inputs of the weights, and its outputs classes or values."""
    predictions: Mapping[str, NDArray[Any]] | None = None
    """Of the weights, where the evaluation puts several runs together: see `worker.training.predictions`."""


@dataclass(frozen=True)
class Saved:
    """All that R runs need to go on after `step` updates as if they had never stopped.

    What is random, or follows from spec, seed and step, is not in here.
    """

    step: int
    tensors: Mapping[str, NDArray[Any]]
    """By name, each (R, …)."""
    facts: Sequence[Mapping[str, Any]]
    """Of each run, what is no tensor: JSON."""


@dataclass(frozen=True)
class Saving:
    """When a cohort is saved: so often, and one step before its end, so that a larger budget can go on from there."""

    every_seconds: float
    every_steps: int | None = None


@dataclass(frozen=True)
class Mode:
    """How the gradients of a cohort are computed."""

    compiled: bool
    reason: str | None = None
    """Why they are not compiled although the spec asks for it."""


class Reporter(Protocol):
    """Hears about the runs of a cohort. `rows` are positions in the cohort as it began: they never shift."""

    def mode(self, mode: Mode) -> None:
        """Told once, before the first update."""

    def points(self, metric: str, rows: Sequence[int], steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """One metric over a window of steps: `steps` is (W,), `values` is (W, len(rows)). Steps only ever grow."""

    def snapshot(self, row: int, step: int, content: dict[str, Any]) -> None:
        """What one network predicts after `step` steps, as plain JSON values."""

    def saved(self, rows: Sequence[int], saved: Saved) -> None:
        """These runs can go on from here. Whatever they reported up to this step has been told."""

    def ended(self, row: int, ending: Ending) -> None:
        """A run has left the cohort; nothing more is reported about it."""


class Directives(Protocol):
    """Asked between steps, a few times a second; answers which rows have to leave, and why."""

    def __call__(self) -> Mapping[int, Leave]: ...
