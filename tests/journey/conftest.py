from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

from descent import Client
from tests.journey.service import Service, running_service
from tests.servers import KEY, copy_of_postgresql_database, drop_postgresql_database, running_valkey


@contextmanager
def _service_on(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Service]:
    """Run a service with servers of its own on one kind of database, without a worker."""
    with running_valkey(folder) as valkey:
        if kind == "sqlite":
            template: Path = request.getfixturevalue("sqlite_template")
            (folder / "descent.sqlite3").write_bytes(template.read_bytes())
            with running_service(folder, f"sqlite:///{folder / 'descent.sqlite3'}", valkey) as running:
                yield running
        else:
            server: str = request.getfixturevalue("postgresql")
            url = copy_of_postgresql_database(server, request.getfixturevalue("postgresql_template"))
            with running_service(folder, url, valkey) as running:
                yield running
            drop_postgresql_database(server, url)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for the tests of one file, which may stop and kill its programs; it has no worker yet."""
    with _service_on(request.param, request, tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="session")
def lasting_services(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Service]]:
    """Services with a worker and a predictor, one per kind of database; started at first use, for the whole session."""
    with ExitStack() as stack:

        @cache
        def start(kind: str) -> Service:
            running = stack.enter_context(_service_on(kind, request, tmp_path_factory.mktemp("service")))
            running.start_predictor()
            running.start_worker()
            return running

        yield start


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def lasting_service(request: pytest.FixtureRequest, lasting_services: Callable[[str], Service]) -> Service:
    """A service that several files use: no test may stop its programs."""
    return lasting_services(request.param)


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
    """A client of the lasting service, with the key of this file's owner."""
    with Client(lasting_service.url, key=owner_key) as client:
        yield client
