"""Jobs: hand in, look at, relabel, pause, resume, extend, cancel, retry, delete."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field
from sqlalchemy import ColumnElement, and_, exists, func, literal, not_, or_, select, update
from sqlalchemy.orm import Session

from api.auth.audit import record
from api.auth.scopes import check_owner
from api.dependencies import ReadService, Service, SubmitService
from api.errors import (
    CHANGED,
    ILLEGAL_ACTION,
    KEY_REUSED,
    NOT_FOUND,
    NOT_JSON,
    OVER_QUOTA,
    TOO_LARGE,
    Refusal,
    declared,
)
from api.http.limits import JsonRoute
from api.job_answers import device_warnings, job_answers, live_devices, run_answers
from api.moments import Moment
from api.pages import PageAfter, PageLimit, PageSort, listed, single_page
from api.planning import Catalogue, checked_plan
from api.quotas.limits import check_queue, check_run_quotas
from api.responses import Effect, IdempotencyKey, IfMatch, answer_once, demand
from models import answers, owner
from models.spec.component import Items, SpecModel
from models.spec.job import Budget, JobSpec, Name, Priority, Tag
from models.spec.run_files import run_bytes
from models.status import LIVE, PRECEDENCE, TERMINAL, RunStatus
from models.tables import Job, Run

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)

OnDuplicate = Annotated[
    Literal["new", "return"],
    Query(description='"return" hands back the newest succeeded job of the same spec_hash, with 200.'),
]


class JobChanges(SpecModel):
    """What of a job can change: its labels, and its budget. What is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "adam, again", "priority": 10}]})

    name: Name = ""
    tags: Items[Tag] = Field((), max_length=32)
    notes: str = Field("", max_length=10_000)
    priority: Priority = 0
    budget: Budget | None = None
    """A larger one lets an ended job go on from its last checkpoints, to the same bits as if it had been the first.
    One that differs in `max_seconds` alone may come at any time."""


def find_job(session: Session, job_id: str, *, for_update: bool = False) -> Job:
    """Fetch a job.

    Raises:
        Refusal: if there is none.

    """
    job = session.get(Job, job_id, with_for_update=for_update)
    if job is None:
        raise Refusal(NOT_FOUND, f"there is no job {job_id}")
    return job


def _etag(job: answers.Job | Job) -> str:
    """Of what PATCH can change; the state of the runs changes without anybody's doing."""
    return f'"{job.version}"'


