"""Chunks on their way: through bytes, and through Redis, whichever server speaks its protocol."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import redis
import redis.asyncio
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.metric_stream import (
    FROM_NOTHING,
    MAX_CHUNKS_IN_REDIS,
    Chunk,
    Cursor,
    LiveState,
    connect,
    connect_async,
    forget,
    live_state,
    merge,
    pack,
    publish,
    read,
    unpack,
    whole_columns,
)
from models.status import RunStatus
from tests.servers import running_redis, running_valkey

BEGINNING = Cursor()

Column = tuple[NDArray[np.int32], NDArray[np.float32]]


def column(steps: Sequence[int], values: Sequence[float]) -> Column:
    return np.array(steps, np.int32), np.array(values, np.float32)


def chunk(attempt: int, number: int, *steps: int, from_step: int | None = None, end: RunStatus | None = None) -> Chunk:
    """A chunk whose losses tell their step and attempt."""
    columns = {"train_loss": column(steps, [attempt + step / 1_000 for step in steps])} if steps else {}
    return Chunk(Cursor(attempt, number), columns, from_step=from_step, end=end)


def bits(one: Chunk) -> object:
    """Everything that a chunk holds, to the last bit."""
    columns = [(name, steps.tolist(), values.tobytes()) for name, (steps, values) in one.columns.items()]
    return one.cursor, columns, one.from_step, one.end


# ── cursors ──────────────────────────────────────────────────────────────────────────────────────

NUMBERS = st.integers(0, 999_999_999)


@given(attempt=NUMBERS, number=NUMBERS)
def test_a_cursor_is_read_back_as_it_was_written(attempt: int, number: int) -> None:
    assert Cursor.parse(str(Cursor(attempt, number))) == Cursor(attempt, number)


def test_an_empty_cursor_is_the_beginning_and_lies_before_every_chunk() -> None:
    assert Cursor.parse("") == BEGINNING < Cursor(1, 0) < Cursor(1, 1) < Cursor(2, 0)


@pytest.mark.parametrize("text", ["1", "-", "1-", "-1", "a-b", "1-2-3", "1--2", " 1-2", "1-2 ", "+1-2", "٣-1", "1-²"])
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cursor"):
        Cursor.parse(text)


@pytest.mark.parametrize("text", ["1000000000-0", "0-1000000000", "1-" + "9" * 5_000])
def test_a_cursor_too_large_for_the_database_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too large"):
        Cursor.parse(text)


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────

POINTS = st.lists(
    # Values by their bits: every NaN, both zeros, infinities and subnormals are among them.
    st.tuples(st.integers(0, 10_000_000), st.integers(0, 2**32 - 1)),
    max_size=8,
).map(lambda points: (np.array([s for s, _ in points], np.int32), np.array([v for _, v in points], "<u4").view("<f4")))
CHUNKS = st.builds(
    lambda number, columns, from_step, end: Chunk(Cursor(7, number), columns, from_step, end),
    NUMBERS,
    st.dictionaries(st.sampled_from(["train_loss", "validation_loss", "gradient_norm", "λ"]), POINTS),
    st.sampled_from([None, FROM_NOTHING, 0]) | st.integers(1, 10_000_000),
    st.none() | st.sampled_from(RunStatus),
)


@examples(deadline=None)
@given(chunks=st.lists(CHUNKS, max_size=5))
def test_packed_chunks_are_joined_and_taken_apart_again_to_the_last_bit(chunks: list[Chunk]) -> None:
    payload = b"".join(pack(one) for one in chunks)
    assert [bits(one) for one in unpack(7, payload)] == [bits(one) for one in chunks]


def test_a_point_takes_eight_bytes() -> None:
    thousand, two = (len(pack(chunk(1, 0, *range(count)))) for count in (1_000, 2_000))
    assert two - thousand == 8_000
    assert thousand < 8_000 + 60


def test_steps_that_the_engine_counts_in_64_bits_are_packed_too() -> None:
    steps, values = np.array([1, 2**31 - 1]), np.array([0.5, 0.25], np.float32)
    (found,) = unpack(1, pack(Chunk(Cursor(1, 0), {"train_loss": (steps, values[::-1])})))
    assert [part.tolist() for part in found.columns["train_loss"]] == [[1, 2**31 - 1], [0.25, 0.5]]


# ── merging ──────────────────────────────────────────────────────────────────────────────────────


def merged(*chunks: Chunk) -> dict[str, list[tuple[int, float]]]:
    return {
        name: list(zip(steps.tolist(), values.round(3).tolist(), strict=True))
        for name, (steps, values) in merge(chunks).items()
    }


def losses(*points: tuple[int, float]) -> dict[str, list[tuple[int, float]]]:
    rounded = [(step, np.float32(value).round(3).item()) for step, value in points]
    return {"train_loss": rounded}


def test_chunks_are_joined_in_order_one_series_a_metric() -> None:
    evaluation = Chunk(Cursor(1, 1), {"validation_loss": column([2], [9.0])})
    found = merged(chunk(1, 0, 0, 1, from_step=FROM_NOTHING), evaluation, chunk(1, 2, 2))
    assert found == losses((0, 1.0), (1, 1.001), (2, 1.002)) | {"validation_loss": [(2, 9.0)]}


def test_an_attempt_that_begins_anew_voids_every_earlier_point() -> None:
    found = merged(
        chunk(1, 0, 0, 1, 2, from_step=FROM_NOTHING),
        Chunk(Cursor(1, 1), {"validation_loss": column([0], [9.0])}),
        chunk(2, 0, 0, 1, from_step=FROM_NOTHING),
    )
    assert found == losses((0, 2.0), (1, 2.001)) | {"validation_loss": []}


def test_an_attempt_that_resumes_voids_what_lies_past_its_start() -> None:
    found = merged(
        chunk(1, 0, 1, 2, from_step=FROM_NOTHING),
        chunk(1, 1, 3, 4),
        chunk(2, 0, 4, 5, from_step=3),
        chunk(3, 0, from_step=4),
    )
    assert found == losses((1, 1.001), (2, 1.002), (3, 1.003), (4, 2.004))


def test_nothing_merges_to_nothing() -> None:
    assert merge([]) == {}
    assert whole_columns([]) == {}


@st.composite
def attempts(draw: st.DrawFn) -> list[Chunk]:
    """Chunks of up to three attempts, each of which goes on from some step of the one before it, or from nothing."""
    chunks: list[Chunk] = []
    start = FROM_NOTHING
    for attempt in range(1, draw(st.integers(1, 3)) + 1):
        place = start
        for number in range(draw(st.integers(1, 4))):
            columns = {}
            for name in draw(st.sets(st.sampled_from(["train_loss", "validation_loss", "r2"]))):
                steps = range(place + 1, place + 1 + draw(st.integers(0, 3)))
                columns[name] = column(list(steps), [attempt + step / 1_000 for step in steps])
            place += 3
            chunks.append(Chunk(Cursor(attempt, number), columns, start if number == 0 else None))
        start = draw(st.sampled_from([FROM_NOTHING, *range(place)]))
    return chunks


@given(attempts(), st.sampled_from([None, {"train_loss"}, {"validation_loss", "r2", "absent"}]))
def test_whole_columns_are_what_merging_chunk_by_chunk_gives(chunks: list[Chunk], names: set[str] | None) -> None:
    expected = {
        name: (steps.tolist(), values.tolist())
        for name, (steps, values) in merge(chunks).items()
        if names is None or name in names
    }
    by_attempt = [b"".join(pack(one) for one in group) for _, group in groupby(chunks, lambda one: one.cursor.attempt)]
    for payloads in (by_attempt, [pack(one) for one in chunks]):
        found = whole_columns(payloads, names)
        assert {name: (steps.tolist(), values.tolist()) for name, (steps, values) in found.items()} == expected


# ── through Redis ────────────────────────────────────────────────────────────────────────────────


class Wire:
    """Both ends: a worker's client, and readers in an event loop."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = connect(url)
        self.client.flushall()
        self._runner = asyncio.Runner()

    def publish(self, *chunks: Chunk, run_id: str = "run_1", state: LiveState | None = None) -> None:
        publish(
            self.client,
            [(run_id, one.cursor, pack(one)) for one in chunks],
            {} if state is None else {run_id: state},
            stream_seconds=600,
            state_seconds=30,
        )

    def reading(self, ask: Callable[["redis.asyncio.Redis"], Coroutine[Any, Any, Any]]) -> Any:
        async def connected() -> Any:
            client = connect_async(self.url)
            try:
                return await ask(client)
            finally:
                await client.aclose()
                await client.connection_pool.aclose()

        return self._runner.run(connected())

    def read(
        self, after: Cursor = BEGINNING, *, limit: int = 100, wait: float = 0.0, run_id: str = "run_1"
    ) -> list[Chunk]:
        chunks: list[Chunk] = self.reading(lambda c: read(c, run_id, after, limit=limit, wait_seconds=wait))
        return chunks

    def state(self, run_id: str = "run_1") -> LiveState | None:
        state: LiveState | None = self.reading(lambda c: live_state(c, run_id))
        return state

    def seconds_left(self) -> list[int]:
        """Until Redis forgets what it knows of each run."""
        return sorted(int(self.client.ttl(key)) for key in self.client.scan_iter())

    def close(self) -> None:
        self._runner.close()
        self.client.close()


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of each make."""
    start = running_valkey if request.param == "valkey" else running_redis
    with start(tmp_path_factory.mktemp(request.param)) as server:
        with redis.Redis.from_url(server.metrics_url()) as client:
            assert ("valkey_version" in client.info("server")) == (request.param == "valkey")
        yield server.metrics_url()


@pytest.fixture
def wire(server_url: str) -> Iterator[Wire]:
    wire = Wire(server_url)
    yield wire
    wire.close()


def test_what_is_published_is_read_with_its_cursors(wire: Wire) -> None:
    sent = [
        chunk(1, 0, 0, 1, from_step=FROM_NOTHING),
        Chunk(Cursor(1, 1), {"train_loss": column([2, 3], [float("nan"), float("-inf")])}),
        chunk(2, 0, 0, from_step=FROM_NOTHING),
        chunk(2, 1, end=RunStatus.SUCCEEDED),
    ]
    wire.publish(*sent[:2])
    wire.publish(*sent[2:])
    assert [bits(one) for one in wire.read()] == [bits(one) for one in sent]
    assert wire.read(run_id="run_2") == []


def test_a_reader_goes_on_after_its_cursor(wire: Wire) -> None:
    wire.publish(*(chunk(attempt, number, number) for attempt in (1, 2) for number in range(12)))
    everything = [one.cursor for one in wire.read()]
    assert everything == [Cursor(attempt, number) for attempt in (1, 2) for number in range(12)]
    for wait in (0.0, 5.0):
        after = [one.cursor for one in wire.read(Cursor(1, 9), limit=4, wait=wait)]
        assert after == [Cursor(1, 10), Cursor(1, 11), Cursor(2, 0), Cursor(2, 1)]
        assert [one.cursor for one in wire.read(limit=1, wait=wait)] == [Cursor(1, 0)]
    assert wire.read(Cursor(2, 11)) == []


def test_publishing_again_is_harmless(wire: Wire) -> None:
    first, second, third = chunk(1, 0, 1), chunk(1, 1, 2), chunk(1, 2, 3)
    wire.publish(first, second)
    wire.publish(first, second, third)
    wire.publish(second)
    assert [bits(one) for one in wire.read()] == [bits(first), bits(second), bits(third)]


def test_what_an_old_attempt_sends_late_is_not_heard(wire: Wire) -> None:
    wire.publish(chunk(1, 0, 1))
    wire.publish(chunk(2, 0, 1))
    wire.publish(chunk(1, 1, 2))
    assert [one.cursor for one in wire.read()] == [Cursor(1, 0), Cursor(2, 0)]


def test_a_reader_that_waits_gets_what_comes_and_no_sooner(wire: Wire) -> None:
    wire.publish(chunk(1, 0, 1))

    async def wait_for_more(client: "redis.asyncio.Redis") -> list[Chunk]:
        waiting = asyncio.create_task(read(client, "run_1", Cursor(1, 0), limit=100, wait_seconds=20))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await asyncio.to_thread(wire.publish, chunk(1, 1, 2))
        return await asyncio.wait_for(waiting, 10)

    assert [one.cursor for one in wire.reading(wait_for_more)] == [Cursor(1, 1)]


def test_a_reader_that_waits_in_vain_gets_nothing(wire: Wire) -> None:
    wire.publish(chunk(1, 0, 1))
    assert wire.read(Cursor(1, 0), wait=0.05) == []
    assert wire.read(wait=0.05, run_id="run_of_nobody") == []


def test_the_state_is_the_last_one_that_was_published(wire: Wire) -> None:
    assert wire.state() is None
    wire.publish(state=LiveState(RunStatus.RUNNING, 10))
    assert wire.state() == LiveState(RunStatus.RUNNING, 10)
    wire.publish(chunk(1, 0, 1), state=LiveState(RunStatus.CANCELLING, 20))
    state = wire.state()
    assert state == LiveState(RunStatus.CANCELLING, 20)
    assert state is not None
    assert type(state.status) is RunStatus
    assert wire.state("run_2") is None


def test_the_state_of_a_worker_that_falls_silent_fades_before_its_points(wire: Wire) -> None:
    wire.publish(chunk(1, 0, 1), state=LiveState(RunStatus.RUNNING, 1))
    of_state, of_stream = wire.seconds_left()
    assert 20 <= of_state <= 30
    assert 590 <= of_stream <= 600


def test_an_ended_runs_points_and_state_stay_for_as_long(wire: Wire) -> None:
    wire.publish(chunk(1, 0, 1), state=LiveState(RunStatus.RUNNING, 1))
    wire.client.persist(*wire.client.keys("*metrics*"))
    wire.publish(chunk(1, 1, end=RunStatus.FAILED), state=LiveState(RunStatus.FAILED, 1))
    assert all(590 <= seconds <= 600 for seconds in wire.seconds_left())
    assert len(wire.seconds_left()) == 2


def test_a_stream_keeps_its_newest_chunks_within_a_bound(wire: Wire) -> None:
    count = MAX_CHUNKS_IN_REDIS + 500
    for first in range(0, count, 500):
        wire.publish(*(chunk(1, number, number) for number in range(first, first + 500)))
    kept = [one.cursor.number for one in wire.read(limit=count)]
    assert kept == list(range(kept[0], count))
    assert MAX_CHUNKS_IN_REDIS <= len(kept) < count


def test_what_is_forgotten_is_gone(wire: Wire) -> None:
    for run_id in ("run_1", "run_2", "run_3"):
        wire.publish(chunk(1, 0, 1), run_id=run_id, state=LiveState(RunStatus.RUNNING, 1))
    forget(wire.client, ["run_1", "run_2", "run_4"])
    forget(wire.client, [])
    assert [len(wire.read(run_id=run_id)) for run_id in ("run_1", "run_2", "run_3")] == [0, 0, 1]
    assert [wire.state(run_id) is None for run_id in ("run_1", "run_2", "run_3")] == [True, True, False]


def test_an_entry_that_redis_refuses_for_another_reason_is_an_error(wire: Wire) -> None:
    wire.client.set("descent:metrics:run_1", "something else")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        wire.publish(chunk(1, 0, 1))


def test_a_redis_that_cannot_be_reached_is_an_error_on_both_sides() -> None:
    wire_url = "unix:///nowhere/valkey.sock"
    with connect(wire_url) as client, pytest.raises(redis.RedisError):
        publish(client, [("run_1", Cursor(1, 0), b"")], {}, stream_seconds=1, state_seconds=1)

    async def ask() -> None:
        client = connect_async(wire_url)
        try:
            await read(client, "run_1", BEGINNING, limit=1)
        finally:
            await client.aclose()
            await client.connection_pool.aclose()

    with pytest.raises(redis.RedisError):
        asyncio.run(ask())
