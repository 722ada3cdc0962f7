from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from models.database import Database
from models.tables import Table
from tests.servers import copy_of_postgresql_database, drop_postgresql_database


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def lasting_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database of each kind for the tests of a file."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = tmp_path_factory.mktemp("lasting") / "descent.sqlite3"
        path.write_bytes(template.read_bytes())
        database = Database(make_url(f"sqlite:///{path}"))
        yield database
        database.dispose()
    else:
        server: str = request.getfixturevalue("postgresql")
        url = copy_of_postgresql_database(server, request.getfixturevalue("postgresql_template"))
        database = Database(make_url(url))
        yield database
        database.dispose()
        drop_postgresql_database(server, url)


@pytest.fixture
def database(lasting_database: Database) -> Database:
    """That database, emptied."""
    with lasting_database.write() as session:
        for table in reversed(Table.metadata.sorted_tables):
            session.execute(table.delete())
    return lasting_database
