"""The asynchronous client: what sets it apart. What both do alike, the tests of `Client` hold, which is made of it."""

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from api.app import create_app
from descent import AsyncClient, Client, DescentError, Refused, Unreachable
from descent.asynchronous import transport
from descent.content import PIECE_BYTES
from descent.errors import TimedOut
from descent.history import History, Series
from tests.descent.conftest import Answer, Request, Service, make_dataset, make_job, make_metrics, make_page, problem
from tests.journey.service import Service as Installation
from tests.journey.service import running_service
from tests.servers import Valkey, running_api, settings_in

Told = TypeVar("Told")

SPEC: dict[str, Any] = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 100}}
METRICS = "/v1/runs/run_1/metrics"


def play(url: str, scene: Callable[[AsyncClient], Awaitable[Told]], *, patience_seconds: float = 5) -> Told:
    """Run a scene in an event loop of its own, with a client of the service at an address."""

    async def with_client() -> Told:
        async with AsyncClient(url, patience_seconds=patience_seconds) as client:
            return await scene(client)

    return asyncio.run(with_client())


# ── the same as the other client ─────────────────────────────────────────────────────────────────


def public(kind: type) -> dict[str, Any]:
    return {name: found for name, found in inspect.getmembers(kind) if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    assert public(AsyncClient).keys() == public(Client).keys()
    assert len(public(Client)) > 60
    assert inspect.signature(AsyncClient) == inspect.signature(Client)


@pytest.mark.parametrize("name", [name for name, found in public(Client).items() if inspect.isfunction(found)])
def test_a_method_of_both_takes_the_same_and_answers_the_same(name: str) -> None:
    awaited, called = public(AsyncClient)[name], public(Client)[name]
    answered = inspect.signature(awaited).return_annotation
    walks = str(answered).startswith("collections.abc.AsyncIterator[")
    assert inspect.iscoroutinefunction(awaited) != walks, "whatever asks is awaited, and whatever walks is walked"
    assert str(inspect.signature(awaited)).replace("AsyncIterator[", "Iterator[") == str(inspect.signature(called))
    words = (awaited.__doc__ or "").replace("await ", "").replace("async for", "for")
    assert words == (called.__doc__ or "")


def test_both_are_told_the_same_by_the_service(at_the_api: Client, lasting_url: str, tmp_path: Path) -> None:
    (tmp_path / "both.csv").write_text("a,b\n" + "".join(f"{row},{row % 2}\n" for row in range(30)))
    job = at_the_api.submit({**SPEC, "name": "told to both", "seeds": 3})
    sweep = at_the_api.submit_sweep(SPEC, {"optimizer.learning_rate": [0.1, 0.01]})

    async def ask(client: AsyncClient) -> list[object]:
        dataset = await client.upload(tmp_path / "both.csv")
        return [
            await client.job(job),
            await client.runs(job.id),
            [one async for one in client.jobs(tag="none has this")],
            [one.id async for one in client.jobs(page_size=1)],
            [one.id async for one in client.jobs(sweep=sweep.id, sort="oldest", page_size=1)],
            await client.history((await client.runs(job))[0]),
            await client.diagnosis(job),
            await client.results(job),
            await client.sweep(sweep.id),
            dataset,
            await client.preview(dataset),
            await client.components("optimizer"),
            [key async for key in client.keys(page_size=1)],
            [event async for event in client.events(job)],
            await client.readiness(),
        ]

    dataset = at_the_api.upload(tmp_path / "both.csv")
    assert play(lasting_url, ask) == [
        at_the_api.job(job),
        at_the_api.runs(job.id),
        list(at_the_api.jobs(tag="none has this")),
        [one.id for one in at_the_api.jobs(page_size=1)],
        [one.id for one in at_the_api.jobs(sweep=sweep.id, sort="oldest", page_size=1)],
        at_the_api.history(at_the_api.runs(job)[0]),
        at_the_api.diagnosis(job),
        at_the_api.results(job),
        at_the_api.sweep(sweep.id),
        dataset,
        at_the_api.preview(dataset),
        at_the_api.components("optimizer"),
        list(at_the_api.keys(page_size=1)),
        list(at_the_api.events(job)),
        at_the_api.readiness(),
    ]


def test_both_are_refused_in_the_same_words(at_the_api: Client, lasting_url: str) -> None:
    async def ask(client: AsyncClient) -> None:
        await client.submit({"dataset": "sine", "optimizer": {"kind": "adam", "momentum": 0.9}})

    with pytest.raises(Refused) as called:
        at_the_api.submit({"dataset": "sine", "optimizer": {"kind": "adam", "momentum": 0.9}})
    with pytest.raises(Refused) as awaited:
        play(lasting_url, ask)
    assert str(awaited.value) == str(called.value)
    assert awaited.value.problem.errors == called.value.problem.errors
    assert [error.pointer for error in awaited.value.problem.errors] == ["/optimizer/momentum"]


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://host:port"])
def test_an_address_that_is_none_is_refused_in_words(url: str) -> None:
    with pytest.raises(DescentError, match="no address of a service"):
        play(url, lambda client: client.queue(), patience_seconds=0)


def test_where_nothing_answers_the_message_says_how_to_start() -> None:
    with pytest.raises(Unreachable, match="descent up"):
        play("http://127.0.0.1:9", lambda client: client.queue(), patience_seconds=0)


def test_importing_descent_loads_no_event_loop_and_nothing_that_draws() -> None:
    question = (
        "import sys, json, descent; descent.Client('http://127.0.0.1:9').close();"
        "heavy = ('asyncio', 'rich', 'torch', 'fastapi', 'pyarrow', 'pandas', 'numpy', 'sqlalchemy', 'celery');"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    told = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == []


# ── many at once ─────────────────────────────────────────────────────────────────────────────────


def names(url: str, experiment: str) -> Counter[str]:
    """How many jobs have each name."""
    with Client(url) as client:
        return Counter(job.name for job in client.jobs(experiment=experiment))


def handing_in(count: int, experiment: str) -> Callable[[AsyncClient], Awaitable[set[str]]]:
    """Submit so many jobs at once, named by their number; the ids that came back."""

    async def submit(client: AsyncClient) -> set[str]:
        specs = [{**SPEC, "name": str(number), "experiment": experiment} for number in range(count)]
        jobs = await asyncio.gather(*(client.submit(spec) for spec in specs))
        assert [job.name for job in jobs] == [spec["name"] for spec in specs], "each answer is for its own request"
        return {job.id for job in jobs}

    return submit


def test_a_hundred_jobs_that_are_handed_in_at_once_are_there_once(lasting_url: str) -> None:
    assert len(play(lasting_url, handing_in(100, "a hundred"), patience_seconds=60)) == 100
    assert names(lasting_url, "a hundred") == Counter(map(str, range(100)))


def test_a_service_that_takes_few_connections_gets_all_jobs_in_the_end(
    sqlite_template: Path, valkey: Valkey, tmp_path: Path
) -> None:
    settings = settings_in(tmp_path, sqlite_template, valkey, max_connections=20)
    with running_api(create_app(settings), settings) as url:
        assert len(play(url, handing_in(100, "few"), patience_seconds=60)) == 100
        assert names(url, "few") == Counter(map(str, range(100)))


def test_patience_is_not_spent_on_waiting_for_a_place(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECTIONS", 1)
    later = problem(503, "unavailable", "One moment")
    later.headers["Retry-After"] = "1"
    for number in range(4):
        service.on("GET", f"/v1/jobs/job_{number}", later, Answer(body=make_job(f"job_{number}")))

    async def ask(client: AsyncClient) -> list[str]:
        return [job.id for job in await asyncio.gather(*(client.job(f"job_{number}") for number in range(4)))]

    assert play(service.url, ask, patience_seconds=3) == [f"job_{number}" for number in range(4)]


# ── a service that is away, or busy ──────────────────────────────────────────────────────────────


@pytest.fixture
def installation(sqlite_database_url: str, valkey: Valkey, tmp_path: Path) -> Iterator[Installation]:
    with running_service(tmp_path, sqlite_database_url, valkey) as running:
        yield running


def test_jobs_that_are_handed_in_while_the_service_is_killed_and_started_are_there_once(
    installation: Installation,
) -> None:
    async def submit(client: AsyncClient) -> int:
        answered = 0

        async def one(number: int) -> None:
            nonlocal answered
            await client.submit({**SPEC, "name": str(number), "experiment": "restart"})
            answered += 1

        handed_in = asyncio.gather(*map(one, range(200)))
        while answered < 10 and not handed_in.done():
            await asyncio.sleep(0)
        api = installation.programs[-1]
        os.kill(api.pid, signal.SIGKILL)
        before = answered
        await asyncio.to_thread(api.wait)
        await asyncio.to_thread(installation.start_api)
        await handed_in
        return before

    before = play(installation.url, submit, patience_seconds=60)
    assert before < 200, "some were handed in to a service that was not there"
    assert names(installation.url, "restart") == Counter(map(str, range(200)))


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_the_service_asks_for_is_kept_while_others_go_on(service: Service, status: int) -> None:
    heard: dict[str, list[float]] = {"/v1/jobs": [], "/healthz": []}
    busy = problem(status, "busy", "One moment")
    busy.headers["Retry-After"] = "1"

    def submitted(request: Request) -> Answer:
        heard[request.path].append(time.monotonic())
        return busy if len(heard[request.path]) == 1 else Answer(202, make_job())

    def healthy(request: Request) -> Answer:
        heard[request.path].append(time.monotonic())
        return Answer(body={"status": "ok"})

    service.on("POST", "/v1/jobs", submitted)
    service.on("GET", "/healthz", healthy)

    async def ask(client: AsyncClient) -> None:
        waiting = asyncio.create_task(client.submit(SPEC))
        while not heard["/v1/jobs"]:
            await asyncio.sleep(0.01)
        await client.health()
        await waiting

    play(service.url, ask)
    first, second = heard["/v1/jobs"]
    assert second - first >= 1
    assert heard["/healthz"][0] < second
    keys = [request.headers["idempotency-key"] for request in service.requests if request.path == "/v1/jobs"]
    assert len(set(keys)) == 1


def test_a_service_that_asks_for_too_long_a_pause_is_not_waited_for(service: Service) -> None:
    busy = problem(429, "rate_limited", "Wait an hour")
    busy.headers["Retry-After"] = "3600"
    service.on("GET", "/v1/queue", busy)
    with pytest.raises(Refused, match="Wait an hour"):
        play(service.url, lambda client: client.queue())
    assert len(service.requests) == 1


def test_waiting_ends_with_the_job_or_with_the_callers_patience(service: Service) -> None:
    ended = make_job(status="failed", is_terminal=True)
    service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()), Answer(body=ended))
    assert play(service.url, lambda client: client.wait("job_1")).status == "failed"
    service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()))
    with pytest.raises(TimedOut, match="adam is still queued after 0 s; it goes on"):
        play(service.url, lambda client: client.wait("job_1", timeout=0))


