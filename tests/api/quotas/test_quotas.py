"""What one owner may have: requests a minute, waiting runs, bytes, streams; counted together wherever they ask."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import httpx2
import pytest
import redis
from sqlalchemy import select, update

from api.app import create_app
from api.quotas import rates
from models.database import Database
from models.settings import Settings
from models.status import RunStatus
from models.tables import Job, RateCount, now
from tests.api.fake_worker import FakeWorker
from tests.api.quotas.limited import limited, refused
from tests.api.specs import spec
from tests.models.outages import eventually
from tests.servers import Valkey, http_client, running_api, stopped


def test_an_owner_changes_things_so_many_times_a_minute(settings: Settings) -> None:
    with limited(settings, writes_a_minute=3) as (api,):
        assert [api.ada.post("/v1/jobs", json=spec()).status_code for _ in range(3)] == [202] * 3
        assert "3 write requests" in refused(api.ada.post("/v1/jobs", json=spec()), "rate_limited")
        assert api.ada.get("/v1/jobs").status_code == 200, "looking is counted apart"
        assert api.ada.post("/v1/jobs/validate", json=spec()).status_code == 200
        assert api.bob.post("/v1/jobs", json=spec()).status_code == 202, "everybody has their own"
        assert [api.admin.post("/v1/jobs", json=spec()).status_code for _ in range(5)] == [202] * 5
        assert len(api.ada.get("/v1/jobs").json()["data"]) == 3


def test_processes_count_together_and_in_sql_while_redis_is_silent(
    settings_on_sqlite: Settings, valkey: Valkey, database_of_sqlite: Database
) -> None:
    with limited(settings_on_sqlite, processes=2, reads_a_minute=6) as (one, other):
        clients = [one.ada, other.ada]
        assert [clients[turn % 2].get("/v1/jobs").status_code for turn in range(6)] == [200] * 6
        for client in clients:
            refused(client.get("/v1/jobs"), "rate_limited")
        with stopped(valkey):
            assert [clients[turn % 2].get("/v1/jobs").status_code for turn in range(6)] == [200] * 6
            for client in clients:
                refused(client.get("/v1/jobs"), "rate_limited")
            with database_of_sqlite.write() as session:
                assert session.scalars(select(RateCount.name)).all() == ["reads:ada"]
                session.execute(update(RateCount).values(ends_at=now()))
            assert one.ada.get("/v1/jobs").status_code == 200, "a new minute has begun"


@pytest.fixture
def database_of_sqlite(settings_on_sqlite: Settings) -> Iterator[Database]:
    database = Database(settings_on_sqlite.database())
    yield database
    database.dispose()


def test_old_counts_are_forgotten(database: Database) -> None:
    with database.write() as session:
        for name, minutes in (("old", -1), ("new", 1)):
            session.add(RateCount(name=name, count=1, ends_at=now() + timedelta(minutes=minutes)))
    rates.forget_old_counts(database)
    with database.read() as session:
        assert session.scalars(select(RateCount.name)).all() == ["new"]


def test_a_count_in_redis_is_over_after_a_minute(settings_on_sqlite: Settings, redis_url: str) -> None:
    with limited(settings_on_sqlite, reads_a_minute=1) as (api,), redis.Redis.from_url(redis_url) as client:
        assert api.ada.get("/v1/jobs").status_code == 200
        refused(api.ada.get("/v1/jobs"), "rate_limited")
        assert 0 < client.pttl("descent:rate:reads:ada") <= 60_000
        client.delete("descent:rate:reads:ada")
        assert api.ada.get("/v1/jobs").status_code == 200


def test_no_more_runs_of_an_owner_wait_than_may_whatever_would_queue_them(
    settings: Settings, worker: FakeWorker, database: Database
) -> None:
    with limited(settings, max_queued_runs=5) as (api,):
        worker.arrive()
        job = api.ada.post("/v1/jobs", json=spec(seeds=3)).json()["id"]
        for run in worker.claim():
            run.finish(RunStatus.FAILED)
        paused = api.ada.post("/v1/jobs", json=spec(seeds=3)).json()["id"]
        assert api.ada.post(f"/v1/jobs/{paused}/pause").status_code == 202
        assert api.ada.post("/v1/jobs", json=spec(seeds=4)).status_code == 202
        grid = {"batch_size": [8, 16]}
        for method, path, body in (
            ("POST", "/v1/jobs", spec(seeds=2)),
            ("POST", "/v1/sweeps", {"base": spec(), "grid": grid}),
            ("POST", f"/v1/jobs/{job}/retry", None),
            ("POST", f"/v1/jobs/{paused}/resume", None),
        ):
            assert "at most 5 queued runs" in refused(api.ada.request(method, path, json=body), "over_quota")
        with database.read() as session:
            assert len(session.scalars(select(Job.id)).all()) == 3, "nothing of what was refused is kept"
        assert api.ada.post("/v1/jobs", json=spec()).status_code == 202, "one has room"
        assert api.bob.post("/v1/jobs", json=spec(seeds=5)).status_code == 202
        assert api.admin.post("/v1/jobs", json=spec(seeds=9)).status_code == 202


def test_an_owner_follows_so_many_streams_at_once(settings_on_sqlite: Settings) -> None:
    with limited(settings_on_sqlite, max_owner_streams=2, max_streams=4) as (api,):
        paths = {name: f"/v1/runs/{_run_of(client)}/stream" for name, client in (("ada", api.ada), ("bob", api.bob))}
        # Kept: a reader that is thrown away hangs up.
        lines: list[Iterator[str]] = []
        with ExitStack() as open_streams:

            def follow(client: httpx2.Client, owner: str) -> int:
                """The status; a stream that begins stays open."""
                answer = open_streams.enter_context(client.stream("GET", paths[owner]))
                if answer.status_code == 200:
                    lines.append(answer.iter_lines())
                    assert next(lines[-1])
                return answer.status_code

            assert [follow(api.ada, "ada") for _ in range(3)] == [200, 200, 429]
            assert [follow(api.bob, "bob") for _ in range(2)] == [200, 200]
            assert follow(api.admin, "ada") == 503, "the process follows as many as it can"
        for _ in range(100):
            with api.ada.stream("GET", paths["ada"]) as answer:
                if answer.status_code == 200:
                    break
        assert answer.status_code == 200, "those who left make room"


def _run_of(client: httpx2.Client) -> str:
    job = client.post("/v1/jobs", json=spec()).json()["id"]
    run_id: str = client.get(f"/v1/jobs/{job}/runs").json()["data"][0]["id"]
    return run_id


def test_a_reader_who_stops_reading_loses_the_stream_and_its_place(
    settings_on_sqlite: Settings, database_of_sqlite: Database
) -> None:
    impatient = settings_on_sqlite.model_copy(update={"send_seconds": 2})
    with (
        running_api(create_app(impatient.model_copy(update={"max_owner_streams": 1})), impatient) as url,
        http_client(url) as admin,
    ):
        key = admin.post("/v1/keys", json={"owner": "ada"}).json()["key"]
        worker = FakeWorker.of(database_of_sqlite, settings_on_sqlite)
        with http_client(url, key=key) as ada:
            path = f"/v1/runs/{_run_of(ada)}/stream"
            (run,) = worker.claim()
            for first in range(0, 400_000, 4_000):
                run.report({"train_loss": (range(first + 1, first + 4_001), [0.5] * 4_000)})
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                deaf.connect((ada.base_url.host, ada.base_url.port))
                deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
                assert deaf.recv(12) == b"HTTP/1.1 200"
                refused(ada.get(path), "over_quota")
                eventually(lambda: _is_served(ada, path), "its place is free again")
        worker.client.close()


def _is_served(client: httpx2.Client, path: str) -> bool:
    with client.stream("GET", path) as answer:
        return answer.status_code == 200
