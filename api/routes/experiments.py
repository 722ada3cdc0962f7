"""Experiments: the names that jobs share."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from sqlalchemy import func, literal, select, tuple_
from sqlalchemy.orm import Session

from api.auth.scopes import ScopedRoute
from api.dependencies import ReadService
from api.errors import NOT_FOUND, Refusal, declared
from api.pages import Key, PageAfter, PageLimit, decode, page
from models import answers
from models.status import RunStatus
from models.tables import Instant, Job, Run

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=ScopedRoute)

_LAST = func.max(Job.created_at, type_=Instant())
_NAMED = (
    select(Job.experiment, func.count().label("jobs"), func.min(Job.created_at).label("first"), _LAST.label("last"))
    .where(Job.experiment != "")
    .group_by(Job.experiment)
)


@router.get("", summary="List experiments", responses=declared())
def list_experiments(
    service: ReadService, limit: PageLimit = 50, after: PageAfter = ""
) -> answers.Page[answers.Experiment]:
    """A page of experiments, the one with the newest job first."""
    statement = _NAMED.order_by(_LAST.desc(), Job.experiment.desc()).limit(limit + 1)
    if after:
        key = decode(after)
        place = tuple_(literal(key.moment, Instant()), literal(key.name))
        statement = statement.having(tuple_(_LAST, Job.experiment) < place)
    with service.database.read() as session:
        return page(
            session.execute(statement).all(),
            limit,
            key=lambda row: Key(row.last, row.experiment),
            items=lambda rows: _answers(session, rows),
        )


@router.get("/{name:path}", summary="Get an experiment", responses=declared(NOT_FOUND))
def get_experiment(name: str, service: ReadService) -> answers.Experiment:
    """How many jobs bear the name, and where their runs stand. A name may hold slashes."""
    with service.database.read() as session:
        row = session.execute(_NAMED.where(Job.experiment == name)).one_or_none()
        if row is None:
            raise Refusal(NOT_FOUND, f'there is no experiment "{name}"')
        return _answers(session, [row])[0]


def _answers(session: Session, rows: Sequence[Any]) -> list[answers.Experiment]:
    """Of rows (experiment, jobs, first, last)."""
    runs: dict[str, dict[RunStatus, int]] = {row.experiment: {} for row in rows}
    counted = session.execute(
        select(Job.experiment, Run.status, func.count())
        .join(Run, Run.job_id == Job.id)
        .where(Job.experiment.in_(runs))
        .group_by(Job.experiment, Run.status)
    )
    for name, status, count in counted:
        runs[name][RunStatus(status)] = count
    return [
        answers.Experiment(
            name=row.experiment,
            jobs=row.jobs,
            runs_by_status=runs[row.experiment],
            first_created_at=row.first,
            last_created_at=row.last,
        )
        for row in rows
    ]
