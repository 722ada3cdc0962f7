"""Events: what was done, when and by whom."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import ColumnElement, select

from api.auth.scopes import ScopedRoute
from api.dependencies import ReadService, Service
from api.errors import NOT_FOUND, Refusal, declared
from api.pages import PageAfter, PageLimit, PageSort, listed
from models import answers
from models.access import Event as EventAnswer
from models.tables import Event, Job

router = APIRouter(prefix="/v1", tags=["events"], route_class=ScopedRoute)


@router.get("/jobs/{job_id}/events", summary="List what was done to a job", responses=declared(NOT_FOUND))
def list_job_events(
    job_id: str, service: ReadService, sort: PageSort = "newest", limit: PageLimit = 50, after: PageAfter = ""
) -> answers.Page[EventAnswer]:
    """Who submitted, paused, cancelled, extended, analysed, opened or deleted it; of a deleted job, too."""
    with service.database.read() as session:
        known = session.scalar(select(Event.id).where(Event.subject_id == job_id).limit(1))
        if known is None and session.scalar(select(Job.id).where(Job.id == job_id)) is None:
            raise Refusal(NOT_FOUND, f"there is no job {job_id}")
    return _page(service, [Event.subject_id == job_id], sort, limit, after)


@router.get("/events", summary="List what was done", responses=declared())
def list_events(
    service: ReadService,
    subject: Annotated[str | None, Query(max_length=40, description="Id of a job, sweep, data set or key.")] = None,
    action: Annotated[str | None, Query(max_length=40)] = None,
    sort: PageSort = "newest",
    limit: PageLimit = 50,
    after: PageAfter = "",
) -> answers.Page[EventAnswer]:
    """What was done to anything of yours; for admins, to anything of anybody's."""
    conditions = [] if subject is None else [Event.subject_id == subject]
    if action is not None:
        conditions.append(Event.action == action)
    return _page(service, conditions, sort, limit, after)


def _page(
    service: Service, conditions: list[ColumnElement[bool]], sort: PageSort, limit: int, after: str
) -> answers.Page[EventAnswer]:
    with service.database.read() as session:
        return listed(
            session,
            select(Event).where(*conditions),
            Event.happened_at,
            Event.id,
            after=after,
            limit=limit,
            sort=sort,
            items=lambda events: [EventAnswer.model_validate(event, from_attributes=True) for event in events],
        )
