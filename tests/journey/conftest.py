from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from descent import Client
from tests.journey.service import Service, running_service
from tests.servers import KEY, PostgresqlDatabases, running_valkey


@contextmanager
def _on_sqlite(template: Path, folder: Path) -> Iterator[Service]:
    """Run a service on a SQLite database and a Redis of its own, without a worker."""
    path = folder / "descent.sqlite3"
    path.write_bytes(template.read_bytes())
    with running_valkey(folder) as valkey, running_service(folder, f"sqlite:///{path}", valkey) as running:
        yield running


@contextmanager
def _on_postgresql(databases: PostgresqlDatabases, folder: Path) -> Iterator[Service]:
    """Run a service on a PostgreSQL database and a Redis of its own, without a worker."""
    with (
        databases.database() as url,
        running_valkey(folder) as valkey,
        running_service(folder, url, valkey) as running,
    ):
        yield running


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for the tests of one file, which may stop and kill its programs; it has no worker yet."""
    folder: Path = tmp_path_factory.mktemp("service")
    if request.param == "sqlite":
        running = _on_sqlite(request.getfixturevalue("sqlite_template"), folder)
    else:
        running = _on_postgresql(request.getfixturevalue("postgresql_databases"), folder)
    with running as started:
        yield started


@contextmanager
def _with_programs(service: AbstractContextManager[Service]) -> Iterator[Service]:
    """Run a service with a worker and a predictor."""
    with service as running:
        running.start_predictor()
        running.start_worker()
        yield running


@pytest.fixture(scope="session")
def lasting_sqlite_service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with _with_programs(_on_sqlite(sqlite_template, tmp_path_factory.mktemp("service"))) as running:
        yield running


@pytest.fixture(scope="session")
def lasting_postgresql_service(
    postgresql_databases: PostgresqlDatabases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with _with_programs(_on_postgresql(postgresql_databases, folder)) as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def lasting_service(request: pytest.FixtureRequest) -> Service:
    """A service that several files use: no test may stop its programs."""
    service: Service = request.getfixturevalue(f"lasting_{request.param}_service")
    return service


@pytest.fixture(scope="module")
def admin(service: Service) -> Iterator[Client]:
    """A client of the file's own service."""
    with Client(service.url) as client:
        yield client


@pytest.fixture(scope="module")
def owner_key(lasting_service: Service, request: pytest.FixtureRequest) -> str:
    """A key of an owner of this file: to it, the service is empty."""
    with Client(lasting_service.url, key=KEY) as admin:
        return admin.create_key(request.module.__name__.rpartition(".")[2]).key


@pytest.fixture(scope="module")
def client(lasting_service: Service, owner_key: str) -> Iterator[Client]:
    """A client of the lasting service, with the key of this file's owner, whose jobs end with the file."""
    with Client(lasting_service.url, key=owner_key) as client:
        yield client
        for job in client.jobs():
            if not job.is_terminal:
                client.cancel(job)
