"""What a comparison looks at: jobs, their runs, and what the runs wrote down."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec.job import JobSpec, digest
from models.spec.plan import Plan, plan
from models.status import TERMINAL, RunStatus, StatusReason

CLOCK = "train_seconds"
"""The metric that tells the time."""


class ComparisonError(ValueError):
    """What was asked cannot be compared; the message says why, for people."""


@dataclass(frozen=True, eq=False)
class Series:
    """The points of one metric of one run, by growing step; a value may be NaN or infinite."""

    steps: NDArray[np.int64]
    """(points,)"""
    values: NDArray[np.float64]
    """(points,)"""


@dataclass(frozen=True, eq=False)
class RunHistory:
    """One network trained once."""

    run_id: str
    job_id: str
    seed: int
    status: str
    status_reason: str | None
    series: Mapping[str, Series]
    member: int = 0
    """Which of the runs of its seed: a fold, a replicate, a member of an ensemble; 0 for a holdout."""

    @property
    def diverged(self) -> bool:
        return self.status_reason == StatusReason.DIVERGED

    @property
    def succeeded(self) -> bool:
        return self.status == RunStatus.SUCCEEDED

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def clock(self) -> Series | None:
        """Seconds trained by step, where they were read at all."""
        clock = self.series.get(CLOCK)
        return clock if clock is not None and len(clock.steps) else None

    @property
    def total_seconds(self) -> float | None:
        return None if self.clock is None else float(self.clock.values[-1])


@dataclass(frozen=True, eq=False)
class JobHistory:
    """One contender: a spec and the runs that trained it, of one job or of several that differ in seeds alone."""

    job_id: str
    """Of the first job."""
    name: str
    spec: JobSpec
    runs: tuple[RunHistory, ...]
    snapshots: Mapping[str, Sequence[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    """By run id: (step, content), where content is what the network predicted after that step."""
    more_jobs: tuple[str, ...] = ()
    """Ids of the other jobs whose runs stand here."""

    @property
    def job_ids(self) -> list[str]:
        return [self.job_id, *self.more_jobs]

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @cached_property
    def canonical(self) -> dict[str, Any]:
        return self.spec.canonical()

    @cached_property
    def spec_hash(self) -> str:
        return digest(self.canonical)

    @cached_property
    def plan(self) -> Plan:
        return plan(self.spec)


def check_jobs(jobs: Sequence[JobHistory]) -> None:
    """Refuse jobs that cannot stand side by side.

    Raises:
        ComparisonError: if there is no job, or a job stands twice.

    """
    if not jobs:
        raise ComparisonError("there is no job to compare")
    for job_id, count in Counter(job_id for job in jobs for job_id in job.job_ids).items():
        if count > 1:
            raise ComparisonError(f"job {job_id} stands {count} times in the comparison: name each job once")


def labels(jobs: Sequence[JobHistory]) -> dict[str, str]:
    """What to call each job, by its id: its name, with the id where the name is empty or shared."""
    names = Counter(job.name for job in jobs)
    return {
        job.job_id: job.job_id if not job.name else job.name if names[job.name] == 1 else f"{job.name} ({job.job_id})"
        for job in jobs
    }
