"""Metrics on their way: packed chunks, published to Redis and read back, side by side.

A chunk holds what one run reported since the last one. The one worker that holds a run numbers its chunks 0, 1, 2, …
within its attempt, and the same numbers stand in Redis (as the stream's entry ids) and in SQL, so a reader's cursor
(attempt, number) means the same in both.
"""

import json
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import redis
import redis.asyncio
from numpy.typing import NDArray

from models.status import RunStatus

MAX_CHUNKS_IN_REDIS = 5_000

FROM_NOTHING = -1
"""The `from_step` of an attempt that begins anew: even the evaluation at step 0 comes again."""

Columns = Mapping[str, tuple[NDArray[np.int32], NDArray[np.float32]]]
"""Per metric: the steps and the values, each (points,)."""


@dataclass(frozen=True, order=True)
class Cursor:
    """A reader's place in a history: everything up to and including this chunk is known to it."""

    attempt: int = 0
    number: int = 0

    def __str__(self) -> str:
        return f"{self.attempt}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read back what `str` wrote; an empty text is the beginning.

        Raises:
            ValueError: if the text is no cursor.

        """
        if not text:
            return cls()
        attempt, dash, number = text.partition("-")
        if not (dash and attempt.isascii() and attempt.isdigit() and number.isascii() and number.isdigit()):
            raise ValueError(f"{text!r} is not a cursor: send back a next_after that this server gave")
        if len(attempt) > 9 or len(number) > 9:
            raise ValueError(f"{text!r} is not a cursor: its numbers are too large")
        return cls(int(attempt), int(number))


@dataclass(frozen=True)
class Chunk:
    """What one run reported in a fraction of a second."""

    cursor: Cursor
    columns: Columns = field(default_factory=dict)
    from_step: int | None = None
    """On an attempt's first chunk: the step it went on from, or FROM_NOTHING. Earlier points past it are void."""
    end: RunStatus | None = None
    """On a run's last chunk: how it ended."""


_LENGTHS = struct.Struct("<IIH")
"""Of a packed chunk: bytes after this header, chunk number, bytes of JSON."""


def pack(chunk: Chunk) -> bytes:
    """Eight bytes a point and a short JSON header; packed chunks can be joined end to end."""
    header: dict[str, object] = {"columns": [[name, len(steps)] for name, (steps, _) in chunk.columns.items()]}
    if chunk.from_step is not None:
        header["from_step"] = chunk.from_step
    if chunk.end is not None:
        header["end"] = chunk.end
    text = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join(
        part
        for steps, values in chunk.columns.values()
        for part in (
            np.ascontiguousarray(steps, "<i4").tobytes(),
            np.ascontiguousarray(values, "<f4").tobytes(),
        )
    )
    return _LENGTHS.pack(len(text) + len(body), chunk.cursor.number, len(text)) + text + body


def unpack(attempt: int, payload: bytes) -> Iterator[Chunk]:
    """The chunks that were packed and joined."""
    offset = 0
    while offset < len(payload):
        length, number, text_length = _LENGTHS.unpack_from(payload, offset)
        offset += _LENGTHS.size
        end = offset + length
        header = json.loads(payload[offset : offset + text_length])
        offset += text_length
        columns = {}
        for name, count in header["columns"]:
            steps = np.frombuffer(payload, "<i4", count, offset)
            values = np.frombuffer(payload, "<f4", count, offset + 4 * count)
            columns[name] = (steps, values)
            offset += 8 * count
        assert offset == end, "a packed chunk says its own length"
        yield Chunk(
            Cursor(attempt, number),
            columns,
            header.get("from_step"),
            RunStatus(header["end"]) if "end" in header else None,
        )


