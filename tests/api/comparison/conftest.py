"""Fabricated jobs whose comparison can be worked out by hand."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from api.comparison.history import JobHistory, RunHistory, Series
from models.spec.job import JobSpec

Fabricate = Callable[..., JobHistory]


def fabricate(
    job_id: str,
    values: Mapping[int, Sequence[float]] | Mapping[tuple[int, int], Sequence[float]],
    *,
    every: int = 10,
    name: str | None = None,
    metric: str = "validation_loss",
    endings: Mapping[Any, tuple[str, str | None]] | None = None,
    more: Mapping[str, Sequence[float]] | None = None,
    snapshots: Mapping[str, Sequence[tuple[int, dict[str, Any]]]] | None = None,
    **spec: Any,
) -> JobHistory:
    """A job with one run per seed, or per seed and member: its values at steps 0, every, 2·every, … of a budget of 100.

    `more` holds further metrics that all runs share.
    """
    described = {
        "dataset": "sine",
        "optimizer": "sgd",
        "budget": {"steps": 100},
        "name": job_id if name is None else name,
    }
    runs = []
    for key, column in values.items():
        seed, member = key if isinstance(key, tuple) else (key, 0)
        columns = {metric: column, **(more or {})} if len(column) else {}
        series = {
            which: Series(np.arange(len(points), dtype=np.int64) * every, np.array(points, dtype=np.float64))
            for which, points in columns.items()
        }
        status, reason = (endings or {}).get(key, ("succeeded", None))
        run_id = f"{job_id}-{seed}-{member}" if isinstance(key, tuple) else f"{job_id}-{seed}"
        runs.append(RunHistory(run_id, job_id, seed, status, reason, series, member))
    made = JobSpec.model_validate(described | {"seeds": list(dict.fromkeys(run.seed for run in runs))} | spec)
    return JobHistory(job_id, made.name, made, tuple(runs), snapshots or {})


@pytest.fixture
def make_job() -> Fabricate:
    return fabricate
