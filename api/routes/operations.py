"""Operations: is it alive, is it ready, what waits, who works."""

import asyncio
from collections.abc import Awaitable, Iterable
from datetime import timedelta

import structlog
from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import func, select

from api.auth.scopes import PUBLIC, ScopedRoute
from api.dependencies import AdminService, MetricsService, PublicService, ReadService, Service
from api.errors import declared
from api.job_answers import device_warnings, live_devices
from api.pages import single_page
from models import answers
from models.queue import app as celery
from models.status import LIVE, RunStatus
from models.tables import Run, Worker, now

router = APIRouter(tags=["operations"], route_class=ScopedRoute)

READY_SECONDS = 2.0

log = structlog.get_logger()


@router.get("/healthz", summary="Is the process alive", dependencies=[PUBLIC])
async def get_health() -> answers.Health:
    """Says nothing about the parts behind it."""
    return answers.Health(status="alive")


@router.get(
    "/readyz",
    summary="Can work be done",
    responses={503: {"model": answers.Readiness, "description": "A part does not answer"}},
)
async def get_readiness(service: PublicService, response: Response) -> answers.Readiness:
    """Asks database, broker and live metrics, two seconds at most; requests at the same time share the answer."""
    readiness = await service.readiness.result(lambda: _readiness(service))
    response.status_code = 200 if readiness.ready else 503
    return readiness


async def _readiness(service: Service) -> answers.Readiness:
    database, broker, metrics = await asyncio.gather(
        _answers_in_time("database", run_in_threadpool(_ask_database, service)),
        _answers_in_time("broker", run_in_threadpool(_ask_broker)),
        _answers_in_time("metrics", service.metrics_async.ping()),
    )
    return answers.Readiness(ready=database and broker and metrics, database=database, broker=broker, metrics=metrics)


async def _answers_in_time(part: str, asked: Awaitable[object]) -> bool:
    try:
        await asyncio.wait_for(asked, READY_SECONDS)
    except Exception as error:  # whatever it is, the part does not do its work
        log.warning("part.away", part=part, error=type(error).__name__)
        return False
    return True


def _ask_database(service: Service) -> None:
    with service.database.read() as session:
        # From a table: a SQLite that is locked would still do sums.
        session.execute(select(Worker.id).limit(1))


def _ask_broker() -> None:
    with celery.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=READY_SECONDS)


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response, responses=declared())
def get_prometheus_metrics(service: MetricsService) -> Response:
    """Text in Prometheus's format: requests, runs by status, workers, runs returned by the relay."""
    content = generate_latest(service.meters.registry) + generate_latest(_Now(service))
    return Response(content, media_type=CONTENT_TYPE_LATEST)


class _Now:
    """What is counted when asked, rather than as it happens."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        with self._service.database.read() as session:
            counted = dict(session.execute(select(Run.status, func.count()).group_by(Run.status)).all())
            since = now() - timedelta(seconds=self._service.settings.lease_seconds)
            workers = session.scalar(select(func.count()).where(Worker.seen_at > since))
        runs = GaugeMetricFamily("descent_runs", "Runs by status", labels=["status"])
        for status in RunStatus:
            runs.add_metric([status.value], counted.get(status, 0))
        yield runs
        yield GaugeMetricFamily("descent_live_workers", "Training processes seen within a lease", value=workers or 0)
        relay = self._service.relay
        yield CounterMetricFamily("descent_lost_runs", "Runs taken from vanished workers", value=relay.lost_runs)
        yield GaugeMetricFamily("descent_relay_is_leader", "Whether this process's relay acts", value=relay.is_leader)


@router.get("/v1/queue", summary="What waits", responses=declared())
def get_queue(service: ReadService) -> answers.Queue:
    """Waiting runs by the device that they ask for, and what keeps them waiting for good."""
    with service.database.read() as session:
        waiting = dict(
            session.execute(
                select(Run.device, func.count()).where(Run.status == RunStatus.QUEUED).group_by(Run.device)
            ).all()
        )
        oldest = session.scalar(select(func.min(Run.queued_at)).where(Run.status == RunStatus.QUEUED))
        running = session.scalar(select(func.count()).where(Run.status.in_(LIVE))) or 0
        live = live_devices(session, service.settings)
    return answers.Queue(
        waiting_by_device=waiting,
        running=running,
        oldest_waiting_seconds=(now() - oldest).total_seconds() if oldest else None,
        warnings=device_warnings(waiting, live),
    )


@router.get("/v1/workers", summary="Who works", responses=declared())
def list_workers(service: AdminService) -> answers.Page[answers.Worker]:
    """The training processes seen within a lease, on one page."""
    since = now() - timedelta(seconds=service.settings.lease_seconds)
    with service.database.read() as session:
        rows = session.scalars(select(Worker).where(Worker.seen_at > since).order_by(Worker.host, Worker.id)).all()
    return single_page([answers.Worker.model_validate(row, from_attributes=True) for row in rows])
