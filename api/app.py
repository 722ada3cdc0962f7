"""The application: what is put together for `python -m api`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse

from api import errors
from api.dependencies import Service
from api.histories import Histories
from api.housekeeping import Housekeeper
from api.limits import RequestLimits
from api.relay import Relay
from api.responses import forget_old_answers
from api.routes import (
    analyses,
    comparisons,
    components,
    datasets,
    diagnoses,
    experiments,
    housekeeping,
    jobs,
    operations,
    predictions,
    results,
    runs,
    streams,
    sweeps,
    test_evaluations,
    verdicts,
)
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

ROOMS = (
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
    components,
    operations,
    housekeeping,
)

log = structlog.get_logger()


def create_app(settings: Settings | None = None) -> FastAPI:
    """Put the API together; it connects when it starts, not here."""
    config = settings or environment()
    configure_logging(config.log_format)
    meters = Meters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service = _connect(config, meters)
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
    )
    # The last one added is the outermost.
    app.add_middleware(RequestLimits, config=config)
    app.add_middleware(RequestContext, meters=meters)
    errors.install(app)
    for room in ROOMS:
        app.include_router(room.router)
    _add_documentation(app)
    return app


def _connect(config: Settings, meters: Meters) -> Service:
    database = Database(config.database(), pool_size=CONNECTIONS)
    live = connect_async(config.metrics())
    return Service(
        settings=config,
        database=database,
        storage=Storage(config.storage_url),
        metrics=connect(config.metrics()),
        metrics_async=live,
        histories=Histories(database, live),
        relay=Relay(database, config),
        meters=meters,
        parsers=asyncio.Semaphore(config.max_parsers),
    )


async def _keep_house(service: Service, housekeeper: Housekeeper) -> None:
    """Once an hour; where several processes serve, in the one whose relay is at work."""
    await asyncio.sleep(FIRST_HOUSEKEEPING_SECONDS)
    while True:
        try:
            await run_in_threadpool(forget_old_answers, service.database)
            if service.relay.is_leader:
                report = await run_in_threadpool(housekeeper.tidy, rehearses=False)
                log.info("house.kept", **report.model_dump(exclude={"dry_run", "orphan_keys"}))
        except Exception as error:  # whatever is away comes back, and an hour later all of it is tried again
            log.warning("house.not_kept", error=f"{type(error).__name__}: {error}".splitlines()[0])
        await asyncio.sleep(HOUSEKEEPING_SECONDS)


def _add_documentation(app: FastAPI) -> None:
    """OpenAPI with its problems, and Swagger UI from the files of a wheel: the page fetches nothing from elsewhere."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            errors.add_schemas(describe())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    app.mount("/docs/files", StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-files")
    policy = (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
    )

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Descent",
            swagger_js_url="/docs/files/swagger-ui-bundle.js",
            swagger_css_url="/docs/files/swagger-ui.css",
            swagger_favicon_url="/docs/files/favicon.png",
        )
        page.headers["Content-Security-Policy"] = f"{policy}; frame-ancestors 'none'"
        return page
