"""Every change of a run's status, as compare-and-set.

A change names the status and attempt that it expects; where no row matches, somebody else was first and nothing
happens. `attempt` is the fencing token: a worker that lost its run cannot write over its successor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from models.spec.job import JobSpec
from models.spec.plan import Plan
from models.status import LIVE, TRANSITIONS, RunStatus, StatusReason
from models.tables import Artifact, Cohort, Job, MetricSegment, Run, Snapshot, Worker, new_id, now

MAX_CRASHES = 3
"""How often a run is trained again after its worker vanished."""

CLAIMABLE = {device: ("auto", device) for device in ("cpu", "cuda", "mps")}
"""Which wishes a worker of each device can serve."""


class IllegalAction(Exception):
    """The job's status does not allow this action; `legal` lists what it does allow."""

    def __init__(self, message: str, legal: Sequence[str]) -> None:
        super().__init__(message)
        self.legal = list(legal)


def submit(
    session: Session, spec: JobSpec, plan: Plan, *, sweep_id: str | None = None, dataset_id: str | None = None
) -> Job:
    """Store a job and its runs as queued. The queued row itself is the outbox: the relay sees it and wakes workers."""
    moment = now()
    job = Job(
        id=new_id("job"),
        name=spec.name,
        experiment=spec.experiment,
        tags=list(spec.tags),
        notes=spec.notes,
        priority=spec.priority,
        spec=spec.model_dump(mode="json"),
        spec_hash=spec.spec_hash,
        sweep_id=sweep_id,
        dataset_id=dataset_id,
        created_at=moment,
        version=1,
    )
    cohort_key = spec.cohort_key
    # Born in the same millisecond: sorted, so that they wait in the order of their seeds.
    ids = sorted(new_id("run") for _ in spec.runs)
    chained = spec.evaluation.one_after_another
    job.runs = [
        Run(
            id=ids[position],
            position=position,
            seed=seed,
            member=member,
            waits_for=ids[position - 1] if chained and member else None,
            device=spec.device,
            priority=spec.priority,
            cohort_key=cohort_key,
            status=RunStatus.QUEUED,
            attempt=0,
            crashes=0,
            heartbeat=0,
            queued_at=moment,
            step=0,
            total_steps=plan.steps,
        )
        for position, (seed, member) in enumerate(spec.runs)
    ]
    session.add(job)
    return job


def ready() -> ColumnElement[bool]:
    """Of a run: it waits, and for nothing but a worker."""
    before = aliased(Run)
    succeeded = exists().where(before.id == Run.waits_for, before.status == RunStatus.SUCCEEDED)
    return and_(Run.status == RunStatus.QUEUED, or_(Run.waits_for.is_(None), succeeded))


# ── a worker's side ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ClaimedRun:
    """A run that a worker now holds, under this attempt."""

    id: str
    seed: int
    attempt: int
    spec: JobSpec
    job_id: str = ""
    member: int = 0


@dataclass(frozen=True)
class Claim:
    """The runs that will train together."""

    cohort_id: str
    runs: tuple[ClaimedRun, ...]


def claim(
    session: Session, worker_id: str, device: str, limit: Callable[[JobSpec], int], *, fewest: int | None = None
) -> Claim | None:
    """Take the head of the queue and the runs that can share its cohort.

    The head is the run of highest priority, then of greatest age. Runs compatible with it join across jobs, in the
    same order, until there are `limit(spec)` of them. With `fewest`, idle workers of this device are left their share,
    as long as every cohort has so many runs. What they wrote under an earlier attempt is superseded.

    Returns:
        The claim, or None where nothing waits for this device.

    """
    waiting = select(Run).where(ready(), Run.device.in_(CLAIMABLE[device]))
    order = (Run.priority.desc(), Run.queued_at, Run.id)
    head = session.scalars(waiting.order_by(*order).limit(1).with_for_update(skip_locked=True, of=Run)).one_or_none()
    if head is None:
        return None
    specs: dict[str, JobSpec] = {head.job_id: _spec_of(session, head.job_id)}
    size = max(1, limit(specs[head.job_id]))
    if fewest is not None and size > fewest:
        size = max(fewest, _share(session, worker_id, device, head.cohort_key, size))
    companions = session.scalars(
        waiting.where(Run.cohort_key == head.cohort_key, Run.id != head.id)
        .order_by(*order)
        .limit(size - 1)
        .with_for_update(skip_locked=True, of=Run)
    ).all()
    runs = [head, *companions]
    for run in companions:
        if run.job_id not in specs:
            specs[run.job_id] = _spec_of(session, run.job_id)
    cohort = Cohort(id=new_id("cohort"), worker_id=worker_id, size=len(runs), created_at=now())
    session.add(cohort)
    session.flush()
    ids = [run.id for run in runs]
    session.execute(delete(MetricSegment).where(MetricSegment.run_id.in_(ids)))
    session.execute(delete(Snapshot).where(Snapshot.run_id.in_(ids)))
    for run in runs:
        run.status = RunStatus.RUNNING
        run.status_reason = run.status_detail = None
        run.attempt += 1
        run.heartbeat = 0
        run.worker_id, run.cohort_id = worker_id, cohort.id
        run.started_at = cohort.created_at
        run.step, run.summary, run.train_seconds = 0, None, None
    return Claim(
        cohort.id, tuple(ClaimedRun(r.id, r.seed, r.attempt, specs[r.job_id], r.job_id, r.member) for r in runs)
    )


