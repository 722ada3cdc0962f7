"""The way back of a question that a worker answers: one message in Redis, for the one who waits for it."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis
    import redis.asyncio

KEPT_SECONDS = 60
"""An answer that nobody has fetched by then is nobody's."""


def _key(request_id: str) -> str:
    return f"descent:reply:{request_id}"


def _awaited_key(request_id: str) -> str:
    return f"descent:awaited:{request_id}"


async def announce(client: "redis.asyncio.Redis", request_id: str, seconds: float) -> None:
    """Say that somebody will wait for an answer for so long; to be said before the question is asked."""
    await client.set(_awaited_key(request_id), b"", px=round(1000 * seconds))


def is_awaited(client: "redis.Redis", request_id: str) -> bool:
    """Whether somebody still waits. The one clock that counts is that of Redis."""
    return bool(client.exists(_awaited_key(request_id)))


def reply(client: "redis.Redis", request_id: str, answer: dict[str, Any]) -> None:
    with client.pipeline() as pipeline:
        pipeline.rpush(_key(request_id), json.dumps(answer))
        pipeline.expire(_key(request_id), KEPT_SECONDS)
        pipeline.execute()


async def wait_for_reply(client: "redis.asyncio.Redis", request_id: str, seconds: float) -> dict[str, Any] | None:
    """The answer, or None if there is none in time."""
    found = await client.blpop([_key(request_id)], timeout=seconds)
    if found is None:
        return None
    answer: dict[str, Any] = json.loads(found[1])
    return answer
