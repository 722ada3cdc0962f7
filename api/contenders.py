"""The jobs of a comparison, fetched from SQL: which, with what histories, and whether anything has changed since."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.comparison.history import JobHistory, RunHistory, Series
from api.comparison.result import Claim, Score
from api.errors import NOT_FOUND, Refusal, invalid
from api.measurements import measurements_mark
from models.metric_stream import whole_columns
from models.spec.job import JobSpec
from models.status import TERMINAL
from models.tables import Job, MetricSegment, Run, Snapshot, Sweep

MAX_JOBS = 100
MAX_RUNS = 2_000


class Chosen(NamedTuple):
    """A job, as far as it takes to tell whether it has changed."""

    id: str
    version: int


class Identified(Protocol):
    @property
    def id(self) -> str: ...


def chosen_jobs(session: Session, job_ids: Sequence[str], experiment: str | None, sweep_id: str | None) -> list[Chosen]:
    """The jobs that a comparison names, in the order named; those of an experiment or a sweep by age.

    Raises:
        Refusal: unless exactly one of the three ways names some jobs, all of which exist, and not too many.

    """
    if sum((bool(job_ids), experiment is not None, sweep_id is not None)) != 1:
        raise invalid("?job", "contradiction", "name what to compare in one way: by job, by experiment, or by sweep")
    briefly = select(Job.id, Job.version)
    if job_ids:
        found = {row.id: row for row in session.execute(briefly.where(Job.id.in_(job_ids[: MAX_JOBS + 1])))}
        for job_id in job_ids[: MAX_JOBS + 1]:
            if job_id not in found:
                raise Refusal(NOT_FOUND, f"there is no job {job_id}")
        rows = [found[job_id] for job_id in job_ids[: MAX_JOBS + 1]]
    else:
        condition = Job.experiment == experiment if experiment is not None else Job.sweep_id == sweep_id
        if sweep_id is not None and session.get(Sweep, sweep_id) is None:
            raise Refusal(NOT_FOUND, f"there is no sweep {sweep_id}")
        rows = list(session.execute(briefly.where(condition).order_by(Job.created_at, Job.id).limit(MAX_JOBS + 1)))
        if not rows:
            raise Refusal(NOT_FOUND, f"there is no job of {'the sweep' if sweep_id else f'experiment {experiment!r}'}")
    if len(rows) > MAX_JOBS:
        raise invalid("?job", "too_many", f"a comparison has at most {MAX_JOBS} jobs")
    return [Chosen(row.id, row.version) for row in rows]


def fingerprint(session: Session, jobs: Sequence[Chosen]) -> str:
    """A text that changes whenever anything that a comparison of these jobs tells may have changed.

    Raises:
        Refusal: if they have too many runs to compare.

    """
    ids = [job.id for job in jobs]
    runs = session.execute(
        select(Run.id, Run.status, Run.status_reason, Run.attempt)
        .where(Run.job_id.in_(ids))
        .order_by(Run.id)
        .limit(MAX_RUNS + 1)
    ).all()
    if len(runs) > MAX_RUNS:
        raise invalid("?job", "too_many", f"a comparison has at most {MAX_RUNS:,} runs, and these jobs have more")
    ends: dict[str, int] = {}
    if any(run.status not in TERMINAL for run in runs):
        told = (
            select(MetricSegment.run_id, func.max(MetricSegment.last_number))
            .join(Run, (Run.id == MetricSegment.run_id) & (Run.attempt == MetricSegment.attempt))
            .where(Run.job_id.in_(ids), Run.status.not_in(TERMINAL))
            .group_by(MetricSegment.run_id)
        )
        ends = dict(session.execute(told).all())
    states = [f"{run.id} {run.status} {run.status_reason} {run.attempt} {ends.get(run.id)}" for run in runs]
    return "\n".join([*(f"{job.id} {job.version}" for job in jobs), *states, measurements_mark(session, ids)])


def job_histories(
    session: Session, jobs: Sequence[Identified], names: Collection[str] | None = None, *, with_snapshots: bool = False
) -> list[JobHistory]:
    """The jobs with their runs' series, of all metrics or the named ones."""
    ids = [job.id for job in jobs]
    described = {row.id: row for row in session.execute(select(Job.id, Job.name, Job.spec).where(Job.id.in_(ids)))}
    runs = session.execute(
        select(Run.id, Run.job_id, Run.seed, Run.member, Run.status, Run.status_reason)
        .where(Run.job_id.in_(ids))
        .order_by(Run.job_id, Run.position)
    ).all()
    series = _series(session, [run.id for run in runs], names)
    snapshots: dict[str, list[tuple[int, dict[str, object]]]] = {}
    if with_snapshots:
        rows = session.scalars(
            select(Snapshot).join(Run, Run.id == Snapshot.run_id).where(Run.job_id.in_(ids)).order_by(Snapshot.step)
        )
        for row in rows:
            snapshots.setdefault(row.run_id, []).append((row.step, row.content))
    by_job = {
        job_id: tuple(
            RunHistory(
                run_id=run.id,
                job_id=job_id,
                seed=run.seed,
                status=run.status,
                status_reason=run.status_reason,
                series=series.get(run.id, {}),
                member=run.member,
            )
            for run in group
        )
        for job_id, group in groupby(runs, key=lambda run: run.job_id)
    }
    return [
        JobHistory(
            job_id=job.id,
            name=described[job.id].name,
            spec=JobSpec.model_validate(described[job.id].spec),
            runs=by_job.get(job.id, ()),
            snapshots={run.run_id: snapshots[run.run_id] for run in by_job.get(job.id, ()) if run.run_id in snapshots},
        )
        for job in jobs
    ]


