"""Sweeps: a base spec times a grid, as one request."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.auth.audit import record
from api.dependencies import Service, ServiceNeeded
from api.errors import ILLEGAL_ACTION, KEY_REUSED, NOT_FOUND, NOT_JSON, OVER_QUOTA, TOO_LARGE, Refusal, declared
from api.grids import expand
from api.http.limits import JsonRoute
from api.job_answers import job_answers
from api.pages import PageAfter, PageLimit, PageSort, listed
from api.planning import Catalogue, Planned, checked_plan
from api.quotas.limits import demand_room_in_queue
from api.responses import Effect, IdempotencyKey, answer_once
from models import answers, owner
from models.owner import IllegalAction, legal_actions
from models.spec.component import SpecModel
from models.spec.job import MAX_RUNS_PER_JOB, JobSpec, Name, Seed
from models.status import LIVE, RunStatus, job_status
from models.tables import Job, Run, Sweep, new_id, now

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"], route_class=JsonRoute)

Values = Annotated[list[Any], Field(min_length=1, max_length=1_000)]
Seeds = Annotated[list[Seed], Field(fail_fast=True)]


class SweepRequest(SpecModel):
    """A base spec, and the values that some of its fields take in turn."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "learning rates",
                    "base": {"dataset": "digits", "optimizer": "adam"},
                    "grid": {"optimizer.learning_rate": [0.001, 0.01, 0.1]},
                    "seeds": 5,
                }
            ]
        }
    )

    name: Name = ""
    """Of the sweep; begins the jobs' names, and is their experiment where the base names none."""
    base: dict[str, Any]
    """A job spec."""
    grid: dict[str, Values] = Field({}, max_length=16)
    """Dotted path into the spec → its values: `optimizer.learning_rate`, `regularizers.0.weight`."""
    seeds: Annotated[int, Field(strict=True, ge=1, le=MAX_RUNS_PER_JOB)] | Seeds | None = None
    """Takes the place of the base's seeds."""


