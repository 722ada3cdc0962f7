"""The application: what is put together for `python -m api`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

import structlog
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from api import errors
from api.auth.keyring import Keyring
from api.auth.middleware import AuthMiddleware
from api.auth.principals import SERVICE
from api.auth.scopes import ScopedRoute, check_declarations, unmatched
from api.auth.secrets import is_strong
from api.dashboard.serve import add_dashboard
from api.dependencies import Service
from api.documentation import add_documentation
from api.histories import Histories
from api.housekeeping import Housekeeper
from api.http.fairness import FairShare
from api.http.limits import RequestLimits
from api.quotas.addresses import AddressThrottle
from api.quotas.rates import Rates, forget_old_counts
from api.quotas.requests import RequestQuotas
from api.relay import Relay
from api.responses import forget_old_answers
from api.routes import (
    analyses,
    comparisons,
    components,
    datasets,
    diagnoses,
    events,
    experiments,
    housekeeping,
    jobs,
    keys,
    labs,
    operations,
    predictions,
    results,
    runs,
    streams,
    sweeps,
    test_evaluations,
    usage,
    verdicts,
)
from api.run_owners import RunOwners
from api.shared_call import SharedCall
from api.telemetry import Meters, RequestContext
from models.database import Database
from models.logs import configure_logging
from models.metric_stream import connect, connect_async
from models.settings import Settings
from models.settings import settings as environment
from models.storage import Storage

CONNECTIONS = 20
"""To the database, and as many again in a rush: one for each thread that may ask at once."""
HOUSEKEEPING_SECONDS = 3600.0
FIRST_HOUSEKEEPING_SECONDS = 60.0
"""After the start, which has better things to do."""

DESCRIPTION = """
Submit a spec, watch its runs train, and compare jobs with statistics.

A job is one accepted spec; a run is one network trained once. Every error is `application/problem+json` (RFC 9457).
"""

ROUTERS = (
    datasets,
    jobs,
    results,
    diagnoses,
    analyses,
    test_evaluations,
    runs,
    predictions,
    streams,
    sweeps,
    experiments,
    comparisons,
    verdicts,
    labs,
    components,
    events,
    keys,
    operations,
    usage,
    housekeeping,
)

log = structlog.get_logger()


def create_app(settings: Settings | None = None) -> FastAPI:
    """Put the API together; it connects when it starts, not here.

    Raises:
        ValueError: if the settings hold no admin key, or a weak one.

    """
    config = settings or environment()
    admin_key = _admin_key(config)
    configure_logging(config.log_format)
    meters = Meters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        check_declarations(app)
        service = _connect(config, admin_key, meters)
        app.state.service = service
        service.relay.start()
        housekeeper = Housekeeper(service.database, service.storage, config)
        keeping_house = asyncio.create_task(_keep_house(service, housekeeper))
        try:
            yield
        finally:
            housekeeper.stop()
            keeping_house.cancel()
            with suppress(asyncio.CancelledError):
                await keeping_house
            await run_in_threadpool(service.relay.stop)
            await service.metrics_async.aclose()
            await service.metrics_async.connection_pool.aclose()
            service.metrics.close()
            service.database.dispose()

    app = FastAPI(
        title="Descent",
        version=version("descent"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.router.route_class = ScopedRoute
    app.router.default = unmatched
    throttle = AddressThrottle(config.anonymous_a_minute)
    # The last one added is the outermost.
    app.add_middleware(FairShare)
    app.add_middleware(AuthMiddleware, throttle=throttle)
    app.add_middleware(RequestLimits, config=config, throttle=throttle)
    app.add_middleware(RequestContext, meters=meters)
    errors.install(app)
    for routes in ROUTERS:
        # include_router would build each route again, which takes most of a start.
        app.router.routes.extend(routes.router.routes)
    add_documentation(app)
    add_dashboard(app)
    check_declarations(app)
    return app


def _admin_key(config: Settings) -> str:
    key = config.admin_key.get_secret_value().strip() if config.admin_key else ""
    if not is_strong(key):
        raise ValueError(
            "DESCENT_ADMIN_KEY, or the file /run/secrets/descent_admin_key, has to hold a key of at least 32 letters, "
            f"digits, _ and -: the API does not serve without one, and this has {len(key)} characters. "
            "`openssl rand -hex 32` makes one"
        )
    return key


def _connect(config: Settings, admin_key: str, meters: Meters) -> Service:
    database = Database(config.database(), pool_size=CONNECTIONS)
    live = connect_async(config.metrics())
    rates = Rates(live, database)
    return Service(
        settings=config,
        principal=SERVICE,
        database=database,
        storage=Storage(config.storage_url),
        metrics=connect(config.metrics()),
        metrics_async=live,
        histories=Histories(database, live),
        run_owners=RunOwners(database),
        relay=Relay(database, config),
        meters=meters,
        keyring=Keyring(database, admin_key),
        rates=rates,
        requests=RequestQuotas(config, rates),
        readiness=SharedCall(),
        parsers=asyncio.Semaphore(config.max_parsers),
    )


async def _keep_house(service: Service, housekeeper: Housekeeper) -> None:
    """Once an hour; where several processes serve, in the one whose relay is at work."""
    await asyncio.sleep(FIRST_HOUSEKEEPING_SECONDS)
    while True:
        try:
            await run_in_threadpool(forget_old_answers, service.database)
            await run_in_threadpool(forget_old_counts, service.database)
            if service.relay.is_leader:
                report = await run_in_threadpool(housekeeper.tidy, rehearses=False)
                log.info("house.kept", **report.model_dump(exclude={"dry_run", "orphan_keys"}))
        except Exception as error:  # whatever is away comes back, and an hour later all of it is tried again
            log.warning("house.not_kept", error=f"{type(error).__name__}: {error}".splitlines()[0])
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
