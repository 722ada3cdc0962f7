"""A run's points as server-sent events."""

from collections.abc import AsyncIterable
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.auth.scopes import ScopedRoute
from api.dependencies import FOLLOWS, ReadService, Service
from api.errors import NOT_FOUND, OVER_QUOTA, declared
from api.quotas.requests import run_in_turn
from api.routes.runs import MAX_POINTS, MetricNames, demand_run, read_cursor
from models.answers import MetricsPage
from models.metric_stream import Cursor

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=ScopedRoute)

KEY_CHECK_SECONDS = 5.0
"""How often a stream without news looks whether its key is still valid."""


async def _start(
    run_id: str,
    service: ReadService,
    last_event_id: Annotated[str, Header(max_length=40, description="Go on after this event.")] = "",
) -> Cursor:
    # Refuses before the stream begins: afterwards there is no status code any more.
    cursor = read_cursor(last_event_id)
    await service.run_owners.demand(service.principal, run_id)
    await run_in_turn(_demand_run, service, run_id)
    return cursor


def _demand_run(service: Service, run_id: str) -> None:
    with service.database.read() as session:
        demand_run(session, run_id)


@router.get(
    "/{run_id}/stream",
    summary="Follow a run's points",
    response_class=EventSourceResponse,
    dependencies=[FOLLOWS],
    responses=declared(NOT_FOUND, OVER_QUOTA),
)
async def stream_metrics(
    run_id: str,
    service: ReadService,
    start: Annotated[Cursor, Depends(_start)],
    name: MetricNames = [],  # noqa: B006
) -> AsyncIterable[ServerSentEvent]:
    """Events until the run has ended.

    `status` {status}; `rollback` {from_step}: forget every point past it; `metrics` {series, non_finite}, whose id is a
    cursor; `end` {status}, the last. A client that comes back with Last-Event-ID misses nothing and sees nothing twice.
    """
    after, status = start, None
    while not service.histories.is_closing and await service.keyring.is_valid(service.principal):
        page = await service.histories.page(
            run_id, after, name, limit=MAX_POINTS, wait_seconds=KEY_CHECK_SECONDS if status else 0
        )
        if page.status is not status and not page.is_terminal:
            yield ServerSentEvent(event="status", data={"status": page.status})
        for event in _news(page):
            yield event
        if page.is_terminal:
            yield ServerSentEvent(event="end", data={"status": page.status}, id=page.next_after)
            return
        after, status = Cursor.parse(page.next_after), page.status


def _news(page: MetricsPage) -> list[ServerSentEvent]:
    events = []
    if page.rollback:
        # Without an id: whoever loses the connection here is told again.
        events.append(ServerSentEvent(event="rollback", data=page.rollback.model_dump()))
    if page.series:
        data = page.model_dump(mode="json", include={"series", "non_finite"})
        events.append(ServerSentEvent(event="metrics", data=data, id=page.next_after))
    return events
