"""The life of an analysis: asked for, claimed by a worker together with its like, measured; once, whoever vanishes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select, update
from sqlalchemy.orm import Session

from models import lifecycle, shares
from models.lifecycle import MAX_CRASHES
from models.spec.job import JobSpec, digest
from models.status import RunStatus
from models.tables import Analysis, Job, Owner, Run, TestLook, Worker, new_id, now

SEALED_TEST = "sealed_test"
"""The kind of the measurement on sealed rows. No spec can ask for it: see `open_test`."""

MAX_TOGETHER = 64
"""Runs of one job that are analysed at once."""


@dataclass(frozen=True)
class ClaimedAnalysis:
    """An analysis that a worker now holds, under this attempt, and the run that it is of."""

    id: str
    attempt: int
    run_id: str
    seed: int
    member: int


@dataclass(frozen=True)
class AnalysisClaim:
    """One measurement, to be made of several runs of a job."""

    job_id: str
    spec: JobSpec
    kind: str
    options: dict[str, Any]
    analyses: tuple[ClaimedAnalysis, ...]


# ── whoever asks ─────────────────────────────────────────────────────────────────────────────────


def ask(session: Session, run_ids: Sequence[str], options: Mapping[str, Any], priority: int) -> list[Analysis]:
    """Queue one measurement of each of the runs. One that was asked for before is not made twice, unless it failed."""
    key = digest(options)
    found = {
        row.run_id: row
        for row in session.scalars(
            select(Analysis).where(Analysis.run_id.in_(run_ids), Analysis.digest == key).with_for_update()
        )
    }
    moment = now()
    for run_id in run_ids:
        before = found.get(run_id)
        if before is None:
            found[run_id] = Analysis(
                id=new_id("analysis"),
                run_id=run_id,
                kind=str(options["kind"]),
                options=dict(options),
                digest=key,
                priority=priority,
                status=RunStatus.QUEUED,
                attempt=0,
                crashes=0,
                queued_at=moment,
            )
            session.add(found[run_id])
        elif before.status == RunStatus.FAILED:
            before.status, before.status_detail, before.crashes = RunStatus.QUEUED, None, 0
            before.queued_at, before.finished_at = moment, None
    session.flush()
    return [found[run_id] for run_id in run_ids]


def open_test(session: Session, job: Job, spec: JobSpec, opened_by: str, reason: str) -> TestLook:
    """Put on record that somebody looks at a job's sealed rows, and queue the measurement of its succeeded runs.

    A job that was opened before keeps its record; runs that have succeeded since are measured, too.
    """
    look = session.scalars(select(TestLook).where(TestLook.job_id == job.id)).one_or_none()
    if look is None:
        look = TestLook(
            id=new_id("look"),
            owner=job.owner,
            job_id=job.id,
            job_name=job.name,
            spec_hash=spec.spec_hash,
            experiment=job.experiment,
            dataset_key=digest([spec.dataset.model_dump(mode="json"), spec.evaluation.test]),
            opened_by=opened_by,
            reason=reason,
            opened_at=now(),
        )
        session.add(look)
    runs = session.scalars(select(Run.id).where(Run.job_id == job.id, Run.status == RunStatus.SUCCEEDED)).all()
    ask(session, runs, {"kind": SEALED_TEST}, job.priority)
    return look


# ── a worker's side ──────────────────────────────────────────────────────────────────────────────


def claim(session: Session, worker_id: str, *, beside_runs_on: str | None = None) -> AnalysisClaim | None:
    """Take the analysis that waits first, and the same one of other runs of its job.

    Owners take turns, see `models.shares`. Named a device, it is the turn of those as well for whom only runs wait
    there: then nothing is taken.

    Returns:
        The claim, or None.

    """
    waits_for: ColumnElement[bool] = exists().where(
        Run.id == Analysis.run_id, Run.owner == Owner.name, Analysis.status == RunStatus.QUEUED
    )
    if beside_runs_on is not None:
        waits_for = or_(waits_for, lifecycle.waits_for(beside_runs_on))
    for name in shares.turns(session, waits_for):
        # As in `lifecycle.claim`: nobody holds two owners at once.
        with session.begin_nested() as turn:
            owner = shares.hold(session, name)
            claimed = _claim_of(session, worker_id, name)
            if claimed is not None:
                shares.served(session, owner)
                return claimed
            turn.rollback()
        if beside_runs_on is not None:
            return None
    return None


def _claim_of(session: Session, worker_id: str, owner: str) -> AnalysisClaim | None:
    waiting = select(Analysis).where(Analysis.status == RunStatus.QUEUED)
    head = session.scalars(
        waiting.join(Run, Run.id == Analysis.run_id)
        .where(Run.owner == owner)
        .order_by(Analysis.priority.desc(), Analysis.queued_at, Analysis.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=Analysis)
    ).one_or_none()
    if head is None:
        return None
    run = session.get_one(Run, head.run_id)
    companions = session.scalars(
        waiting.join(Run, Run.id == Analysis.run_id)
        .where(Run.job_id == run.job_id, Analysis.digest == head.digest, Analysis.id != head.id)
        .order_by(Run.position)
        .limit(MAX_TOGETHER - 1)
        .with_for_update(skip_locked=True, of=Analysis)
    ).all()
    taken = [head, *companions]
    runs = {one.id: one for one in session.scalars(select(Run).where(Run.id.in_([row.run_id for row in taken])))}
    taken.sort(key=lambda row: runs[row.run_id].position)
    for row in taken:
        row.status, row.worker_id = RunStatus.RUNNING, worker_id
        row.attempt += 1
    spec = session.scalars(select(Job.spec).where(Job.id == run.job_id)).one()
    return AnalysisClaim(
        run.job_id,
        JobSpec.model_validate(spec),
        head.kind,
        head.options,
        tuple(
            ClaimedAnalysis(row.id, row.attempt, row.run_id, runs[row.run_id].seed, runs[row.run_id].member)
            for row in taken
        ),
    )


def finish(
    session: Session, analysis: ClaimedAnalysis, values: Mapping[str, float | None], details: Mapping[str, Any]
) -> bool:
    """Write down what was measured. False where this attempt no longer holds the analysis."""
    measured = {"values": dict(values), "details": dict(details), "finished_at": now()}
    return _move(session, analysis.id, analysis.attempt, status=RunStatus.SUCCEEDED, **measured)


def fail(session: Session, analysis: ClaimedAnalysis, detail: str) -> bool:
    """Write down why it cannot be measured."""
    return _move(
        session, analysis.id, analysis.attempt, status=RunStatus.FAILED, status_detail=detail, finished_at=now()
    )


def release(session: Session, analysis: ClaimedAnalysis) -> bool:
    """Give it back in good order: what it takes to measure it is away."""
    again = {"status": RunStatus.QUEUED, "worker_id": None, "queued_at": now()}
    return _move(session, analysis.id, analysis.attempt, **again)


# ── the relay's side ─────────────────────────────────────────────────────────────────────────────


def waits(session: Session) -> bool:
    """Whether an analysis waits for a worker."""
    return bool(session.scalar(select(exists().where(Analysis.status == RunStatus.QUEUED))))


def lost(session: Session) -> list[tuple[str, int]]:
    """The analyses whose worker is no longer there, as (id, attempt)."""
    here = exists().where(Worker.id == Analysis.worker_id)
    rows = session.execute(
        select(Analysis.id, Analysis.attempt).where(Analysis.status == RunStatus.RUNNING, ~here).order_by(Analysis.id)
    )
    return [(row.id, row.attempt) for row in rows]


def return_lost(session: Session, analyses: Iterable[tuple[str, int]]) -> None:
    """Queue them again, unless their workers have vanished too often."""
    for analysis_id, attempt in analyses:
        crashes = session.scalar(select(Analysis.crashes).where(Analysis.id == analysis_id)) or 0
        if crashes < MAX_CRASHES:
            again = {"status": RunStatus.QUEUED, "queued_at": now(), "worker_id": None}
        else:
            detail = f"the worker vanished {crashes + 1} times while it was measured"
            again = {"status": RunStatus.FAILED, "status_detail": detail, "finished_at": now()}
        _move(session, analysis_id, attempt, crashes=crashes + 1, **again)


def _move(session: Session, analysis_id: str, attempt: int, **values: Any) -> bool:
    result = session.execute(
        update(Analysis)
        .where(Analysis.id == analysis_id, Analysis.attempt == attempt, Analysis.status == RunStatus.RUNNING)
        .values(**values)
        .returning(Analysis.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Looks:
    """How often sealed rows had been looked at by the time of one look, this one included."""

    of_experiment: int
    at_dataset: int


def looks_until(session: Session, look: TestLook) -> Looks:
    """Count the looks of the same experiment, and those at the same data set."""

    def count(column: Any, value: str) -> int:
        before = (TestLook.opened_at < look.opened_at) | (
            (TestLook.opened_at == look.opened_at) & (TestLook.id <= look.id)
        )
        return session.scalars(select(func.count()).select_from(TestLook).where(column == value, before)).one()

    return Looks(count(TestLook.experiment, look.experiment), count(TestLook.dataset_key, look.dataset_key))