def merge(chunks: Sequence[Chunk]) -> dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Join chunks in order, one series per metric; an attempt voids what an earlier one wrote past its start."""
    parts: dict[str, list[tuple[NDArray[np.int32], NDArray[np.float32]]]] = {}
    for chunk in chunks:
        if chunk.from_step is not None:
            for name, series in parts.items():
                kept = [(steps <= chunk.from_step, steps, values) for steps, values in series]
                parts[name] = [(steps[keep], values[keep]) for keep, steps, values in kept]
        for name, column in chunk.columns.items():
            parts.setdefault(name, []).append(column)
    return {
        name: (np.concatenate([s for s, _ in series]), np.concatenate([v for _, v in series]))
        for name, series in parts.items()
    }


def whole_columns(payloads: Sequence[bytes], names: Collection[str] | None = None) -> Columns:
    """The same series, of all metrics or the named ones, straight from packed chunks in order: an array a metric, not
    two a chunk, as a history can have thousands of chunks.
    """
    wanted = None if names is None else frozenset(names)
    steps: defaultdict[str, list[bytes]] = defaultdict(list)
    values: defaultdict[str, list[bytes]] = defaultdict(list)
    for payload in payloads:
        offset, size = 0, len(payload)
        while offset < size:
            length, _, text_length = _LENGTHS.unpack_from(payload, offset)
            text = offset + _LENGTHS.size
            body = text + text_length
            offset = text + length
            layout, from_step = _layout(payload[text:body], wanted)
            if from_step is not None:
                _void(steps, values, from_step)
            for name, start, middle, end in layout:
                steps[name].append(payload[body + start : body + middle])
                values[name].append(payload[body + middle : body + end])
    return {
        name: (np.frombuffer(b"".join(parts), "<i4"), np.frombuffer(b"".join(values[name]), "<f4"))
        for name, parts in steps.items()
    }


@lru_cache(maxsize=10_000)
def _layout(text: bytes, wanted: frozenset[str] | None) -> tuple[list[tuple[str, int, int, int]], int | None]:
    """Where a chunk of this header holds the steps and the values of each metric, and the step that it goes on from.
    The chunks of a run are much alike, so few headers are ever read.
    """
    header, start, columns = json.loads(text), 0, []
    for name, count in header["columns"]:
        if wanted is None or name in wanted:
            columns.append((name, start, start + 4 * count, start + 8 * count))
        start += 8 * count
    return columns, header.get("from_step")


def _void(steps: dict[str, list[bytes]], values: dict[str, list[bytes]], from_step: int) -> None:
    for name, parts in steps.items():
        told = np.frombuffer(b"".join(parts), "<i4")
        kept = told <= from_step
        steps[name] = [told[kept].tobytes()]
        values[name] = [np.frombuffer(b"".join(values[name]), "<f4")[kept].tobytes()]


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class LiveState:
    """What a poller wants to know besides the points, kept beside them."""

    status: RunStatus
    step: int


# Replies keep the shapes of protocol 2, which every Redis since version 5 speaks.
_CONNECTION: dict[str, Any] = {"protocol": 2, "socket_connect_timeout": 2, "health_check_interval": 5}


def connect(url: str) -> "redis.Redis":
    """A client for `publish` and `forget`; a Redis that hangs costs two seconds, not forever."""
    return redis.Redis.from_url(url, socket_timeout=2, **_CONNECTION)


def connect_async(url: str, connections: int = 1_000) -> "redis.asyncio.Redis":
    """A client for `read` and `live_state`; every waiting reader holds one connection."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url, max_connections=connections, timeout=5, socket_timeout=30, **_CONNECTION
    )
    return redis.asyncio.Redis.from_pool(pool)


def _stream_key(run_id: str) -> str:
    return f"descent:metrics:{run_id}"


def _state_key(run_id: str) -> str:
    return f"descent:state:{run_id}"


def publish(
    client: "redis.Redis",
    entries: Sequence[tuple[str, Cursor, bytes]],
    states: Mapping[str, LiveState],
    *,
    stream_seconds: float,
    state_seconds: float,
) -> None:
    """Send packed chunks `(run_id, cursor, payload)` and the runs' states to Redis in one round trip.

    Redis itself refuses a chunk that it already has, so sending one again is harmless.

    Raises:
        redis.RedisError: if Redis cannot be reached; the chunks are still on their way to SQL.

    """
    pipeline = client.pipeline(transaction=False)
    for run_id, cursor, payload in entries:
        key = _stream_key(run_id)
        pipeline.xadd(key, {"chunk": payload}, id=str(cursor), maxlen=MAX_CHUNKS_IN_REDIS, approximate=True)
        # Each time: a stream that Redis forgot half-way begins again without an expiry.
        pipeline.expire(key, int(stream_seconds))
    for run_id, state in states.items():
        text = json.dumps({"status": state.status, "step": state.step})
        seconds = stream_seconds if state.status.is_terminal else state_seconds
        pipeline.set(_state_key(run_id), text, ex=max(1, int(seconds)))
        if state.status.is_terminal:
            pipeline.expire(_stream_key(run_id), int(stream_seconds))
    for answer in pipeline.execute(raise_on_error=False):
        if isinstance(answer, redis.ResponseError) and "equal or smaller" in str(answer):
            continue
        if isinstance(answer, Exception):
            raise answer


def fall_silent(client: "redis.Redis", run_ids: Sequence[str]) -> None:
    """Speak no longer for runs that were given back: whoever wants to know how they are asks SQL."""
    if run_ids:
        client.delete(*map(_state_key, run_ids))


def forget(client: "redis.Redis", run_ids: Sequence[str]) -> None:
    """Drop the live metrics of deleted runs."""
    if run_ids:
        client.delete(*(key for run_id in run_ids for key in (_stream_key(run_id), _state_key(run_id))))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


async def read(
    client: "redis.asyncio.Redis", run_id: str, after: Cursor, *, limit: int, wait_seconds: float = 0
) -> list[Chunk]:
    """The chunks in Redis after the cursor, oldest first; waits for the first one if asked to.

    The first chunk need not follow the cursor directly: what lies between is in SQL.

    Raises:
        redis.RedisError: if Redis cannot be reached.

    """
    # An id below every entry of the first attempt stands for "from the beginning".
    start = str(after) if after.attempt else "0-0"
    if wait_seconds > 0:
        milliseconds = max(1, int(wait_seconds * 1000))
        answer: Any = await client.xread({_stream_key(run_id): start}, count=limit, block=milliseconds)
        entries: Any = answer[0][1] if answer else []
    else:
        entries = await client.xrange(_stream_key(run_id), min=f"({start}", max="+", count=limit)
    chunks: list[Chunk] = []
    for entry_id, fields in entries:
        attempt = int(entry_id.split(b"-")[0])
        chunks.extend(unpack(attempt, fields[b"chunk"]))
    return chunks


async def live_state(client: "redis.asyncio.Redis", run_id: str) -> LiveState | None:
    """The run's state as its worker last published it; None where no worker did of late."""
    text = await client.get(_state_key(run_id))
    if text is None:
        return None
    state = json.loads(text)
    return LiveState(RunStatus(state["status"]), state["step"])