@router.post(
    "",
    status_code=202,
    summary="Submit a job",
    response_model=answers.Job,
    responses=declared(
        KEY_REUSED,
        TOO_LARGE,
        NOT_JSON,
        OVER_QUOTA,
        also={200: {"model": answers.Job, "description": "An equal job has succeeded before (on_duplicate=return)"}},
    ),
)
def submit(
    spec: JobSpec,
    service: SubmitService,
    request: Request,
    on_duplicate: OnDuplicate = "new",
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Store a job and queue its runs. A bare string stands for a component with its defaults."""
    with service.database.read() as session:
        settled = Catalogue(session, service.principal.owner).settle(spec)
    spec, counted = settled.spec, checked_plan(settled.spec, service.settings)

    def act(session: Session) -> Effect:
        if on_duplicate == "return" and (same := _succeeded_before(session, service.principal.owner, spec.spec_hash)):
            return Effect(job_answers(session, service.settings, [same])[0], f"/v1/jobs/{same.id}", 200)
        # Also checked after the runs are stored; here a full queue costs no work.
        check_queue(session, service.principal, service.settings, len(spec.runs))
        settled.hold(session)
        job = owner.submit(session, service.principal.owner, spec, counted, dataset_id=settled.dataset_id)
        check_run_quotas(session, service.principal, service.settings)
        record(session, service.principal, "submitted", job, spec_hash=job.spec_hash)
        session.flush()
        return Effect(job_answers(session, service.settings, [job])[0], f"/v1/jobs/{job.id}")

    answer = answer_once(request, service, idempotency_key, spec.model_dump(mode="json"), act)
    service.relay.nudge()
    return answer


def _succeeded_before(session: Session, owner_name: str, spec_hash: str) -> Job | None:
    return session.scalars(
        select(Job)
        .where(Job.owner == owner_name, Job.spec_hash == spec_hash, _has_status(RunStatus.SUCCEEDED))
        .order_by(Job.created_at.desc(), Job.id.desc())
        .limit(1)
    ).first()


@router.post("/validate", summary="Check a spec and store nothing", responses=declared(TOO_LARGE, NOT_JSON))
def validate(spec: JobSpec, service: ReadService) -> answers.PlannedJob:
    """What the spec would ask for, with every default spelled out."""
    with service.database.read() as session:
        settled = Catalogue(session, service.principal.owner).settle(spec)
        spec = settled.spec
        warnings = device_warnings([spec.device], live_devices(session, service.settings))
    counted = checked_plan(spec, service.settings)
    return answers.PlannedJob(
        spec=spec,
        spec_hash=spec.spec_hash,
        runs=len(spec.runs),
        steps=counted.steps,
        steps_per_epoch=counted.steps_per_epoch,
        training_rows=counted.training_rows,
        validation_rows=counted.validation_rows,
        test_rows=counted.test_rows,
        batch_rows=counted.batch_rows,
        parameters=counted.parameters,
        memory_bytes=counted.memory_bytes,
        stored_bytes=len(spec.runs) * run_bytes(spec, counted),
        dataset=settled.answer(),
        warnings=[*settled.warnings(), *warnings],
    )


@router.get("", summary="List jobs", responses=declared())
def list_jobs(
    service: ReadService,
    owner_name: Annotated[
        str | None, Query(alias="owner", max_length=64, description="For admins, who see everybody's.")
    ] = None,
    experiment: Annotated[str | None, Query(max_length=200)] = None,
    sweep: Annotated[str | None, Query(max_length=40, description="Id of a sweep.")] = None,
    status: RunStatus | None = None,
    tag: Annotated[str | None, Query(max_length=64)] = None,
    spec_hash: Annotated[str | None, Query(max_length=64)] = None,
    created_after: Moment | None = None,
    sort: PageSort = "newest",
    limit: PageLimit = 50,
    after: PageAfter = "",
) -> answers.Page[answers.Job]:
    """A page of the jobs that meet every condition. A time without a zone is in UTC."""
    conditions: list[ColumnElement[bool]] = []
    if owner_name is not None:
        check_owner(service.principal, owner_name)
        conditions.append(Job.owner == owner_name)
    if experiment is not None:
        conditions.append(Job.experiment == experiment)
    if sweep is not None:
        conditions.append(Job.sweep_id == sweep)
    if status is not None:
        conditions.append(_has_status(status))
    if spec_hash is not None:
        conditions.append(Job.spec_hash == spec_hash)
    if created_after is not None:
        conditions.append(Job.created_at > created_after)
    if tag is not None:
        conditions.append(_has_tag(tag, is_sqlite=service.database.is_sqlite))
    with service.database.read() as session:
        return listed(
            session,
            select(Job).where(*conditions),
            Job.created_at,
            Job.id,
            after=after,
            limit=limit,
            sort=sort,
            items=lambda jobs: job_answers(session, service.settings, jobs),
        )


def _has_status(status: RunStatus) -> ColumnElement[bool]:
    """`models.status.job_status` as a condition in SQL."""

    def some(*wanted: RunStatus) -> ColumnElement[bool]:
        return exists().where(Run.job_id == Job.id, Run.status.in_(wanted)).correlate(Job)

    # Begins with the rows of this status, which an index finds: there are few of the ones that people look for.
    leading = Job.id.in_(select(Run.job_id).where(Run.status == status))
    queued, letting_go = RunStatus.QUEUED, (RunStatus.PAUSING, RunStatus.CANCELLING)
    match status:
        case RunStatus.RUNNING:
            half_way = and_(some(queued), some(*TERMINAL), not_(some(*letting_go)))
            return or_(leading, and_(Job.id.in_(select(Run.job_id).where(Run.status == queued)), half_way))
        case RunStatus.QUEUED:
            return and_(leading, not_(some(*LIVE, *TERMINAL)))
        case RunStatus.SUCCEEDED:
            # Most jobs have succeeded: here the walk through the jobs is the short way.
            return not_(some(*(other for other in RunStatus if other is not status)))
        case _:
            return and_(leading, not_(some(*PRECEDENCE[: PRECEDENCE.index(status)])))


def _has_tag(tag: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    elements = func.json_each if is_sqlite else func.json_array_elements_text
    value = elements(Job.tags).table_valued("value")
    return exists(select(literal(1)).select_from(value).where(value.c.value == tag))


@router.get("/{job_id}", summary="Get a job", responses=declared(NOT_FOUND))
def get_job(job_id: str, service: ReadService, response: Response) -> answers.Job:
    """The job and how far its runs are. The ETag is that of its labels, for If-Match."""
    with service.database.read() as session:
        job = job_answers(session, service.settings, [find_job(session, job_id)])[0]
    response.headers["ETag"] = _etag(job)
    return job


@router.patch(
    "/{job_id}",
    summary="Change a job's labels or extend its budget",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, CHANGED, TOO_LARGE, NOT_JSON, OVER_QUOTA),
)
def change_job(
    job_id: str, changes: JobChanges, service: SubmitService, response: Response, if_match: IfMatch = None
) -> answers.Job:
    """Change name, tags, notes or priority; none of it touches what is trained. Priority moves waiting runs too.

    A larger budget queues the runs that spent the old one: they go on from their last checkpoints.
    """
    changed: dict[str, Any] = changes.model_dump(mode="json", exclude_unset=True, exclude={"budget"})
    with service.database.write() as session:
        job = find_job(session, job_id, for_update=True)
        demand(if_match, _etag(job))
        if changes.budget is not None:
            _extend(session, service, job, changes.budget)
        if changed:
            for label, value in changed.items():
                setattr(job, label, value)
            job.version += 1
            record(session, service.principal, "relabelled", job, changed=changed)
        if "priority" in changed:
            # Of ended runs too: a retry queues them again.
            session.execute(update(Run).where(Run.job_id == job_id).values(priority=changes.priority))
        session.flush()
        answer = job_answers(session, service.settings, [job])[0]
    service.relay.nudge()
    response.headers["ETag"] = _etag(answer)
    return answer


def _extend(session: Session, service: Service, job: Job, budget: Budget) -> None:
    spec = JobSpec.model_validate(job.spec)
    before = spec.budget.model_dump(mode="json")
    if owner.asks_for_the_same(spec.budget, budget):
        owner.limit_seconds(job, spec, budget.max_seconds)
    else:
        longer = owner.extended(spec, budget)
        owner.extend(session, job, longer, checked_plan(longer, service.settings))
        check_run_quotas(session, service.principal, service.settings)
    record(session, service.principal, "extended", job, before=before, budget=budget.model_dump(mode="json"))


@router.delete("/{job_id}", status_code=204, summary="Delete a job", responses=declared(NOT_FOUND, ILLEGAL_ACTION))
def delete_job(job_id: str, service: SubmitService) -> None:
    """Delete an ended job with its runs, histories and artifacts."""
    with service.database.write() as session:
        job = find_job(session, job_id)
        run_ids = session.scalars(select(Run.id).where(Run.job_id == job_id)).all()
        keys = owner.delete_job(session, job_id)
        record(session, service.principal, "deleted", job, name=job.name, spec_hash=job.spec_hash)
    service.forget_files(keys)
    service.forget_metrics(run_ids)


@router.post("/{job_id}/cancel", status_code=202, summary="Cancel a job", responses=declared(NOT_FOUND, ILLEGAL_ACTION))
def cancel_job(job_id: str, service: SubmitService) -> answers.Job:
    """Cancel what waits at once; what trains ends within about two seconds."""
    return _act(service, job_id, owner.cancel, "cancelled")


@router.post("/{job_id}/pause", status_code=202, summary="Pause a job", responses=declared(NOT_FOUND, ILLEGAL_ACTION))
def pause_job(job_id: str, service: SubmitService) -> answers.Job:
    """Let what waits rest at once; what trains is saved and leaves its worker within about two seconds."""
    return _act(service, job_id, owner.pause, "paused")


@router.post(
    "/{job_id}/resume",
    status_code=202,
    summary="Resume a job",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, OVER_QUOTA),
)
def resume_job(job_id: str, service: SubmitService) -> answers.Job:
    """Queue what rests: it goes on from where it was saved, on whichever worker is free."""
    return _act(service, job_id, owner.resume, "resumed", queues=True)


@router.post(
    "/{job_id}/retry",
    status_code=202,
    summary="Retry a job",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, OVER_QUOTA),
)
def retry_job(job_id: str, service: SubmitService) -> answers.Job:
    """Queue the failed and cancelled runs again; they go on from their last checkpoints."""
    return _act(service, job_id, owner.retry, "retried", queues=True)


def _act(
    service: Service, job_id: str, act: Callable[[Session, str], None], action: str, *, queues: bool = False
) -> answers.Job:
    with service.database.write() as session:
        job = find_job(session, job_id)
        act(session, job_id)
        if queues:
            check_run_quotas(session, service.principal, service.settings)
        record(session, service.principal, action, job)
        answer = job_answers(session, service.settings, [job])[0]
    if queues:
        service.relay.nudge()
    return answer


@router.get("/{job_id}/runs", summary="List a job's runs", responses=declared(NOT_FOUND))
def list_runs(job_id: str, service: ReadService) -> answers.Page[answers.Run]:
    """All runs of a job, by position: at most 1,000, on one page."""
    with service.database.read() as session:
        find_job(session, job_id)
        return single_page(run_answers(session, Run.job_id == job_id))
