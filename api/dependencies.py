"""What routes stand on, handed to them by FastAPI."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import Depends, Request, Security
from redis import RedisError

from api.auth.keyring import Keyring
from api.auth.principals import ANONYMOUS, Principal
from api.auth.scopes import PUBLIC, KeyScheme
from api.histories import Histories
from api.quotas.rates import Rates
from api.quotas.requests import RequestQuotas
from api.relay import Relay
from api.run_owners import RunOwners
from api.shared_call import SharedCall
from api.telemetry import Meters
from models.access import Scope
from models.answers import Readiness
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
    requests: RequestQuotas
    readiness: SharedCall[Readiness]
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


async def _service(request: Request, _: KeyScheme) -> Service:
    service: Service = request.app.state.service
    return service.of(request.scope["state"]["principal"])


async def _public_service(request: Request, _: Annotated[None, PUBLIC]) -> Service:
    service: Service = request.app.state.service
    return service.of(ANONYMOUS)


ReadService = Annotated[Service, Security(_service, scopes=[Scope.READ.value])]
"""Of a route that looks at what belongs to the owner."""
SubmitService = Annotated[Service, Security(_service, scopes=[Scope.SUBMIT.value])]
"""Of a route that adds to what belongs to the owner, or changes it."""
AdminService = Annotated[Service, Security(_service, scopes=[Scope.ADMIN.value])]
"""Of a route that concerns all owners."""
MetricsService = Annotated[Service, Security(_service, scopes=[Scope.METRICS.value])]
"""Of the route that Prometheus scrapes."""
PublicService = Annotated[Service, Depends(_public_service)]
"""Of a route that takes no key; it sees nothing of any owner."""


async def _following(service: ReadService) -> AsyncIterator[None]:
    async with service.requests.following(service.principal):
        yield


async def _uploading(service: SubmitService) -> AsyncIterator[None]:
    async with service.requests.uploading(service.principal):
        yield


FOLLOWS: Any = Depends(_following)
"""Of a route whose response lasts long: it counts as one of the streams, long polls and downloads of the owner."""
UPLOADS: Any = Depends(_uploading)
"""Of a route that takes a large body: it counts as one of the uploads of the owner."""
