"""Whatever is away: every route says so, soon and in the same words, and serves again once it is back."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from api.app import create_app
from models.database import Database
from models.queue import app as celery
from models.queue import predictions as celery_of_predictions
from models.settings import Settings
from models.storage import Storage, StorageFailed
from models.tables import PREDICTIONS, WEIGHTS, Artifact, new_id, now
from models.tables import Worker as WorkerRow
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.specs import SPEC, spec
from tests.api.test_streams import events
from tests.models.outages import eventually, sql_away
from tests.servers import Valkey, http_client, running_api, running_valkey, stopped

PATIENCE_SECONDS = 10.0
"""Longer than this nobody should have to wait to hear that a part is away."""
CSV = b"height,color,label\n1.5,red,0\n2.5,blue,1\n,red,0\n4.5,blue,1\n"
FOLDS = {"kind": "k_fold", "folds": 2}

Ask = tuple[str, str, dict[str, Any]]


class Installation:
    """An API with a bit of everything in it: a job that has ended, one that trains, one that waits, a data set."""

    def __init__(self, api: httpx2.Client, database: Database, settings: Settings) -> None:
        self.api = api
        self.worker = FakeWorker.of(database, settings)
        self.ended, done = self._started(evaluation=FOLDS)
        for run in done:
            self._leave(database, Storage(settings.storage_url), run)
            run.report({"validation_loss": ([1, 2], [0.5, 0.25])})
            run.finish()
        self.run = done[0]
        self.trains, (self.live,) = self._started()
        self.live.report({"train_loss": ([1], [0.5])})
        self.waits = self._submitted(device="cuda")
        self.deleted, (gone,) = self._started(optimizer="sgd")
        gone.finish()
        answer = api.post("/v1/datasets", params={"name": "heights"}, content=CSV)
        assert answer.status_code == 201, answer.text
        artifacts = api.get(f"/v1/runs/{self.run.claimed.id}/artifacts").json()["data"]
        self.download = f"/v1/runs/{self.run.claimed.id}/artifacts/{artifacts[0]['id']}"

    def _submitted(self, **changes: Any) -> str:
        return str(self.api.post("/v1/jobs", json=spec(**changes)).json()["id"])

    def _started(self, **changes: Any) -> tuple[str, list[FakeRun]]:
        return self._submitted(**changes), self.worker.claim()

    @staticmethod
    def _leave(database: Database, storage: Storage, run: FakeRun) -> None:
        for name in (WEIGHTS, PREDICTIONS):
            key = f"runs/{run.claimed.id}/1/{name}"
            storage.write(key, b"x" * 1_000)
            facts = {"name": name, "media_type": "application/octet-stream", "size": 1_000, "sha256": "0" * 64}
            with database.write() as session:
                session.add(
                    Artifact(id=new_id("artifact"), run_id=run.claimed.id, storage_key=key, created_at=now(), **facts)
                )

    @property
    def reads(self) -> list[Ask]:
        run, job = f"/v1/runs/{self.run.claimed.id}", f"/v1/jobs/{self.ended}"
        paths = ["/v1/jobs", job, f"{job}/runs", f"{job}/metrics", f"{job}/diagnosis", f"{job}/analyses"]
        paths += [run, f"{run}/metrics", f"{run}/metrics?max_points=10", f"{run}/diagnosis", f"{run}/snapshots"]
        paths += [f"{run}/artifacts", f"{run}/checkpoints", f"{run}/analyses", f"{run}/stream"]
        paths += ["/v1/queue", "/v1/workers", "/v1/experiments", "/v1/datasets", "/v1/datasets/heights"]
        paths += [
            "/v1/datasets/heights/preview",
            "/v1/test-ledger",
            "/metrics",
            f"/v1/comparisons?job={self.ended}",
        ]
        return [("GET", path, {}) for path in paths]

    @property
    def of_storage(self) -> list[Ask]:
        claim: dict[str, Any] = {"kind": "between", "low": 0, "high": 1}
        claim["of"] = {"kind": "result", "job": self.ended, "score": "validation"}
        return [
            ("GET", self.download, {}),
            ("GET", f"/v1/jobs/{self.ended}/results", {}),
            ("POST", "/v1/verdicts", {"json": {"claims": [claim]}}),
            ("POST", "/v1/datasets", {"content": CSV + b"5.5,red,1\n"}),
        ]

    @property
    def writes(self) -> list[Ask]:
        return [
            ("POST", "/v1/jobs", {"json": SPEC}),
            ("POST", "/v1/jobs", {"json": SPEC, "headers": {"Idempotency-Key": new_id("key")}}),
            ("POST", "/v1/sweeps", {"json": {"base": SPEC, "grid": {"optimizer.learning_rate": [0.1, 0.01]}}}),
            ("PATCH", f"/v1/jobs/{self.waits}", {"json": {"name": "other"}}),
            ("POST", f"/v1/jobs/{self.trains}/pause", {}),
            ("POST", f"/v1/jobs/{self.waits}/cancel", {}),
            ("POST", f"/v1/jobs/{self.ended}/analyses", {"json": {"kind": "hessian"}}),
            ("DELETE", f"/v1/jobs/{self.deleted}", {}),
            ("POST", "/v1/housekeeping?dry_run=true", {}),
        ]

    def ask_all(self, asks: list[Ask]) -> dict[str, httpx2.Response]:
        """Everything at once, as many people do; nobody waits longer than patience lasts."""

        def ask(one: Ask) -> httpx2.Response:
            method, path, more = one
            return self.api.request(method, path, timeout=PATIENCE_SECONDS, **more)

        with ThreadPoolExecutor(len(asks)) as pool:
            answers = list(pool.map(ask, asks))
        return {f"{method} {path} {len(more)}": one for (method, path, more), one in zip(asks, answers, strict=True)}


def demand_refusals(answers: dict[str, httpx2.Response], part: str) -> None:
    """Each answer says that the part is away, and when to come back."""
    for route, answer in answers.items():
        assert answer.status_code == 503, (route, answer.status_code, answer.text[:300])
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert float(answer.headers["Retry-After"]) > 0
        assert part in answer.json()["detail"], route


def demand_success(answers: dict[str, httpx2.Response]) -> None:
    failed = {route: (one.status_code, one.text[:300]) for route, one in answers.items() if not one.is_success}
    assert not failed


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def settings(database_url: str, own_valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A Redis of its own, which may come to harm."""
    for one in (celery, celery_of_predictions):
        monkeypatch.setattr(one.conf, "broker_url", own_valkey.broker_url())
    return Settings(
        database_url=database_url,
        broker_url=own_valkey.broker_url(),
        metrics_url=own_valkey.metrics_url(),
        storage_url=str(tmp_path / "storage"),
        prediction_seconds=1.0,
        lease_seconds=3.0,
    )