def _share(session: Session, worker_id: str, device: str, cohort_key: str, most: int) -> int:
    """How many of the waiting runs that fit together each idle worker would get, this one included; at most `most`."""
    others = select(func.count()).where(Worker.device == device, Worker.id != worker_id, ~Worker.busy)
    idle = 1 + session.scalars(others).one()
    if idle == 1:
        return most
    fitting = select(Run.id).where(ready(), Run.device.in_(CLAIMABLE[device]), Run.cohort_key == cohort_key)
    # Counted no further than it matters: a sweep may have left thousands.
    waiting = select(func.count()).select_from(fitting.limit(most * idle).subquery())
    return ceil(session.scalars(waiting).one() / idle)


def _spec_of(session: Session, job_id: str) -> JobSpec:
    return JobSpec.model_validate(session.scalars(select(Job.spec).where(Job.id == job_id)).one())


def held(session: Session, cohort_id: str) -> dict[str, RunStatus]:
    """The runs that this cohort still holds, and whether each is to go on or to be cancelled.

    Inside `write()` the rows stay locked until the transaction ends, so what is written after this is fenced.
    A run that went to another worker has another cohort, and is absent here.
    """
    rows = session.execute(
        select(Run.id, Run.status)
        .where(Run.cohort_id == cohort_id, Run.status.in_(LIVE))
        # In one order everywhere: a cancellation locks some of the same rows.
        .order_by(Run.id)
        .with_for_update()
    )
    return {run_id: RunStatus(status) for run_id, status in rows}


def renew(session: Session, cohort_id: str) -> None:
    """Count the heartbeat of every run that the cohort holds."""
    session.execute(
        update(Run)
        .where(Run.cohort_id == cohort_id, Run.status.in_(LIVE))
        .values(heartbeat=Run.heartbeat + 1)
        .execution_options(synchronize_session=False)
    )


def finish(
    session: Session,
    run_id: str,
    attempt: int,
    status: RunStatus,
    *,
    reason: StatusReason | None = None,
    detail: str | None = None,
    step: int,
    train_seconds: float,
    summary: Mapping[str, Any],
) -> bool:
    """Write a run's ending. False where this attempt no longer holds the run."""
    assert status.is_terminal
    moved = _move(
        session,
        run_id,
        attempt,
        frozenset(before for before in LIVE if status in TRANSITIONS[before]),
        status=status,
        status_reason=reason,
        status_detail=detail,
        step=step,
        train_seconds=train_seconds,
        summary=dict(summary),
        finished_at=now(),
    )
    if moved and status is RunStatus.FAILED:
        _fail_followers(session, run_id)
    return moved


def release(session: Session, run_id: str, attempt: int) -> bool:
    """Give a run back in good order: its worker is going away, and that is nobody's fault."""
    values = {
        "status_reason": StatusReason.WORKER_DRAINED,
        "cohort_id": None,
        "worker_id": None,
        "queued_at": now(),
    }
    released = _move(session, run_id, attempt, {RunStatus.RUNNING}, status=RunStatus.QUEUED, **values)
    return released or _cancelled_at_last(session, run_id, attempt)


# ── the relay's side ─────────────────────────────────────────────────────────────────────────────


def return_lost(session: Session, run_id: str, attempt: int, crashes: int) -> RunStatus | None:
    """Take a run from a worker that no longer renews it.

    Returns:
        The run's new status, or None where it had moved on by itself.

    """
    if _cancelled_at_last(session, run_id, attempt):
        return RunStatus.CANCELLED
    values: dict[str, Any] = {
        "status_reason": StatusReason.WORKER_LOST,
        "crashes": crashes + 1,
        "worker_id": None,
    }
    if crashes < MAX_CRASHES:
        status = RunStatus.QUEUED
        values |= {"cohort_id": None, "queued_at": now()}
    else:
        status = RunStatus.FAILED
        values |= {
            "finished_at": now(),
            "status_detail": f"the worker vanished {crashes + 1} times while training this run",
        }
    moved = _move(session, run_id, attempt, {RunStatus.RUNNING}, status=status, **values)
    if moved and status is RunStatus.FAILED:
        _fail_followers(session, run_id)
    return status if moved else None


