"""What workers do to runs: claim, hold, finish, give back. Every change of a status is a compare-and-set.

A change names the status and attempt that it expects; where no row matches, somebody else was first and nothing
happens. `attempt` is the fencing token: a worker that lost its run cannot write over its successor.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from models import shares
from models.spec.job import JobSpec
from models.status import LIVE, TRANSITIONS, RunStatus, StatusReason
from models.tables import Cohort, Job, MetricSegment, Owner, Run, Snapshot, Worker, new_id, now

MAX_CRASHES = 3
"""How often in a row, without a checkpoint in between, a run is trained on after its worker vanished."""

CLAIMABLE = {device: ("auto", device) for device in ("cpu", "cuda", "mps")}
"""Which wishes a worker of each device can serve."""


def ready() -> ColumnElement[bool]:
    """Of a run: it waits, and for nothing but a worker."""
    before = aliased(Run)
    succeeded = exists().where(before.id == Run.waits_for, before.status == RunStatus.SUCCEEDED)
    return and_(Run.status == RunStatus.QUEUED, or_(Run.waits_for.is_(None), succeeded))


def waits_for(device: str) -> ColumnElement[bool]:
    """Of an owner: a run of theirs waits for a worker of this device."""
    return exists().where(Run.owner == Owner.name, ready(), Run.device.in_(CLAIMABLE[device]))


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
    """The runs that will train together, all from the same step on."""

    cohort_id: str
    runs: tuple[ClaimedRun, ...]
    resume_step: int = 0
    """0: they begin."""


def claim(
    session: Session,
    worker_id: str,
    device: str,
    limit: Callable[[JobSpec], int],
    *,
    fewest: int | None = None,
    most_running: int | None = None,
) -> Claim | None:
    """Take the head of somebody's queue and the runs that can share its cohort.

    Owners take turns, see `models.shares`; one with `most_running` runs in training is left out. The head is the
    owner's run of highest priority, then of greatest age. Runs compatible with it and saved at the same step join
    across the owner's jobs, in the same order, until there are `limit(spec)` of them, or as many as the run may have
    company since a cohort of it broke down. With `fewest`, idle workers of this device are left their share, as long as
    every cohort has so many runs. What they wrote under earlier attempts, past the step from which they go on, is
    superseded.

    Returns:
        The claim, or None where nothing waits for this device.

    """
    for name in shares.turns(session, waits_for(device)):
        # Where nothing is left of them after all, the lock goes with the savepoint: who held two could wait for ever.
        with session.begin_nested() as turn:
            owner = shares.hold(session, name)
            room = _room(session, name, most_running)
            runs, specs = _cohort(session, worker_id, device, name, limit, fewest, room) if room else ([], {})
            if runs:
                shares.served(session, owner)
                return _taken(session, worker_id, runs, specs)
            turn.rollback()
    return None


def _room(session: Session, owner: str, most_running: int | None) -> int:
    """How many more runs of an owner may train now."""
    if most_running is None:
        return sys.maxsize
    return most_running - shares.count_runs(session, owner, LIVE, most=most_running)


def _cohort(
    session: Session,
    worker_id: str,
    device: str,
    owner: str,
    limit: Callable[[JobSpec], int],
    fewest: int | None,
    room: int,
) -> tuple[list[Run], dict[str, JobSpec]]:
    """The runs of an owner that are to train together next, and the specs of their jobs."""
    waiting = select(Run).where(ready(), Run.owner == owner, Run.device.in_(CLAIMABLE[device]))
    order = (Run.priority.desc(), Run.queued_at, Run.id)
    head = session.scalars(waiting.order_by(*order).limit(1).with_for_update(skip_locked=True, of=Run)).one_or_none()
    if head is None:
        return [], {}
    specs: dict[str, JobSpec] = {head.job_id: _spec_of(session, head.job_id)}
    size = min(max(1, limit(specs[head.job_id])), room)
    if head.most_together is not None:
        size = min(size, head.most_together)
    fitting = _fits(head)
    if fewest is not None and size > fewest:
        size = max(fewest, _share(session, worker_id, device, fitting, size))
    companions = session.scalars(
        waiting.where(fitting, Run.id != head.id)
        .order_by(*order)
        .limit(size - 1)
        .with_for_update(skip_locked=True, of=Run)
    ).all()
    for run in companions:
        if run.job_id not in specs:
            specs[run.job_id] = _spec_of(session, run.job_id)
    return [head, *companions], specs


def _taken(session: Session, worker_id: str, runs: Sequence[Run], specs: Mapping[str, JobSpec]) -> Claim:
    """Hand runs that waited to a worker, as one cohort."""
    begins = runs[0].resume_step
    cohort = Cohort(
        id=new_id("cohort"), worker_id=worker_id, size=len(runs), from_step=begins, created_at=now(), provenance=None
    )
    session.add(cohort)
    session.flush()
    ids = [run.id for run in runs]
    if begins == 0:
        session.execute(delete(MetricSegment).where(MetricSegment.run_id.in_(ids)))
        session.execute(delete(Snapshot).where(Snapshot.run_id.in_(ids)))
    else:
        # Points past the step stay: the first chunk of this attempt voids them for every reader.
        session.execute(delete(Snapshot).where(Snapshot.run_id.in_(ids), Snapshot.step > begins))
    for run in runs:
        run.status = RunStatus.RUNNING
        run.status_reason = run.status_detail = None
        run.attempt += 1
        run.heartbeat = 0
        run.worker_id, run.cohort_id = worker_id, cohort.id
        run.started_at = cohort.created_at
        run.step, run.summary, run.train_seconds = begins, None, None
    claimed = tuple(ClaimedRun(r.id, r.seed, r.attempt, specs[r.job_id], r.job_id, r.member) for r in runs)
    return Claim(cohort.id, claimed, begins)


def _fits(head: Run) -> ColumnElement[bool]:
    """Of a run: it can share a cohort with this one."""
    return and_(
        Run.owner == head.owner,
        Run.cohort_key == head.cohort_key,
        Run.resume_step == head.resume_step,
        Run.most_together.is_not_distinct_from(head.most_together),
    )


def _share(session: Session, worker_id: str, device: str, fitting: ColumnElement[bool], most: int) -> int:
    """How many of the waiting runs that fit together each idle worker would get, this one included; at most `most`."""
    others = select(func.count()).where(Worker.device == device, Worker.id != worker_id, ~Worker.busy)
    idle = 1 + session.scalars(others).one()
    if idle == 1:
        return most
    company = select(Run.id).where(ready(), Run.device.in_(CLAIMABLE[device]), fitting)
    # Counted no further than it matters: a sweep may have left thousands.
    waiting = select(func.count()).select_from(company.limit(most * idle).subquery())
    return ceil(session.scalars(waiting).one() / idle)


def _spec_of(session: Session, job_id: str) -> JobSpec:
    return JobSpec.model_validate(session.scalars(select(Job.spec).where(Job.id == job_id)).one())


def held(session: Session, cohort_id: str) -> dict[str, RunStatus]:
    """The runs that this cohort still holds, and whether each is to go on, to pause or to be cancelled.

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
    moved = move(
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
        fail_followers(session, run_id)
    elif moved and status is RunStatus.CANCELLED:
        _cancel_followers(session, run_id)
    return moved


def release(session: Session, run_id: str, attempt: int) -> RunStatus | None:
    """Give a run back in good order: to the queue as its worker is going away, or to its owner who asked for it.

    Returns:
        The run's new status, or None where this attempt no longer holds the run.

    """
    again = {"status_reason": StatusReason.WORKER_DRAINED, "queued_at": now()}
    return give_up(session, run_id, attempt, RunStatus.QUEUED, **again)


def give_up(session: Session, run_id: str, attempt: int, otherwise: RunStatus, **values: Any) -> RunStatus | None:
    """Take a run from its worker: cancelled or paused at last where its owner wants that, else as told."""
    # Locked: what its owner wants of it must not change between the question and the answer.
    status = session.scalar(select(Run.status).where(Run.id == run_id, Run.attempt == attempt).with_for_update())
    away = {"cohort_id": None, "worker_id": None}
    match status:
        case RunStatus.CANCELLING:
            values, otherwise = {"finished_at": now(), "worker_id": None}, RunStatus.CANCELLED
        case RunStatus.PAUSING:
            values, otherwise = away, RunStatus.PAUSED
        case RunStatus.RUNNING if otherwise is RunStatus.QUEUED:
            values |= away
        case RunStatus.RUNNING:
            pass
        case _:
            return None
    if not move(session, run_id, attempt, {status}, status=otherwise, **values):
        return None
    if otherwise is RunStatus.CANCELLED:
        _cancel_followers(session, run_id)
    return otherwise


def fail_followers(session: Session, run_id: str) -> None:
    """End the runs that could only have gone on from this one."""
    member = session.scalars(select(Run.member).where(Run.id == run_id)).one()
    _end_followers(
        session,
        run_id,
        status=RunStatus.FAILED,
        status_reason=StatusReason.ROUND_BEFORE_FAILED,
        status_detail=f"round {member} of this seed failed, run {run_id}: see there, then retry the job",
    )


def _cancel_followers(session: Session, run_id: str) -> None:
    # A retry may have queued them while this one was still letting go: they would wait for it for good.
    reason = StatusReason.CANCELLED_BY_USER
    _end_followers(session, run_id, status=RunStatus.CANCELLED, status_reason=reason, status_detail=None)


def _end_followers(session: Session, run_id: str, **ending: Any) -> None:
    before = session.execute(select(Run.job_id, Run.seed, Run.member).where(Run.id == run_id)).one()
    session.execute(
        update(Run)
        .where(
            Run.job_id == before.job_id,
            Run.seed == before.seed,
            Run.member > before.member,
            Run.waits_for.is_not(None),
            Run.status.in_((RunStatus.QUEUED, RunStatus.PAUSED)),
        )
        .values(finished_at=now(), **ending)
        .execution_options(synchronize_session=False)
    )


def move(
    session: Session, run_id: str, attempt: int, before: frozenset[RunStatus] | set[RunStatus], **values: Any
) -> bool:
    """The compare-and-set. False where the run has another attempt or status by now."""
    result = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.attempt == attempt, Run.status.in_(before))
        .values(**values)
        .returning(Run.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None
