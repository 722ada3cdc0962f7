"""Things that are away for a while, and waiting for others to notice."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
from sqlalchemy import text

from models.database import Database
from models.settings import Settings

PATIENCE_SECONDS = 15.0


def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait for something that another thread does.

    Raises:
        AssertionError: if it does not.

    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.02)


@contextmanager
def impatient(settings: Settings) -> Iterator[Database]:
    """The database of these settings; a SQLite that is locked says so soon."""
    database = Database(settings.database(), lock_seconds=0.05)
    yield database
    database.dispose()


@contextmanager
def sql_away(database: Database) -> Iterator[None]:
    """While the block lasts, the database serves nobody: it is locked, or cuts everybody off."""
    name = database.engine.url.database
    assert name is not None
    if database.is_sqlite:
        with closing(sqlite3.connect(name, isolation_level=None)) as locker:
            locker.execute("BEGIN EXCLUSIVE")
            yield
        return
    elsewhere = database.engine.url.set(drivername="postgresql", database="postgres")
    with psycopg.connect(elsewhere.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@contextmanager
def no_room_in(database: Database, table: str) -> Iterator[None]:
    """While the block lasts, the database refuses every new row of a table, and the transaction around it."""
    if database.is_sqlite:
        _execute(database, f"CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no room'); END")
        try:
            yield
        finally:
            _execute(database, "DROP TRIGGER refuse")
    else:
        _execute(
            database,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$",
            f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        try:
            yield
        finally:
            _execute(database, "DROP FUNCTION refuse CASCADE")


def _execute(database: Database, *statements: str) -> None:
    with database.write() as session:
        for statement in statements:
            session.execute(text(statement))