# ── walks ────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_walked_page_by_page_and_only_as_far_as_needed(service: Service) -> None:
    def page(request: Request) -> Answer:
        after = dict(request.parameters).get("after")
        first = make_page(make_job("job_1"), make_job("job_2"), next_after="second")
        return Answer(body=make_page(make_job("job_3")) if after == "second" else first)

    service.on("GET", "/v1/jobs", page)

    async def walk(client: AsyncClient) -> list[str]:
        jobs = client.jobs(page_size=2)
        first = await anext(jobs)
        assert len(service.requests) == 1
        return [first.id, *[job.id async for job in jobs]]

    assert play(service.url, walk) == ["job_1", "job_2", "job_3"]


def test_following_hands_on_every_point_once_and_ends_with_the_run(service: Service) -> None:
    service.on(
        "GET",
        METRICS,
        Answer(body=make_metrics("1-0", validation_loss={0: 1.0})),
        Answer(body=make_metrics("1-0")),
        Answer(hang_up=True),
        Answer(body=make_metrics("1-1", rollback=0, validation_loss={1: 0.5})),
        Answer(body=make_metrics("1-2", validation_loss={2: None}, end=True)),
    )

    async def follow(client: AsyncClient) -> tuple[int, History]:
        history, pages = History(), 0
        async for page in client.metrics("run_1", ["validation_loss"]):
            history.take(page)
            pages += 1
        return pages, history

    pages, history = play(service.url, follow)
    assert pages == 3
    assert history["validation_loss"] == Series([0, 1, 2], [1.0, 0.5, None])
    afters = [dict(request.parameters).get("after") for request in service.requests]
    assert afters == [None, "1-0", "1-0", "1-0", "1-1"]


