"""Throttling of client addresses, for requests that no owner is charged for."""

import asyncio

from api.http.addresses import client_address
from api.quotas.token_bucket import TokenBucket

DELAY_SECONDS = 1.0
MOST_REMEMBERED = 10_000
"""Maximum number of client addresses with a token bucket."""


class AddressThrottle:
    """Delays the responses to addresses that send many unauthenticated or rejected requests."""

    def __init__(self, a_minute: int) -> None:
        """Allow so many per minute without delay, half of them in a burst."""
        self._a_minute = a_minute
        self._buckets: dict[str, TokenBucket] = {}

    def delay(self, host: str) -> float:
        """Count a request, and return after how many seconds its response is to be sent."""
        if len(self._buckets) >= MOST_REMEMBERED:
            self._buckets.clear()
        address = client_address(host)
        bucket = self._buckets.setdefault(address, TokenBucket(self._a_minute / 2, self._a_minute / 60))
        return 0.0 if bucket.take(1) else DELAY_SECONDS

    async def wait(self, client: tuple[str, int] | None) -> None:
        """Count a request, and wait as long as its response is to be delayed."""
        if seconds := self.delay(client[0] if client else ""):
            await asyncio.sleep(seconds)
