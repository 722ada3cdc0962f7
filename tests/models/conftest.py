from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from models.database import Database
from models.tables import Table
from tests.servers import PostgresqlDatabases


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
        databases: PostgresqlDatabases = request.getfixturevalue("postgresql_databases")
        with databases.database() as url:
            database = Database(make_url(url))
            yield database
            database.dispose()


@pytest.fixture
def database(lasting_database: Database) -> Database:
    """That database, emptied."""
    with lasting_database.write() as session:
        for table in reversed(Table.metadata.sorted_tables):
            session.execute(table.delete())
    return lasting_database