def test_a_run_is_followed_live_by_both_to_the_history_that_is_kept(installation: Installation, tmp_path: Path) -> None:
    installation.start_worker()
    with Client(installation.url) as called:

        def follow_called(run_id: str) -> History:
            history = History()
            for page in called.metrics(run_id):
                history.take(page)
            return history

        async def follow(client: AsyncClient) -> None:
            job = await client.submit({**SPEC, "budget": {"steps": 2_000}})
            (run,) = await client.runs(job)
            beside = asyncio.create_task(asyncio.to_thread(follow_called, run.id))
            history = History()
            async for page in client.metrics(run):
                history.take(page)
            ended = await client.wait(job, timeout=60)
            assert ended.status == "succeeded"
            assert history == await client.history(run) == await beside
            assert history["train_loss"].step[-1] == 2_000
            path = await client.weights(run, tmp_path / "weights.safetensors")
            assert path.read_bytes() == await client.weights(run) == await asyncio.to_thread(called.weights, run)

        play(installation.url, follow)


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_sent_again_from_its_beginning(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_bytes(os.urandom(PIECE_BYTES + 1))
    service.on(
        "POST",
        "/v1/datasets",
        Answer(hang_up=True),
        problem(503, "unavailable", "The database is away"),
        Answer(201, make_dataset()),
    )
    told: list[int] = []
    play(service.url, lambda client: client.upload(path, progress=lambda sent, _: told.append(sent)))
    assert [request.body == path.read_bytes() for request in service.requests] == [True] * 3
    assert told == [0, PIECE_BYTES, PIECE_BYTES + 1] * 3
    last = service.requests[-1]
    assert last.headers["content-length"] == str(PIECE_BYTES + 1)
    assert "transfer-encoding" not in last.headers


def test_files_that_are_packed_are_the_same_data_set_to_both(
    at_the_api: Client, lasting_url: str, tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in ("x.npy", "y.npy")]
    rng = np.random.default_rng(7)
    np.save(paths[0], rng.normal(size=(40, 3)))
    np.save(paths[1], rng.integers(0, 2, 40))
    uploaded = play(lasting_url, lambda client: client.upload(*paths, name="two arrays"))
    assert uploaded == at_the_api.upload(*paths, name="two arrays")


# ── being cancelled ──────────────────────────────────────────────────────────────────────────────


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


def test_after_crowds_of_cancelled_requests_the_client_goes_on_asking(service: Service) -> None:
    def slow(_: Request) -> Answer:
        time.sleep(0.5)
        return Answer(body=make_job())

    service.on("GET", "/v1/jobs/job_1", slow)
    service.on("GET", "/healthz", Answer(body={"status": "ok"}))

    async def ask(client: AsyncClient) -> None:
        for crowd in range(3):
            tasks = [asyncio.create_task(client.job("job_1")) for _ in range(120)]
            # Some are cancelled before they have a connection, some while they wait for an answer or for a place.
            await asyncio.sleep(0.1 * crowd)
            await cancelled(*tasks)
        async with asyncio.timeout(30):
            told = await asyncio.gather(*(client.health() for _ in range(120)))
        assert {one.status for one in told} == {"ok"}

    play(service.url, ask)


def test_a_cancelled_submission_is_made_once_by_repeating_it_with_its_key(lasting_url: str) -> None:
    moments = [0, 0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2]

    async def submit(client: AsyncClient) -> int:
        interrupted = 0
        for number, seconds in enumerate(moments):
            spec = {**SPEC, "name": str(number), "experiment": "interrupted"}
            task = asyncio.create_task(client.submit(spec, idempotency_key=f"interrupted-{number}"))
            await asyncio.sleep(seconds)
            interrupted += task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            again = await client.submit(spec, idempotency_key=f"interrupted-{number}")
            assert again == await client.submit(spec, idempotency_key=f"interrupted-{number}")
        return interrupted

    assert play(lasting_url, submit) > 0
    assert names(lasting_url, "interrupted") == Counter(map(str, range(len(moments))))


def test_a_sweep_is_handed_in_once_with_its_key(lasting_url: str) -> None:
    async def submit(client: AsyncClient) -> set[str]:
        grid = {"optimizer.learning_rate": [0.1, 0.01]}
        return {(await client.submit_sweep(SPEC, grid, idempotency_key="one sweep")).id for _ in range(2)}

    assert len(play(lasting_url, submit)) == 1


def test_an_upload_that_is_cancelled_while_it_is_packed_leaves_nothing_behind(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, folder = tmp_path / "temporary", tmp_path / "folder"
    temporary.mkdir()
    folder.mkdir()
    for name in ("a.bin", "b.bin"):
        with (folder / name).open("wb") as file:
            file.truncate(128 * 1024**2)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    async def upload(client: AsyncClient) -> None:
        task = asyncio.create_task(client.upload(folder))
        while not list(temporary.iterdir()):
            await asyncio.sleep(0.001)
        await cancelled(task)
        assert list(temporary.iterdir()), "it was still being packed"
        await client.health()

    service.on("GET", "/healthz", Answer(body={"status": "ok"}))
    play(service.url, upload)
    assert list(temporary.iterdir()) == []
    assert [request.path for request in service.requests] == ["/healthz"]


def test_an_upload_that_is_cancelled_while_it_is_sent_can_be_made_again(
    at_the_api: Client, lasting_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "cancelled.csv"
    path.write_text("a,b\n" + "".join(f"{row},{row % 2}\n" for row in range(200_000)))

    async def upload(client: AsyncClient) -> str:
        under_way = asyncio.Event()

        def told(sent: int, _: int) -> None:
            if sent:
                under_way.set()

        task = asyncio.create_task(client.upload(path, progress=told))
        await under_way.wait()
        await cancelled(task)
        return (await client.upload(path)).sha256

    assert play(lasting_url, upload) == at_the_api.upload(path).sha256
