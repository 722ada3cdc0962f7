"""Runs the migrations, one starter at a time: eight containers may start at once, and one applies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import context
from filelock import FileLock
from sqlalchemy import Engine, text

from models.database import Database
from models.settings import settings
from models.tables import Table

_ADVISORY_LOCK = 0x6465736365
"""Any fixed number that nothing else in the database uses: "desce" in ASCII."""


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    if engine.dialect.name == "sqlite":
        with FileLock(Path(f"{engine.url.database}.migrate-lock"), timeout=60):
            yield
    else:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # The session's limits are for requests; a second starter may wait for the first one's whole migration.
            connection.execute(text("SET statement_timeout = 0; SET lock_timeout = 0"))
            connection.execute(text(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})"))
            yield


def _migrate() -> None:
    database = Database(settings().database())
    with _alone(database.engine), database.engine.connect() as connection:
        if database.is_sqlite:
            # Where SQLite cannot alter a table it is copied and dropped, and what refers to it must not go with it.
            # Before any transaction: inside one this does nothing.
            connection.connection.cursor().execute("PRAGMA foreign_keys = OFF")
        else:
            connection.execute(text("SET statement_timeout = 0"))
            connection.commit()
        context.configure(
            connection=connection, target_metadata=Table.metadata, render_as_batch=database.is_sqlite, compare_type=True
        )
        with context.begin_transaction():
            context.run_migrations()
    database.dispose()


_migrate()
