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
    values: Mapping[int, Sequence[float]],
    *,
    every: int = 10,
    name: str | None = None,
    metric: str = "validation_loss",
    endings: Mapping[int, tuple[str, str | None]] | None = None,
    more: Mapping[str, Sequence[float]] | None = None,
    snapshots: Mapping[str, Sequence[tuple[int, dict[str, Any]]]] | None = None,
    **spec: Any,
) -> JobHistory:
    """A job with one run per seed: its values at steps 0, every, 2·every, … of a budget of 100 steps.

    `more` holds further metrics that all runs share.
    """
    described = {
        "dataset": "sine",
        "optimizer": "sgd",
        "budget": {"steps": 100},
        "name": job_id if name is None else name,
    }
    runs = []
    for seed, column in values.items():
        columns = {metric: column, **(more or {})} if len(column) else {}
        series = {
            which: Series(np.arange(len(points), dtype=np.int64) * every, np.array(points, dtype=np.float64))
            for which, points in columns.items()
        }
        status, reason = (endings or {}).get(seed, ("succeeded", None))
        runs.append(RunHistory(f"{job_id}-{seed}", job_id, seed, status, reason, series))
    made = JobSpec.model_validate(described | {"seeds": list(values)} | spec)
    return JobHistory(job_id, made.name, made, tuple(runs), snapshots or {})


@pytest.fixture
def make_job() -> Fabricate:
    return fabricate
