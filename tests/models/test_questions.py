"""Questions for the predictor in Redis, whichever server speaks its protocol."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from models.metric_stream import connect, connect_async
from models.questions import Reply, ReplyKind, put_rows, release, send_reply, take_rows, take_slot, wait_for_reply
from tests.servers import running_redis, running_valkey

ANSWER = Reply(ReplyKind.PREDICTIONS, b'{"rows":\n[]}')

Test = Callable[["redis.asyncio.Redis"], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module", params=[running_redis, running_valkey])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with request.param(tmp_path_factory.mktemp("server")) as server:
        yield server.metrics_url()


@pytest.fixture
def worker(url: str) -> Iterator["redis.Redis"]:
    client = connect(url)
    client.flushall()
    yield client
    client.close()


def run(url: str, test: Test) -> None:
    async def connected() -> None:
        client = connect_async(url)
        try:
            await test(client)
        finally:
            await client.aclose()
            await client.connection_pool.aclose()

    asyncio.run(connected())


def test_an_owner_has_as_many_slots_as_allowed_and_each_is_freed_by_its_release(
    url: str, worker: "redis.Redis"
) -> None:
    async def test(client: "redis.asyncio.Redis") -> None:
        async def take(owner: str, request_id: str) -> bool:
            return await take_slot(client, owner, request_id, slots=2, seconds=60)

        assert [await take("ada", request_id) for request_id in ("1", "2", "3")] == [True, True, False]
        assert await take("bob", "4")
        await release(client, "ada", "3")
        assert not await take("ada", "5"), "one that was never taken frees none"
        await release(client, "ada", "1")
        assert [await take("ada", request_id) for request_id in ("6", "7")] == [True, False]

    run(url, test)


def test_slots_that_nothing_releases_are_free_after_their_seconds(url: str, worker: "redis.Redis") -> None:
    async def test(client: "redis.asyncio.Redis") -> None:
        began = time.monotonic()
        assert await take_slot(client, "ada", "1", slots=1, seconds=0.3)
        while not await take_slot(client, "ada", "2", slots=1, seconds=60):
            assert time.monotonic() - began < 10
            await asyncio.sleep(0.01)
        assert time.monotonic() - began > 0.25
        assert not await take_slot(client, "ada", "3", slots=1, seconds=60)

    run(url, test)


def test_rows_and_the_reply_find_their_way(url: str, worker: "redis.Redis") -> None:
    async def test(client: "redis.asyncio.Redis") -> None:
        await put_rows(client, "1", b"rows", 60)
        assert take_rows(worker, "1") == b"rows"
        send_reply(worker, "1", ANSWER)
        assert await wait_for_reply(client, "1", 10) == ANSWER
        assert await wait_for_reply(client, "1", 0.01) is None

    run(url, test)


def test_a_question_that_was_released_is_neither_answered_nor_kept(url: str, worker: "redis.Redis") -> None:
    async def test(client: "redis.asyncio.Redis") -> None:
        await put_rows(client, "1", b"rows", 60)
        await put_rows(client, "2", b"rows", 60)
        send_reply(worker, "2", ANSWER)
        for request_id in ("1", "2"):
            await release(client, "ada", request_id)
        assert take_rows(worker, "1") is None
        send_reply(worker, "1", ANSWER)
        assert worker.keys() == []

    run(url, test)
