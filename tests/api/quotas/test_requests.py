"""Shares of an API process: what the requests of one owner may take while other owners are served."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from unittest.mock import AsyncMock

import pytest
from fastapi import FastAPI

from api.app import create_app
from api.auth.principals import Principal
from api.auth.scopes import requires
from api.errors import Refusal
from api.quotas import requests
from api.quotas.requests import RequestQuotas, run_in_turn
from api.quotas.token_bucket import TokenBucket
from models.access import Scope
from models.settings import Settings
from tests.api.quotas.limited import limited, refused
from tests.api.specs import spec
from tests.models.outages import eventually
from tests.servers import http_client, running_api

ADA = Principal("ada", Scope.SUBMIT, "key")


def quotas(**limits: object) -> RequestQuotas:
    return RequestQuotas(Settings().model_copy(update=limits), AsyncMock(count=AsyncMock(return_value=None)))


def retry_after(refusal: Refusal) -> int:
    assert refusal.status_code == 429
    return int((refusal.headers or {})["Retry-After"])


def test_a_token_bucket_refills_at_its_rate_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr("api.quotas.token_bucket.monotonic", lambda: clock)
    bucket = TokenBucket(limit=10, rate=0.5, updated_at=clock)
    assert bucket.take(8)
    assert not bucket.take(3)
    assert bucket.left == 2
    bucket.charge(5)
    assert (bucket.left, bucket.seconds_to_wait()) == (-3, 6)
    clock = 107.0
    assert bucket.seconds_to_wait() == 0
    assert bucket.left == 0.5
    clock = 1_000.0
    assert bucket.seconds_to_wait() == 0
    assert bucket.left == 10


def test_requests_in_flight_are_limited_for_each_owner() -> None:
    async def scene() -> None:
        limit = quotas(max_owner_requests=2)
        gate = asyncio.Event()

        async def wait() -> None:
            await gate.wait()

        held = [asyncio.create_task(limit.serve(ADA, Scope.READ, wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="2 requests in flight") as refusal:
            await limit.serve(ADA, Scope.READ, wait)
        assert retry_after(refusal.value) == 1
        bob = asyncio.create_task(limit.serve(Principal("bob", Scope.READ, "key"), Scope.READ, wait))
        admin = [
            asyncio.create_task(limit.serve(Principal("ada", Scope.ADMIN, "key"), Scope.READ, wait)) for _ in "123"
        ]
        gate.set()
        await asyncio.gather(*held, bob, *admin)
        await limit.serve(ADA, Scope.READ, wait)

    asyncio.run(scene())


def test_processor_time_is_charged_to_its_owner_wherever_it_is_spent() -> None:
    def compute(seconds: float) -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    async def in_thread() -> None:
        await run_in_turn(compute, 0.1)

    async def on_the_loop() -> None:
        compute(0.05)
        await asyncio.sleep(0.01)
        compute(0.05)

    async def nothing() -> None:
        await asyncio.sleep(0.2)

    async def scene() -> None:
        for work in (in_thread, on_the_loop):
            limit = quotas(owner_processor_seconds=0.05, owner_processor_share=0.001)
            await limit.serve(ADA, Scope.READ, work)
            with pytest.raises(Refusal, match="used up their processor time") as refusal:
                await limit.serve(ADA, Scope.READ, work)
            assert 10 < retry_after(refusal.value) <= 1_000
            await limit.serve(Principal("bob", Scope.READ, "key"), Scope.READ, nothing)
        idle = quotas(owner_processor_seconds=0.05, owner_processor_share=0.001)
        for _ in range(3):
            await idle.serve(ADA, Scope.READ, nothing)

    asyncio.run(scene())


def test_metered_work_is_cancelled_and_fails_as_if_it_were_not() -> None:
    async def scene() -> None:
        limit, ended = quotas(), []

        async def patient() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("cancelled")

        async def broken() -> None:
            await asyncio.sleep(0)
            raise KeyError("broken")

        task = asyncio.create_task(limit.serve(ADA, Scope.READ, patient))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["cancelled"]
        with pytest.raises(KeyError):
            await limit.serve(ADA, Scope.READ, broken)

    asyncio.run(scene())


def test_functions_that_compute_long_run_one_at_a_time_for_an_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "HEAVY_SECONDS", 0.002)
    running, most = 0, 0
    lock = threading.Lock()

    def enter_and_leave(seconds: float) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        time.sleep(0.02)
        with lock:
            running -= 1

    def light() -> None:
        enter_and_leave(0.0)

    def heavy() -> None:
        enter_and_leave(0.005)

    async def scene() -> None:
        nonlocal most
        limit = quotas(max_owner_threads=4)

        async def many(function: object) -> None:
            await asyncio.gather(*(run_in_turn(function) for _ in range(8)))  # type: ignore[arg-type]

        await limit.serve(ADA, Scope.READ, lambda: many(light))
        assert most == 4
        await limit.serve(ADA, Scope.READ, lambda: run_in_turn(heavy))
        most = 0
        await limit.serve(ADA, Scope.READ, lambda: many(heavy))
        assert most == 1
        await limit.serve(Principal("root", Scope.ADMIN, "key"), Scope.READ, lambda: many(heavy))
        assert most > 4, "admins are not limited"

    asyncio.run(scene())


def test_a_request_that_gets_no_thread_in_time_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "TURN_SECONDS", 0.05)
    gate = threading.Event()

    def wait() -> None:
        gate.wait()

    async def scene() -> None:
        limit = quotas(max_owner_threads=1)
        held = asyncio.create_task(limit.serve(ADA, Scope.READ, lambda: run_in_turn(wait)))
        await asyncio.sleep(0.01)
        with pytest.raises(Refusal, match="all of your threads are in use"):
            await limit.serve(ADA, Scope.READ, lambda: run_in_turn(time.sleep, 0))
        gate.set()
        await held

    asyncio.run(scene())


def test_a_client_that_ignores_refusals_gets_them_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PROMPT_REFUSALS", 3)
    monkeypatch.setattr(requests, "DELAY_SECONDS", 0.2)

    async def scene() -> list[float]:
        limit, seconds = quotas(max_owner_requests=0), []
        for _ in range(5):
            began = time.monotonic()
            with pytest.raises(Refusal):
                await limit.serve(ADA, Scope.READ, lambda: asyncio.sleep(0))
            seconds.append(time.monotonic() - began)
        return seconds

    assert [second >= 0.2 for second in asyncio.run(scene())] == [False, False, False, True, True]


@pytest.fixture
def blocked(settings_on_sqlite: Settings) -> Iterator[tuple[FastAPI, threading.Event]]:
    """An application with a route that waits in a thread until the event is set."""
    app, gate = create_app(settings_on_sqlite.model_copy(update={"max_owner_requests": 8})), threading.Event()

    @app.get("/v1/blocked", dependencies=[requires(Scope.READ)])
    def wait() -> str:
        gate.wait(20)
        return "done"

    yield app, gate
    gate.set()


def test_an_owner_whose_requests_all_wait_keeps_no_other_owner_waiting(
    blocked: tuple[FastAPI, threading.Event],
) -> None:
    app, gate = blocked
    with running_api(app) as url, http_client(url) as admin, ExitStack() as stack:
        keys = [admin.post("/v1/keys", json={"owner": owner}).json()["key"] for owner in ("ada", "bob")]
        ada, bob = (stack.enter_context(http_client(url, key=key)) for key in keys)
        pool = stack.enter_context(ThreadPoolExecutor(12))
        waiting = [pool.submit(ada.get, "/v1/blocked") for _ in range(12)]
        refusals = [answer for answer in (future.result() for future in _first_done(waiting, 4)) if answer.is_error]
        assert [answer.status_code for answer in refusals] == [429] * 4
        assert {answer.json()["type"] for answer in refusals} == {"urn:descent:problem:rate_limited"}
        assert bob.post("/v1/jobs", json=spec()).status_code == 202
        assert bob.get("/v1/jobs").status_code == 200
        gate.set()
        assert sorted(future.result().status_code for future in waiting) == [200] * 8 + [429] * 4


def _first_done(futures: list, count: int) -> list:  # type: ignore[type-arg]
    deadline = time.monotonic() + 20
    while len(done := [future for future in futures if future.done()]) < count:
        assert time.monotonic() < deadline, f"{len(done)} of {count} requests were answered"
        time.sleep(0.01)
    return done


def test_long_polls_streams_and_downloads_count_together(settings_on_sqlite: Settings) -> None:
    with limited(settings_on_sqlite, max_owner_streams=2) as (api,), ThreadPoolExecutor(5) as pool:
        job = api.ada.post("/v1/jobs", json=spec()).json()["id"]
        path = f"/v1/runs/{api.ada.get(f'/v1/jobs/{job}/runs').json()['data'][0]['id']}"

        def poll() -> int:
            return api.ada.get(f"{path}/metrics", params={"wait": 2}).status_code

        polls = [pool.submit(poll) for _ in range(5)]
        assert sorted(future.result() for future in polls) == [200, 200, 429, 429, 429]
        with api.ada.stream("GET", f"{path}/stream") as one, api.ada.stream("GET", f"{path}/stream") as other:
            # Kept: an iterator that is collected closes its stream.
            lines = [one.iter_lines(), other.iter_lines()]
            assert all(next(stream) for stream in lines)
            assert "downloads open" in refused(api.ada.get(f"{path}/metrics", params={"wait": 1}), "over_quota")
            refused(api.ada.get(f"{path}/artifacts/none"), "over_quota")
            assert api.ada.get(f"{path}/metrics").status_code == 200, "a poll that does not wait is not counted"
        eventually(lambda: api.ada.get(f"{path}/artifacts/none").status_code == 404, "the streams made room")


def test_uploads_of_an_owner_are_limited_at_once(settings_on_sqlite: Settings) -> None:
    gate = threading.Event()
    app = create_app(settings_on_sqlite.model_copy(update={"max_owner_uploads": 1}))

    def body() -> Iterator[bytes]:
        yield b"x,y\n"
        gate.wait(20)
        yield b"1,2\n2,4\n3,6\n"

    with running_api(app) as url, http_client(url) as admin, ExitStack() as stack:
        keys = [admin.post("/v1/keys", json={"owner": owner}).json()["key"] for owner in ("ada", "bob")]
        ada, bob = (stack.enter_context(http_client(url, key=key)) for key in keys)
        first = stack.enter_context(ThreadPoolExecutor(1)).submit(ada.post, "/v1/datasets", content=body())
        eventually(lambda: app.state.service.requests.uploads == 1, "the first upload has begun")
        refusal = ada.post("/v1/datasets", content=b"x,y\n1,2\n2,3\n")
        assert "uploads in progress" in refused(refusal, "over_quota")
        assert bob.post("/v1/datasets", content=b"x,y\n1,2\n2,3\n").status_code == 201
        gate.set()
        assert first.result().status_code == 201
        assert ada.post("/v1/datasets", content=b"x,y\n1,2\n2,5\n").status_code == 201
