"""Jobs and runs as the API answers them, a whole page in a fixed number of queries."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from models import answers
from models.lifecycle import CLAIMABLE
from models.owner import legal_actions
from models.settings import Settings
from models.spec.job import JobSpec
from models.status import RunStatus, job_status
from models.tables import Cohort, Job, Run, Worker, now


@dataclass
class Tally:
    """The runs of a job, counted."""

    runs: dict[RunStatus, int] = field(default_factory=dict)
    completed: int = 0
    total: int = 0
    running_taken: int = 0
    """Steps that the running runs took since their workers claimed them."""
    running_left: int = 0
    running_since: datetime | None = None

    @property
    def eta_seconds(self) -> float | None:
        """How long the running runs will take; None while others still wait for their turn."""
        if self.runs.get(RunStatus.QUEUED):
            return None
        return eta_seconds(self.running_since, self.running_taken, self.running_left)


def eta_seconds(since: datetime | None, taken: int, left: int) -> float | None:
    """Seconds until `left` steps are taken at the pace of those `taken` since a moment; None without a pace yet."""
    if since is None or taken <= 0:
        return None
    elapsed = max(0.0, (now() - since).total_seconds())
    return round(elapsed / taken * left, 1)


def tallies(session: Session, job_ids: Collection[str]) -> dict[str, Tally]:
    """Count the runs of many jobs in one query."""
    counted: dict[str, Tally] = {job_id: Tally() for job_id in job_ids}
    rows = session.execute(
        select(
            Run.job_id,
            Run.status,
            func.count(),
            func.sum(Run.step),
            func.sum(Run.total_steps),
            func.min(Run.started_at),
            func.sum(Run.step - func.coalesce(Cohort.from_step, 0)),
        )
        .outerjoin(Cohort, Run.cohort_id == Cohort.id)
        .where(Run.job_id.in_(job_ids))
        .group_by(Run.job_id, Run.status)
    )
    for job_id, status, runs, completed, total, since, taken in rows:
        tally = counted[job_id]
        tally.runs[RunStatus(status)] = runs
        tally.completed += int(completed)
        tally.total += int(total)
        if status == RunStatus.RUNNING:
            tally.running_taken, tally.running_left, tally.running_since = int(taken), int(total - completed), since
    return counted


def live_devices(session: Session, settings: Settings) -> set[str]:
    """The devices that a live worker trains on."""
    since = now() - timedelta(seconds=settings.lease_seconds)
    return set(session.scalars(select(Worker.device).where(Worker.seen_at > since).distinct()))


def device_warnings(wishes: Iterable[str], live: Collection[str]) -> list[str]:
    """Of the devices that specs ask for, those that no live worker serves, and the remedy."""
    served = {wish for device in live for wish in CLAIMABLE[device]}
    unserved = sorted(set(wishes) - served)
    if not live and unserved:
        return ["no worker is running, so runs stay queued: start one (`descent up` starts one with the service)"]
    return [
        f'no live worker trains on "{wish}", so runs that ask for it stay queued: '
        f'start a worker with DESCENT_WORKER_DEVICE={wish}, or submit with device "auto"'
        for wish in unserved
    ]


def job_answers(session: Session, settings: Settings, jobs: Sequence[Job]) -> list[answers.Job]:
    """The jobs with the state of their runs; three queries, however many they are."""
    counted = tallies(session, [job.id for job in jobs])
    waits = any(RunStatus.QUEUED in tally.runs for tally in counted.values())
    live = live_devices(session, settings) if waits else set()
    return [_job_answer(job, counted[job.id], live) for job in jobs]


def _job_answer(job: Job, tally: Tally, live: Collection[str]) -> answers.Job:
    labels = {"name": job.name, "tags": job.tags, "notes": job.notes, "priority": job.priority}
    spec = JobSpec.model_validate(job.spec | labels)
    status = job_status(tally.runs)
    return answers.Job(
        id=job.id,
        owner=job.owner,
        name=job.name,
        experiment=job.experiment,
        tags=job.tags,
        notes=job.notes,
        priority=job.priority,
        spec=spec,
        spec_hash=job.spec_hash,
        sweep_id=job.sweep_id,
        created_at=job.created_at,
        version=job.version,
        status=status,
        is_terminal=status.is_terminal,
        runs_by_status=tally.runs,
        progress=answers.Progress(completed=tally.completed, total=tally.total, eta_seconds=tally.eta_seconds),
        actions=legal_actions(list(tally.runs)),
        warnings=device_warnings([spec.device], live) if RunStatus.QUEUED in tally.runs else [],
    )


def run_answers(session: Session, condition: ColumnElement[bool]) -> list[answers.Run]:
    """The runs that meet a condition, in their job's order; two queries."""
    rows = session.execute(
        select(Run, Cohort.provenance, Cohort.from_step)
        .outerjoin(Cohort, Run.cohort_id == Cohort.id)
        .where(condition)
        .order_by(Run.job_id, Run.position)
    ).all()
    waits = any(row.Run.status == RunStatus.QUEUED for row in rows)
    positions = _queue_positions(session, [row.Run.id for row in rows]) if waits else {}
    return [_run_answer(row.Run, row.provenance, row.from_step, positions.get(row.Run.id)) for row in rows]


def _queue_positions(session: Session, run_ids: Collection[str]) -> Mapping[str, int]:
    """How many waiting runs go before each of these, in the order in which workers claim."""
    order = (Run.priority.desc(), Run.queued_at, Run.id)
    ranked = (
        select(Run.id, (func.row_number().over(order_by=order) - 1).label("position"))
        .where(Run.status == RunStatus.QUEUED)
        .subquery()
    )
    rows = session.execute(select(ranked.c.id, ranked.c.position).where(ranked.c.id.in_(run_ids)))
    return dict(rows.all())


def _run_answer(
    run: Run, provenance: dict[str, Any] | None, from_step: int | None, position: int | None
) -> answers.Run:
    status = RunStatus(run.status)
    taken = run.step - (from_step or 0) if status is RunStatus.RUNNING else 0
    return answers.Run(
        id=run.id,
        job_id=run.job_id,
        seed=run.seed,
        member=run.member,
        status=status,
        status_reason=run.status_reason,
        status_detail=run.status_detail,
        is_terminal=status.is_terminal,
        attempt=run.attempt,
        queue_position=position,
        progress=answers.Progress(
            completed=run.step,
            total=run.total_steps,
            eta_seconds=eta_seconds(run.started_at, taken, run.total_steps - run.step),
        ),
        queued_at=run.queued_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        train_seconds=run.train_seconds,
        summary=run.summary or {},
        cohort_id=run.cohort_id,
        provenance=provenance,
    )
