"""What routes stand on, handed to them by FastAPI."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import structlog
from fastapi import Depends, Request
from redis import RedisError

from api.histories import Histories
from api.relay import Relay
from api.telemetry import Meters
from models.database import Database
from models.metric_stream import forget
from models.settings import Settings
from models.storage import Storage

if TYPE_CHECKING:
    import redis
    import redis.asyncio

log = structlog.get_logger()


@dataclass(frozen=True)
class Service:
    """One API process: its connections, its relay, its meters."""

    settings: Settings
    database: Database
    storage: Storage
    metrics: "redis.Redis"
    """Live metrics, for routes in threads."""
    metrics_async: "redis.asyncio.Redis"
    """Live metrics, for routes on the event loop."""
    histories: Histories
    relay: Relay
    meters: Meters
    parsers: asyncio.Semaphore
    """Held by each upload while it is read."""

    def forget_files(self, keys: Sequence[str]) -> None:
        """Remove files that nothing names any more; where storage is away they stay, to be found as orphans."""
        try:
            self.storage.delete(keys)
        except OSError as error:
            log.warning("files.not_removed", keys=list(keys), error=type(error).__name__)

    def forget_metrics(self, run_ids: Sequence[str]) -> None:
        """Drop the live metrics of deleted runs; where Redis is away, they expire by themselves."""
        try:
            forget(self.metrics, run_ids)
        except RedisError as error:
            log.warning("metrics.redis_away", error=type(error).__name__)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceNeeded = Annotated[Service, Depends(_service)]
