"""Fixtures that every room's tests share: real servers, fresh databases, an API over real HTTP."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
import redis

from api.app import create_app
from models.cores import cores
from models.database import Database
from models.queue import app as celery
from models.settings import Settings
from tests.servers import (
    KEY,
    PostgresqlDatabases,
    Valkey,
    http_client,
    migrate,
    postgresql_url,
    running_api,
    running_postgresql,
    running_valkey,
)

os.environ |= {"DESCENT_ADMIN_KEY": KEY, "DESCENT_KEY": KEY}
# Threads of torch wait for each other many times a step: on a busy machine, two can take a hundred times as long.
os.environ["OMP_NUM_THREADS"] = "1"
# Tests that use several threads let those that wait sleep: by default they spin on the cores that the others need.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# The consoles of the command line would keep the size that they find here, and ignore what a test sets.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

MOST_PROCESSES = 4
"""Each has servers of its own."""
START_FIRST = ("journey", "docs", "browser", "chaos")
"""Folders whose files take longest: at the end, one of them would keep a single process busy."""


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes share the tests: more than there are cores, because most tests wait."""
    return min(MOST_PROCESSES, cores() + 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    items.sort(key=lambda item: item.path.relative_to(folder).parts[0] not in START_FIRST)


@pytest.fixture(scope="session", autouse=True)
def _hearing_ctrl_c() -> None:
    """Shells start background jobs deaf to Ctrl-C, and every program that a test starts would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One Redis-protocol server for the whole session."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """An empty place for live metrics."""
    with redis.Redis.from_url(valkey.metrics_url()) as client:
        client.flushall()
    return valkey.metrics_url()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """One PostgreSQL for the whole session: the URL of its first database, in psycopg's words."""
    with running_postgresql() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            # Its data has to survive that the server is killed, but not that the machine loses power.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    folder = tmp_path_factory.mktemp("sqlite")
    migrate(f"sqlite:///{folder / 'template.sqlite3'}", folder)
    return folder / "template.sqlite3"


@pytest.fixture(scope="session")
def postgresql_databases(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> PostgresqlDatabases:
    """Fresh, migrated PostgreSQL databases."""
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE DATABASE template_descent")
    migrate(postgresql_url(postgresql, "template_descent"), tmp_path_factory.mktemp("migration"))
    return PostgresqlDatabases(postgresql, "template_descent")


@pytest.fixture
def sqlite_database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh, migrated SQLite database."""
    path = tmp_path / "descent.sqlite3"
    path.write_bytes(sqlite_template.read_bytes())
    return f"sqlite:///{path}"


@pytest.fixture
def postgresql_database_url(postgresql_databases: PostgresqlDatabases) -> Iterator[str]:
    """A fresh, migrated PostgreSQL database."""
    with postgresql_databases.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, migrated database: the test runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_database_url")
    return url


@pytest.fixture
def settings(database_url: str, redis_url: str, valkey: Valkey, tmp_path: Path) -> Iterator[Settings]:
    """Settings that name the servers of this test; Celery's app, which is one for the process, follows them."""
    before = celery.conf.broker_url
    celery.conf.broker_url = valkey.broker_url()
    yield Settings(
        database_url=database_url,
        broker_url=valkey.broker_url(),
        metrics_url=redis_url,
        storage_url=str(tmp_path / "storage"),
    )
    celery.conf.broker_url = before


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The database of this test, for looking behind the API's back."""
    database = Database(settings.database())
    yield database
    database.dispose()


@pytest.fixture
def api_url(settings: Settings) -> Iterator[str]:
    """The API behind a real uvicorn."""
    with running_api(create_app(settings)) as url:
        yield url


@pytest.fixture
def api(api_url: str) -> Iterator[httpx2.Client]:
    """A plain HTTP client for the API."""
    with http_client(api_url, timeout=30) as client:
        yield client