# ── the owner's side ─────────────────────────────────────────────────────────────────────────────


def legal_actions(statuses: Sequence[RunStatus]) -> list[str]:
    """What can be done to a job whose runs have these statuses."""
    actions = []
    if any(s in (RunStatus.QUEUED, RunStatus.RUNNING) for s in statuses):
        actions.append("cancel")
    if any(s in (RunStatus.FAILED, RunStatus.CANCELLED) for s in statuses):
        actions.append("retry")
    if all(s.is_terminal for s in statuses):
        actions.append("delete")
    return actions


def cancel(session: Session, job_id: str) -> None:
    """Cancel what waits now, and ask the workers to let go of what trains.

    Raises:
        IllegalAction: if every run has ended already.

    """
    statuses = _statuses(session, job_id)
    if "cancel" not in legal_actions(statuses) and RunStatus.CANCELLING not in statuses:
        raise IllegalAction("every run of this job has ended: there is nothing to cancel", legal_actions(statuses))
    reason = {"status_reason": StatusReason.CANCELLED_BY_USER}
    for before, values in (
        (RunStatus.QUEUED, reason | {"status": RunStatus.CANCELLED, "finished_at": now()}),
        (RunStatus.RUNNING, reason | {"status": RunStatus.CANCELLING}),
    ):
        session.execute(
            update(Run)
            .where(Run.job_id == job_id, Run.status == before)
            .values(**values)
            .execution_options(synchronize_session=False)
        )


def retry(session: Session, job_id: str) -> None:
    """Queue the failed and cancelled runs of a job again.

    Raises:
        IllegalAction: if none of its runs failed or was cancelled.

    """
    statuses = _statuses(session, job_id)
    if "retry" not in (legal := legal_actions(statuses)):
        raise IllegalAction("no run of this job failed or was cancelled: there is nothing to retry", legal)
    session.execute(
        update(Run)
        .where(Run.job_id == job_id, Run.status.in_((RunStatus.FAILED, RunStatus.CANCELLED)))
        .values(
            status=RunStatus.QUEUED,
            status_reason=None,
            status_detail=None,
            crashes=0,
            cohort_id=None,
            worker_id=None,
            queued_at=now(),
            started_at=None,
            finished_at=None,
        )
        .execution_options(synchronize_session=False)
    )


def delete_job(session: Session, job_id: str) -> list[str]:
    """Delete a job with its runs and histories.

    Returns:
        The storage keys of its artifacts, whose bytes are now nobody's.

    Raises:
        IllegalAction: while a run of it waits or trains.

    """
    statuses = _statuses(session, job_id)
    if "delete" not in (legal := legal_actions(statuses)):
        raise IllegalAction("this job is still under way: cancel it first", legal)
    keys = session.scalars(select(Artifact.storage_key).join(Run).where(Run.job_id == job_id)).all()
    session.execute(delete(Job).where(Job.id == job_id))
    return list(keys)


def _statuses(session: Session, job_id: str) -> list[RunStatus]:
    rows = session.scalars(select(Run.status).where(Run.job_id == job_id).order_by(Run.id).with_for_update())
    return [RunStatus(status) for status in rows]


def _fail_followers(session: Session, run_id: str) -> None:
    """End the runs that could only have gone on from this one."""
    failed = session.execute(select(Run.job_id, Run.seed, Run.member).where(Run.id == run_id)).one()
    session.execute(
        update(Run)
        .where(
            Run.job_id == failed.job_id,
            Run.seed == failed.seed,
            Run.member > failed.member,
            Run.waits_for.is_not(None),
            Run.status == RunStatus.QUEUED,
        )
        .values(
            status=RunStatus.FAILED,
            status_reason=StatusReason.ROUND_BEFORE_FAILED,
            status_detail=f"round {failed.member} of this seed failed, run {run_id}: see there, then retry the job",
            finished_at=now(),
        )
        .execution_options(synchronize_session=False)
    )


def _cancelled_at_last(session: Session, run_id: str, attempt: int) -> bool:
    """A run that was to be cancelled when its worker went away is cancelled, not trained again."""
    return _move(
        session,
        run_id,
        attempt,
        {RunStatus.CANCELLING},
        status=RunStatus.CANCELLED,
        finished_at=now(),
        worker_id=None,
    )


def _move(
    session: Session, run_id: str, attempt: int, before: frozenset[RunStatus] | set[RunStatus], **values: Any
) -> bool:
    result = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.attempt == attempt, Run.status.in_(before))
        .values(**values)
        .returning(Run.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None
