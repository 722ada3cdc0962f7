"""What routes stand on, handed to them by FastAPI."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import structlog
from fastapi import Depends, Request
from redis import RedisError

from api.auth.keyring import Keyring
from api.auth.principals import ANONYMOUS, Principal
from api.histories import Histories
from api.quotas.limits import Streams
from api.quotas.rates import Rates
from api.relay import Relay
from api.run_owners import RunOwners
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
    """One API process, as one principal may use it: its connections, its relay, its meters."""

    settings: Settings
    principal: Principal
    database: Database
    """As the principal sees it: what belongs to others is not there."""
    storage: Storage
    metrics: "redis.Redis"
    """Live metrics, for routes in threads."""
    metrics_async: "redis.asyncio.Redis"
    """Live metrics, for routes on the event loop."""
    histories: Histories
    """Of everybody: ask `run_owners` first."""
    run_owners: RunOwners
    relay: Relay
    meters: Meters
    keyring: Keyring
    rates: Rates
    streams: Streams
    parsers: asyncio.Semaphore
    """Held by each upload while it is read."""

    def of(self, principal: Principal) -> "Service":
        """The same process for somebody else."""
        return replace(self, principal=principal, database=self.database.of(principal.sees))

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
    # Whoever came past the gate without a key sees nothing of anybody's.
    return service.of(request.scope["state"].get("principal", ANONYMOUS))


ServiceNeeded = Annotated[Service, Depends(_service)]
