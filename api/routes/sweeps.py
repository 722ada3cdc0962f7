"""Sweeps: a base spec times a grid, as one request."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session, load_only

from api.auth.audit import record
from api.dependencies import ReadService, Service, SubmitService
from api.errors import ILLEGAL_ACTION, KEY_REUSED, NOT_FOUND, NOT_JSON, OVER_QUOTA, TOO_LARGE, Refusal, declared
from api.grids import expand
from api.http.limits import JsonRoute
from api.pages import PageAfter, PageLimit, PageSort, listed
from api.planning import Catalogue, Planned, checked_plan
from api.quotas.limits import check_queue, check_run_quotas
from api.responses import Effect, IdempotencyKey, answer_once
from models import answers, owner
from models.owner import IllegalAction, Submission, legal_actions
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
    sweep: SweepRequest, service: SubmitService, request: Request, idempotency_key: IdempotencyKey = None
) -> JSONResponse:
    """Store one job per combination of the grid, all or none: at most 1,000 jobs and 10,000 runs."""
    with service.database.read() as reading:
        catalogue, settings = Catalogue(reading, service.principal.owner), service.settings

        def check(spec: JobSpec) -> Planned:
            # Without its reading: those of 1,000 wide tables would take a gigabyte.
            settled = replace(catalogue.settle(spec), reading=None)
            return Planned(settled, checked_plan(settled.spec, service.settings))

        most = {"most_jobs": settings.max_sweep_jobs, "most_runs": settings.max_sweep_runs}
        planned = expand(sweep.name, sweep.base, sweep.grid, sweep.seeds, check, **most)
    submissions = [Submission.of(settled.spec, counted, settled.dataset_id) for settled, counted in planned]

    def act(session: Session) -> Effect:
        # Also checked after the jobs are stored; here a full queue costs no work.
        check_queue(session, service.principal, service.settings, sum(len(one.spec.runs) for one in submissions))
        for settled in {settled.dataset_id: settled for settled, _ in planned}.values():
            settled.hold(session)
        stored = _store(session, service, sweep, submissions)
        return Effect(_sweep_answers(session, [stored])[0], f"/v1/sweeps/{stored.id}")

    answer = answer_once(request, service, idempotency_key, sweep.model_dump(mode="json"), act)
    service.relay.nudge()
    return answer


def _store(session: Session, service: Service, sweep: SweepRequest, submissions: Sequence[Submission]) -> Sweep:
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
    for job in owner.submit_all(session, principal.owner, submissions, sweep_id=stored.id):
        record(session, principal, "submitted", job, sweep_id=stored.id, spec_hash=job.spec_hash)
    record(session, principal, "submitted", stored, jobs=len(submissions))
    check_run_quotas(session, principal, service.settings)
    return stored


@router.get("", summary="List sweeps", responses=declared())
def list_sweeps(
    service: ReadService, sort: PageSort = "newest", limit: PageLimit = 50, after: PageAfter = ""
) -> answers.Page[answers.Sweep]:
    """A page of sweeps."""
    with service.database.read() as session:
        return listed(
            session,
            select(Sweep),
            Sweep.created_at,
            Sweep.id,
            after=after,
            limit=limit,
            sort=sort,
            items=lambda sweeps: _sweep_answers(session, sweeps),
        )


def _sweep_answers(session: Session, sweeps: Sequence[Sweep]) -> list[answers.Sweep]:
    """Return the sweeps with their jobs and runs counted, in two queries however many they are."""
    ids = [sweep.id for sweep in sweeps]
    jobs = dict(
        session.execute(select(Job.sweep_id, func.count()).where(Job.sweep_id.in_(ids)).group_by(Job.sweep_id)).all()
    )
    runs: dict[str, dict[RunStatus, int]] = {sweep_id: {} for sweep_id in ids}
    # The table, not the entity, which would repeat the condition on the owner: with old statistics, PostgreSQL then
    # reads all runs of the owner once per job. The jobs are the owner's already, and so are their runs.
    table = Run.__table__
    rows = session.execute(
        select(Job.sweep_id, table.c.status, func.count())
        .join(table, table.c.job_id == Job.id)
        .where(Job.sweep_id.in_(ids))
        .group_by(Job.sweep_id, table.c.status)
    )
    for sweep_id, status, count in rows:
        runs[str(sweep_id)][RunStatus(status)] = count
    return [
        answers.Sweep(
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
def get_sweep(sweep_id: str, service: ReadService) -> answers.Sweep:
    """The sweep and the number of its jobs and runs; `GET /v1/jobs?sweep=` lists the jobs."""
    with service.database.read() as session:
        return _sweep_answers(session, [_find_sweep(session, sweep_id)])[0]


@router.post(
    "/{sweep_id}/cancel", status_code=202, summary="Cancel a sweep", responses=declared(NOT_FOUND, ILLEGAL_ACTION)
)
def cancel_sweep(sweep_id: str, service: SubmitService) -> answers.Sweep:
    """Cancel every job of it that has not ended."""
    under_way = {RunStatus.QUEUED, RunStatus.PAUSED} | LIVE
    return _all_of(service, sweep_id, owner.cancel, "cancelled", under_way, "every job of this sweep has ended")


@router.post(
    "/{sweep_id}/pause", status_code=202, summary="Pause a sweep", responses=declared(NOT_FOUND, ILLEGAL_ACTION)
)
def pause_sweep(sweep_id: str, service: SubmitService) -> answers.Sweep:
    """Pause every job of it that waits or trains."""
    pausable = {RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.PAUSED}
    return _all_of(service, sweep_id, owner.pause, "paused", pausable, "no job of this sweep waits or trains")


@router.post(
    "/{sweep_id}/resume",
    status_code=202,
    summary="Resume a sweep",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, OVER_QUOTA),
)
def resume_sweep(sweep_id: str, service: SubmitService) -> answers.Sweep:
    """Let every paused job of it go on from where it was saved."""
    paused = {RunStatus.PAUSING, RunStatus.PAUSED}
    answer = _all_of(service, sweep_id, owner.resume, "resumed", paused, "no job of this sweep is paused", queues=True)
    service.relay.nudge()
    return answer


def _all_of(
    service: Service,
    sweep_id: str,
    act: Callable[..., None],
    action: str,
    standing: Collection[RunStatus],
    otherwise: str,
    *,
    queues: bool = False,
) -> answers.Sweep:
    """Do the same to every job of a sweep that has a run of one of these statuses; `queues` says that it queues runs.

    Raises:
        Refusal: if there is no such sweep, or more would be queued than the owner's quotas allow.
        IllegalAction: if it has no such job; `otherwise` says so.

    """
    with service.database.write() as session:
        sweep = _find_sweep(session, sweep_id)
        job_ids = session.scalars(select(Job.id).where(Job.sweep_id == sweep_id)).all()
        of_jobs = select(Run.job_id, Run.status).where(Run.job_id.in_(job_ids)).order_by(Run.id)
        # Locked: none of them ends between this and what is done to it.
        runs = session.execute(of_jobs.with_for_update()).all()
        concerned = {job_id for job_id, status in runs if status in standing}
        if not concerned:
            statuses = {RunStatus(status) for _, status in runs}
            legal = [action for action in legal_actions(list(statuses)) if action in ("cancel", "pause", "resume")]
            raise IllegalAction(otherwise, legal)
        act(session, *concerned)
        of_concerned = select(Job).options(load_only(Job.id, Job.owner)).where(Job.id.in_(concerned)).order_by(Job.id)
        for job in session.scalars(of_concerned):
            record(session, service.principal, action, job, sweep_id=sweep_id)
        record(session, service.principal, action, sweep, jobs=len(concerned))
        if queues:
            check_run_quotas(session, service.principal, service.settings)
        return _sweep_answers(session, [sweep])[0]


def _find_sweep(session: Session, sweep_id: str) -> Sweep:
    sweep = session.get(Sweep, sweep_id)
    if sweep is None:
        raise Refusal(NOT_FOUND, f"there is no sweep {sweep_id}")
    return sweep