def _series(session: Session, run_ids: Sequence[str], names: Collection[str] | None) -> dict[str, dict[str, Series]]:
    """By run, by metric."""
    rows = session.execute(
        select(MetricSegment.run_id, MetricSegment.payload)
        .where(MetricSegment.run_id.in_(run_ids))
        .order_by(MetricSegment.run_id, MetricSegment.attempt, MetricSegment.first_number)
    )
    return {
        run_id: {
            name: Series(steps.astype(np.int64), values.astype(np.float64))
            for name, (steps, values) in whole_columns([payload for _, payload in segments], names).items()
        }
        for run_id, segments in groupby(rows, key=lambda row: row.run_id)
    }


def read_claim(text: str, jobs: Sequence[JobHistory], score: Score) -> Claim:
    """Read `A<B`: A is said to do better than B, each named by id or by a name that only one of the jobs has.

    Raises:
        Refusal: if it cannot be read in exactly one way.

    """
    readings = []
    for position in (index for index, character in enumerate(text) if character == "<"):
        better, worse = (_named(side.strip(), jobs) for side in (text[:position], text[position + 1 :]))
        if better and worse:
            readings.append(Claim(better=better, worse=worse, score=score))
    if len(readings) != 1:
        raise invalid(
            "?claim", "not_a_claim", f'"{text[:200]}" is no claim "A<B" of two of these jobs, by id or by unique name'
        )
    return readings[0]


def read_baseline(text: str, jobs: Sequence[JobHistory]) -> str:
    """Read a job's id or unique name.

    Raises:
        Refusal: if it names none of the jobs, or several.

    """
    job_id = _named(text, jobs)
    if job_id is None:
        raise invalid(
            "?baseline", "not_a_job", f'"{text[:200]}" is neither the id nor the unique name of one of these jobs'
        )
    return job_id


def _named(text: str, jobs: Sequence[JobHistory]) -> str | None:
    named = [job.job_id for job in jobs if text in job.job_ids]
    named = named or [job.job_id for job in jobs if text and text == job.name]
    return named[0] if len(named) == 1 else None
