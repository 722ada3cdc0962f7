"""What a comparison looks at: jobs, their runs, and what the runs wrote down."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec.job import JobSpec
from models.status import TERMINAL, RunStatus, StatusReason


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


@dataclass(frozen=True, eq=False)
class JobHistory:
    """One contender: a spec and the runs that trained it."""

    job_id: str
    name: str
    spec: JobSpec
    runs: tuple[RunHistory, ...]
    snapshots: Mapping[str, Sequence[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    """By run id: (step, content), where content is what the network predicted after that step."""

    @property
    def seeds(self) -> list[int]:
        return sorted(run.seed for run in self.runs)


def check_jobs(jobs: Sequence[JobHistory]) -> None:
    """Refuse jobs that cannot stand side by side.

    Raises:
        ComparisonError: if there is no job, a job stands twice, or a job has two runs of one seed.

    """
    if not jobs:
        raise ComparisonError("there is no job to compare")
    for job_id, count in Counter(job.job_id for job in jobs).items():
        if count > 1:
            raise ComparisonError(f"job {job_id} stands {count} times in the comparison: name each job once")
    for job in jobs:
        for seed, count in Counter(job.seeds).items():
            if count > 1:
                raise ComparisonError(
                    f"job {job.job_id} has {count} runs of seed {seed}, and pairs need one run a seed, as runs that "
                    f"share their rows are not independent: see /v1/jobs/{job.job_id}/results for what they come to"
                )


def labels(jobs: Sequence[JobHistory]) -> dict[str, str]:
    """What to call each job, by its id: its name, with the id where the name is empty or shared."""
    names = Counter(job.name for job in jobs)
    return {
        job.job_id: job.job_id if not job.name else job.name if names[job.name] == 1 else f"{job.name} ({job.job_id})"
        for job in jobs
    }
