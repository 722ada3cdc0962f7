from collections.abc import Iterator
from pathlib import Path

import pytest

from descent import Client
from tests.journey.service import Service, running_service
from tests.servers import copy_of_postgresql_database, drop_postgresql_database, running_valkey


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An installation with servers of its own, one for the tests of a file and each kind of database; no worker yet."""
    folder: Path = tmp_path_factory.mktemp("service")
    with running_valkey(folder) as valkey:
        if request.param == "sqlite":
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


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client