@pytest.fixture
def installation(database: Database, settings: Settings) -> Iterator[Installation]:
    with running_api(create_app(settings.model_copy(update={"lease_seconds": 3_600.0}))) as url:
        # No connection is kept: whoever asks is another one each time.
        limits = httpx2.Limits(max_keepalive_connections=0)
        with http_client(url, timeout=PATIENCE_SECONDS, limits=limits) as api:
            made = Installation(api, database, settings)
            yield made
            made.worker.client.close()


# ── SQL ──────────────────────────────────────────────────────────────────────────────────────────


def test_without_sql_every_route_says_so_and_serves_again_afterwards(
    installation: Installation, database: Database
) -> None:
    api = installation.api
    # What was read before comes first in the pool: connections that are about to be cut.
    demand_success(installation.ask_all(installation.reads))
    everything = installation.reads + installation.of_storage + installation.writes
    with sql_away(database):
        demand_refusals(installation.ask_all(everything), "the database does not answer")
        ready = api.get("/readyz")
        assert (ready.status_code, ready.json()["database"], ready.json()["broker"]) == (503, False, True)
        assert api.get("/healthz").status_code == 200
        assert api.get("/v1/components").status_code == 200
    demand_success(installation.ask_all(installation.reads))
    demand_success(installation.ask_all(installation.writes))
    assert api.get("/readyz").status_code == 200


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_transaction_idles_while_a_verdict_reads_files(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL would end it after ten seconds, and slow storage may take longer."""
    idle = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    )
    looks: list[bool] = []

    def all_are_over() -> bool:
        with database.engine.connect() as connection:
            return bool(connection.scalar(idle) == 0)

    def slow(key: str) -> None:
        # The relay's own transactions pass in no time; PostgreSQL itself ends one that idles after ten seconds.
        deadline = time.monotonic() + PATIENCE_SECONDS / 2
        while not (over := all_are_over()) and time.monotonic() < deadline:
            time.sleep(0.05)
        looks.append(over)
        raise StorageFailed("it was slow, and then it was gone")

    app = create_app(settings)
    with running_api(app) as url, http_client(url, timeout=30) as api:
        made = Installation(api, database, settings)
        monkeypatch.setattr(app.state.service.storage, "open", slow)
        (verdict,) = (ask for ask in made.of_storage if ask[1] == "/v1/verdicts")
        assert api.post(verdict[1], **verdict[2]).status_code == 503
        assert looks
        assert all(looks)
        made.worker.client.close()


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def killed(server: Valkey) -> Iterator[None]:
    """Gone, and replaced by another one at the same place, which knows nothing."""
    server.process.kill()
    server.process.wait()
    yield
    server.socket.unlink(missing_ok=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("away", [killed, stopped])
def test_without_redis_all_is_served_but_predictions(
    installation: Installation, own_valkey: Valkey, away: Callable[[Valkey], Any]
) -> None:
    api, live = installation.api, installation.live
    told: list[str] = []
    follower = Thread(target=follow, args=(api, live, told))
    follower.start()
    eventually(lambda: "metrics" in told, "somebody follows")
    with away(own_valkey):
        ready = api.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            503,
            {"ready": False, "database": True, "broker": False, "metrics": False},
        )
        demand_success(installation.ask_all([*installation.reads, *installation.writes]))
        submitted = api.post("/v1/jobs", json=SPEC)
        assert submitted.status_code == 202
        asked = {"json": {"rows": [[1.0]]}}
        path = f"/v1/runs/{installation.run.claimed.id}/predictions"
        demand_refusals(installation.ask_all([("POST", path, asked)]), "Redis, which carries the question")
        live.report({"train_loss": ([2], [0.25])}, to_redis=False)
        live.finish(to_redis=False)
        follower.join(timeout=2 * PATIENCE_SECONDS)
        assert told[-1] == "end", "who follows a run hears its end from SQL"
    if away is stopped:
        assert api.get("/readyz").status_code == 200


def follow(api: httpx2.Client, run: FakeRun, told: list[str]) -> None:
    with api.stream("GET", f"/v1/runs/{run.claimed.id}/stream", timeout=60) as answer:
        for event in events(answer):
            told.append(event.name)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_once_redis_is_back_the_same_process_uses_it_again(installation: Installation, own_valkey: Valkey) -> None:
    api = installation.api
    with killed(own_valkey):
        assert api.get("/readyz").status_code == 503
    with running_valkey(own_valkey.socket.parent):
        eventually(lambda: api.get("/readyz").status_code == 200, "it is ready again")
        path = f"/v1/runs/{installation.run.claimed.id}/predictions"
        answer = api.post(path, json={"rows": [[1.0]]})
        assert "no worker has answered" in answer.json()["detail"], "Redis itself took the question"


@pytest.mark.parametrize("away", [killed, stopped])
def test_lost_runs_return_while_redis_is_away(
    database: Database, settings: Settings, own_valkey: Valkey, away: Callable[[Valkey], Any]
) -> None:
    with running_api(create_app(settings)) as url, http_client(url) as api:
        worker = FakeWorker.of(database, settings)
        job = api.post("/v1/jobs", json=SPEC).json()["id"]
        worker.claim()
        api.post("/v1/jobs", json=spec(optimizer="sgd"))
        worker.arrive()
        with database.write() as session:
            session.get_one(WorkerRow, "worker_cpu").busy = False
        with away(own_valkey):
            eventually(lambda: status(api, job) == "queued", "the relay does not wait for the broker")
        worker.client.close()


def status(api: httpx2.Client, job_id: str) -> str:
    return str(api.get(f"/v1/jobs/{job_id}").json()["status"])


# ── storage ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def gone(folder: Path) -> Iterator[None]:
    folder.rename(folder.with_name("elsewhere"))
    yield
    folder.with_name("elsewhere").rename(folder)


@contextmanager
def unreadable(folder: Path) -> Iterator[None]:
    with gone(folder):
        folder.write_bytes(b"no folder")
        yield
        folder.unlink()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_storage_what_needs_it_says_so_and_all_else_is_served(
    installation: Installation, tmp_path: Path
) -> None:
    api, folder = installation.api, tmp_path / "storage"
    with unreadable(folder):
        demand_refusals(installation.ask_all(installation.of_storage), "storage does not answer")
        demand_success(installation.ask_all(installation.reads))
        housekeeping = installation.ask_all([("POST", "/v1/housekeeping", {})])
        demand_refusals(housekeeping, "storage does not answer")
        assert api.get("/v1/datasets").json()["data"][0]["name"] == "heights"
        assert len(api.get("/v1/datasets").json()["data"]) == 1, "an upload that was not kept is not listed"
    assert api.get(installation.download).content == b"x" * 1_000
    assert api.post("/v1/datasets", content=CSV + b"5.5,red,1\n").status_code == 201


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_storage_that_is_gone_is_told_from_a_file_that_is_gone(installation: Installation, tmp_path: Path) -> None:
    with gone(tmp_path / "storage"):
        demand_refusals(installation.ask_all(installation.of_storage[:3]), "storage does not answer")
    for path in (tmp_path / "storage" / "runs").rglob("*.safetensors"):
        path.unlink()
    for route, answer in installation.ask_all(installation.of_storage[:3]).items():
        assert (answer.status_code, answer.headers.get("Retry-After")) == (404, None), route
        assert "gone from storage" in answer.json()["detail"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_is_deleted_without_storage_is_deleted_and_its_files_are_orphans(
    installation: Installation, tmp_path: Path
) -> None:
    api, folder = installation.api, tmp_path / "storage"
    with unreadable(folder):
        assert api.delete(f"/v1/jobs/{installation.ended}").status_code == 204
        assert api.delete("/v1/datasets/heights").status_code == 204
    assert api.get(f"/v1/jobs/{installation.ended}").status_code == 404
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).parts[0] for path in left} == {"runs", "datasets"}
    for path in left:
        os.utime(path, (time.time() - 48 * 3600,) * 2)
    told = api.post("/v1/housekeeping").json()
    assert told["orphans"]["count"] == len(left)
    assert not [path for path in folder.rglob("*") if path.is_file()]
