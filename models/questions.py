"""Questions for the predictor and their replies, both kept in Redis while a client waits.

The message in the queue (see `models.queue`) carries ids only. The rows lie under the id of the request and expire with
its deadline, so that a question whose client has gone costs the predictor one look-up.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    import redis
    import redis.asyncio

KEPT_SECONDS = 10
"""How long a reply is kept that the client did not fetch: it has left after the predictor looked."""

# The set holds the deadline of each question of one owner, by the clock of Redis: slots of an API process that has
# crashed become free again by themselves.
_TAKE_SLOT = """
local time = redis.call('TIME')
local now = 1000 * time[1] + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class ReplyKind(StrEnum):
    """What the content of a reply is."""

    PREDICTIONS = "predictions"
    """JSON of `models.answers.Predictions`."""
    REFUSED = "refused"
    """JSON: `pointer` to a row that does not fit the network, and `detail`."""
    GONE = "gone"
    """A sentence: the weights cannot be read."""


class Reply(NamedTuple):
    """The predictor's reply to one question."""

    kind: ReplyKind
    content: bytes


def _slots_key(owner: str) -> str:
    return f"descent:questions:{owner}"


def _rows_key(request_id: str) -> str:
    return f"descent:question:{request_id}"


def _reply_key(request_id: str) -> str:
    return f"descent:reply:{request_id}"


async def take_slot(client: "redis.asyncio.Redis", owner: str, request_id: str, *, slots: int, seconds: float) -> bool:
    """Count a question of an owner until it is released, or until `seconds` have passed.

    Returns:
        Whether the owner had one of their `slots` free; otherwise nothing is counted.

    """
    arguments = (request_id, slots, round(1000 * seconds))
    return bool(await cast("Any", client.eval(_TAKE_SLOT, 1, _slots_key(owner), *arguments)))


async def put_rows(client: "redis.asyncio.Redis", request_id: str, rows: bytes, seconds: float) -> None:
    """Leave the rows of a question for the predictor; to be called before the message is sent."""
    await client.set(_rows_key(request_id), rows, px=round(1000 * seconds))


def take_rows(client: "redis.Redis", request_id: str) -> bytes | None:
    """Return the rows of a question, or None if its client no longer waits."""
    return cast("bytes | None", client.get(_rows_key(request_id)))


def send_reply(client: "redis.Redis", request_id: str, reply: Reply) -> None:
    """Reply to a question, unless its client no longer waits."""
    if not client.exists(_rows_key(request_id)):
        return
    with client.pipeline() as pipeline:
        pipeline.rpush(_reply_key(request_id), b"\n".join((reply.kind.encode(), reply.content)))
        pipeline.expire(_reply_key(request_id), KEPT_SECONDS)
        pipeline.execute()


async def wait_for_reply(client: "redis.asyncio.Redis", request_id: str, seconds: float) -> Reply | None:
    """Return the reply to a question, or None if there is none in time."""
    found = cast("Any", await client.blpop([_reply_key(request_id)], timeout=seconds))
    if found is None:
        return None
    kind, _, content = found[1].partition(b"\n")
    return Reply(ReplyKind(kind.decode()), content)


async def release(client: "redis.asyncio.Redis", owner: str, request_id: str) -> None:
    """Free the slot of a question and remove what is left of it."""
    async with client.pipeline() as pipeline:
        pipeline.zrem(_slots_key(owner), request_id)
        pipeline.delete(_rows_key(request_id), _reply_key(request_id))
        await pipeline.execute()
