"""Limits on prediction requests: concurrent requests per owner, and computation per request.

The predictor serves requests in order of arrival, so these limits bound how long a request waits for those of other
owners. They apply to admins too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from redis import RedisError

from api.errors import RATE_LIMITED, TOO_MANY_ROWS, Refusal, invalid
from models.questions import release, take_slot
from models.settings import Settings
from models.spec.job import JobSpec
from models.spec.plan import prediction_operations
from models.tables import new_id

if TYPE_CHECKING:
    import redis.asyncio

SLOTS = 2
"""Questions of one owner in flight, over all API processes: one is computed while the next is on its way."""
RETRY_SECONDS = 1
REDIS_SECONDS = 1.0
"""Timeout for commands of Redis."""


@asynccontextmanager
async def question_slot(client: "redis.asyncio.Redis", owner: str, seconds: float) -> AsyncIterator[str]:
    """Count one question of an owner while it is answered; gives its id.

    Raises:
        Refusal: if the owner has as many questions in flight as allowed.

    """
    request_id = new_id("question")
    async with asyncio.timeout(REDIS_SECONDS):
        is_free = await take_slot(client, owner, request_id, slots=SLOTS, seconds=seconds)
    if not is_free:
        detail = f"at most {SLOTS} requests for predictions of one owner are answered at once: wait for one of yours"
        raise Refusal(RATE_LIMITED, detail, headers={"Retry-After": str(RETRY_SECONDS)})
    try:
        yield request_id
    finally:
        # Where Redis is away, the slot expires by itself.
        with suppress(RedisError, OSError):
            async with asyncio.timeout(REDIS_SECONDS):
                await release(client, owner, request_id)


def check_rows(spec: JobSpec, rows: int, settings: Settings) -> None:
    """Check that one request may ask for predictions of so many rows.

    Raises:
        Refusal: if not; if only this network takes fewer rows, the member `max_rows` says how many.

    """
    if rows > (most := settings.max_prediction_rows):
        raise invalid("/rows", "too_many", f"{rows:,} rows exceed the {most:,} of one request: send fewer at once")
    limits = (
        ("operations", prediction_operations(spec), settings.max_prediction_operations),
        ("outputs", spec.dataset.shape.outputs, settings.max_prediction_outputs),
    )
    for what, per_row, most in limits:
        if per_row > most:
            setting = f"DESCENT_MAX_PREDICTION_{what.upper()}"
            detail = f"one row takes {per_row:,} {what}, more than the {most:,} of a request ({setting})"
            raise Refusal(TOO_MANY_ROWS, detail, max_rows=0)
    fitting = min(most // per_row for _, per_row, most in limits)
    if rows > fitting:
        detail = f"this network takes at most {fitting:,} rows per request, and these are {rows:,}: send fewer at once"
        raise Refusal(TOO_MANY_ROWS, detail, max_rows=fitting)