@router.post(
    "",
    status_code=202,
    summary="Submit a sweep",
    response_model=answers.Sweep,
    responses=declared(KEY_REUSED, TOO_LARGE, NOT_JSON, OVER_QUOTA),
)
def submit(
    sweep: SweepRequest, service: ServiceNeeded, request: Request, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Store one job per combination of the grid, all or none: at most 1,000 jobs and 10,000 runs."""
    with service.database.read() as reading:
        catalogue = Catalogue(reading, service.principal.owner)

        def check(spec: JobSpec) -> Planned:
            # Without its reading: those of 1,000 wide tables would take a gigabyte.
            settled = replace(catalogue.settle(spec), reading=None)
            return Planned(settled, checked_plan(settled.spec, service.settings))

        settings = service.settings
        most = {"most_jobs": settings.max_sweep_jobs, "most_runs": settings.max_sweep_runs}
        planned = expand(sweep.name, sweep.base, sweep.grid, sweep.seeds, check, **most)

    def act(session: Session) -> Effect:
        stored = _store(session, service, sweep, planned)
        return Effect(_sweep_answer(session, service, stored), f"/v1/sweeps/{stored.id}")

    answer = answer_once(request, service, idempotency_key, sweep.model_dump(mode="json"), act)
    service.relay.nudge()
    return answer


def _store(session: Session, service: Service, sweep: SweepRequest, planned: Sequence[Planned]) -> Sweep:
    principal = service.principal
    stored = Sweep(
        id=new_id("sweep"),
        owner=principal.owner,
        name=sweep.name,
        base=sweep.base,
        grid=sweep.grid,
        created_at=now(),
    )
    session.add(stored)
    session.flush()
    for settled, counted in planned:
        settled.hold(session)
        job = owner.submit(
            session, principal.owner, settled.spec, counted, sweep_id=stored.id, dataset_id=settled.dataset_id
        )
        record(session, principal, "submitted", job, sweep_id=stored.id, spec_hash=job.spec_hash)
    record(session, principal, "submitted", stored, jobs=len(planned))
    demand_room_in_queue(session, principal, service.settings)
    return stored


@router.get("", summary="List sweeps", responses=declared())
def list_sweeps(
    service: ServiceNeeded, sort: PageSort = "newest", limit: PageLimit = 50, after: PageAfter = ""
) -> answers.Page[answers.SweepSummary]:
    """A page of sweeps; their jobs are counted, not told."""
    with service.database.read() as session:
        return listed(
            session,
            select(Sweep),
            Sweep.created_at,
            Sweep.id,
            after=after,
            limit=limit,
            sort=sort,
            items=lambda sweeps: _summaries(session, sweeps),
        )


def _summaries(session: Session, sweeps: Sequence[Sweep]) -> list[answers.SweepSummary]:
    ids = [sweep.id for sweep in sweeps]
    jobs = dict(
        session.execute(select(Job.sweep_id, func.count()).where(Job.sweep_id.in_(ids)).group_by(Job.sweep_id)).all()
    )
    runs: dict[str, dict[RunStatus, int]] = {sweep_id: {} for sweep_id in ids}
    rows = session.execute(
        select(Job.sweep_id, Run.status, func.count())
        .join(Run, Run.job_id == Job.id)
        .where(Job.sweep_id.in_(ids))
        .group_by(Job.sweep_id, Run.status)
    )
    for sweep_id, status, count in rows:
        runs[str(sweep_id)][RunStatus(status)] = count
    return [
        answers.SweepSummary(
            id=sweep.id,
            owner=sweep.owner,
            name=sweep.name,
            grid=sweep.grid,
            created_at=sweep.created_at,
            jobs=jobs.get(sweep.id, 0),
            status=job_status(runs[sweep.id]),
            runs_by_status=runs[sweep.id],
        )
        for sweep in sweeps
    ]


@router.get("/{sweep_id}", summary="Get a sweep", responses=declared(NOT_FOUND))
def get_sweep(sweep_id: str, service: ServiceNeeded) -> answers.Sweep:
    """The sweep with all its jobs, in the order of the grid."""
    with service.database.read() as session:
        return _sweep_answer(session, service, _find_sweep(session, sweep_id))


@router.post(
    "/{sweep_id}/cancel", status_code=202, summary="Cancel a sweep", responses=declared(NOT_FOUND, ILLEGAL_ACTION)
)
def cancel_sweep(sweep_id: str, service: ServiceNeeded) -> answers.Sweep:
    """Cancel every job of it that has not ended."""
    under_way = {RunStatus.QUEUED, RunStatus.PAUSED} | LIVE
    return _all_of(service, sweep_id, owner.cancel, "cancelled", under_way, "every job of this sweep has ended")


@router.post(
    "/{sweep_id}/pause", status_code=202, summary="Pause a sweep", responses=declared(NOT_FOUND, ILLEGAL_ACTION)
)
def pause_sweep(sweep_id: str, service: ServiceNeeded) -> answers.Sweep:
    """Pause every job of it that waits or trains."""
    pausable = {RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.PAUSED}
    return _all_of(service, sweep_id, owner.pause, "paused", pausable, "no job of this sweep waits or trains")


@router.post(
    "/{sweep_id}/resume",
    status_code=202,
    summary="Resume a sweep",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, OVER_QUOTA),
)
def resume_sweep(sweep_id: str, service: ServiceNeeded) -> answers.Sweep:
    """Let every paused job of it go on from where it was saved."""
    paused = {RunStatus.PAUSING, RunStatus.PAUSED}
    answer = _all_of(service, sweep_id, owner.resume, "resumed", paused, "no job of this sweep is paused")
    service.relay.nudge()
    return answer


def _all_of(
    service: Service,
    sweep_id: str,
    act: Callable[[Session, str], None],
    action: str,
    standing: Collection[RunStatus],
    otherwise: str,
) -> answers.Sweep:
    """Do the same to every job of a sweep that has a run of one of these statuses.

    Raises:
        Refusal: if there is no such sweep.
        IllegalAction: if it has no such job; `otherwise` says so.

    """
    with service.database.write() as session:
        sweep = _find_sweep(session, sweep_id)
        of_sweep = select(Run).join(Job, Run.job_id == Job.id).where(Job.sweep_id == sweep_id).order_by(Run.id)
        # Locked: none of them ends between this and what is done to it.
        runs = session.scalars(of_sweep.with_for_update(of=Run)).all()
        concerned = {run.job_id for run in runs if run.status in standing}
        if not concerned:
            statuses = {RunStatus(run.status) for run in runs}
            legal = [action for action in legal_actions(list(statuses)) if action in ("cancel", "pause", "resume")]
            raise IllegalAction(otherwise, legal)
        for job in session.scalars(select(Job).where(Job.id.in_(concerned)).order_by(Job.id)):
            act(session, job.id)
            record(session, service.principal, action, job, sweep_id=sweep_id)
        record(session, service.principal, action, sweep, jobs=len(concerned))
        demand_room_in_queue(session, service.principal, service.settings)
        return _sweep_answer(session, service, sweep)


def _find_sweep(session: Session, sweep_id: str) -> Sweep:
    sweep = session.get(Sweep, sweep_id)
    if sweep is None:
        raise Refusal(NOT_FOUND, f"there is no sweep {sweep_id}")
    return sweep


def _sweep_answer(session: Session, service: Service, sweep: Sweep) -> answers.Sweep:
    jobs = session.scalars(select(Job).where(Job.sweep_id == sweep.id).order_by(Job.created_at, Job.id)).all()
    told = job_answers(session, service.settings, jobs)
    counts: dict[RunStatus, int] = {}
    for job in told:
        for status, count in job.runs_by_status.items():
            counts[status] = counts.get(status, 0) + count
    return answers.Sweep(
        id=sweep.id,
        owner=sweep.owner,
        name=sweep.name,
        grid=sweep.grid,
        created_at=sweep.created_at,
        jobs=told,
        status=job_status(counts),
        runs_by_status=counts,
    )
