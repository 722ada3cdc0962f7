from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from api.app import create_app
from models.database import Database
from models.settings import Settings
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.specs import SPEC
from tests.servers import Valkey, http_client, running_api, settings_in


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database. The fast tier uses PostgreSQL for the tests of models and of whole services."""
    url: str = request.getfixturevalue(f"{request.param}_database_url")
    return url


@pytest.fixture
def worker(database: Database, settings: Settings) -> Iterator[FakeWorker]:
    worker = FakeWorker.of(database, settings)
    yield worker
    worker.client.close()


@pytest.fixture
def run(api: httpx2.Client, worker: FakeWorker) -> FakeRun:
    """A run that was submitted over HTTP and is claimed."""
    assert api.post("/v1/jobs", json=SPEC).status_code == 202
    return worker.claim()[0]


@pytest.fixture
def settings_on_sqlite(sqlite_database_url: str, redis_url: str, valkey: Valkey, tmp_path: Path) -> Settings:
    """For tests that start an API of their own, and to which the kind of database does not matter."""
    return Settings(
        database_url=sqlite_database_url,
        broker_url=valkey.broker_url(),
        metrics_url=redis_url,
        storage_url=str(tmp_path / "storage"),
    )


@pytest.fixture(scope="session")
def lasting_api(
    valkey: Valkey, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    """One API on SQLite for the whole session, for tests that do not mind what others stored."""
    settings = settings_in(
        tmp_path_factory.mktemp("lasting"),
        sqlite_template,
        valkey,
        max_job_memory_bytes=64 * 1024**2,
        anonymous_a_minute=1_000_000,
    )
    with running_api(create_app(settings)) as url, http_client(url, timeout=30) as client:
        yield client
