"""Engine and sessions for SQLite on one host and PostgreSQL for many."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from models.ownership import confined_to, owner_of
from models.write_turns import WriteTurns

LOCK_SECONDS = 5.0
"""Timeout for starting a write transaction on SQLite."""
_BEGIN_WRITE = "BEGIN IMMEDIATE"
_LOCK_SECONDS_LEFT = "descent_lock_seconds_left"
"""Execution option of a write transaction on SQLite: the seconds left to wait for the lock of the file."""
# SQLite before 3.51.3 can lose a WAL commit when a reset races with a reader; two branches carry the repair.
_WAL_SAFE_FROM = (3, 51, 3)
_WAL_SAFE_BRANCHES = ((3, 50, 7), (3, 44, 6))


def wal_is_safe(version: tuple[int, int, int] = sqlite3.sqlite_version_info[:3]) -> bool:
    """Whether this SQLite can be trusted with write-ahead logging."""
    repaired = any(version[:2] == branch[:2] and version >= branch for branch in _WAL_SAFE_BRANCHES)
    return version >= _WAL_SAFE_FROM or repaired


class Database:
    """Hands out sessions: `read()` for looking, `write()` for changing. Both end their transaction with the block."""

    def __init__(self, url: URL, pool_size: int = 10, lock_seconds: float = LOCK_SECONDS) -> None:
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._lock_seconds = lock_seconds
        self._turns = WriteTurns()
        self.engine = (
            _sqlite_engine(url, pool_size, lock_seconds) if self.is_sqlite else _postgresql_engine(url, pool_size)
        )
        self._info = confined_to(None)

    def of(self, owner: str | None) -> Self:
        """The same database as one owner sees it; for None, all of it."""
        view = copy(self)
        view._info = confined_to(owner)
        return view

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False, info=self._info) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Commit when the block ends well, roll back when it raises.

        Raises:
            OperationalError: if another transaction holds the lock of SQLite for too long.

        """
        with (
            self._writer() as engine,
            Session(engine, expire_on_commit=False, info=self._info) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def _writer(self) -> Iterator[Engine]:
        """Yield the engine for a write transaction, on SQLite once it is the owner's turn."""
        if not self.is_sqlite:
            yield self.engine
            return
        began = time.monotonic()
        if not self._turns.acquire(owner_of(self._info), self._lock_seconds):
            raise OperationalError(_BEGIN_WRITE, None, sqlite3.OperationalError("database is locked"))
        try:
            seconds_left = max(0.0, self._lock_seconds - (time.monotonic() - began))
            yield self.engine.execution_options(**{_LOCK_SECONDS_LEFT: seconds_left})
        finally:
            self._turns.release()

    def dispose(self) -> None:
        self.engine.dispose()


def _postgresql_engine(url: URL, pool_size: int) -> Engine:
    # A lock that waits or a transaction that idles must end in an error here, not in a queue behind it.
    limits = "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=10s"
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,  # an error goes to the log, where nobody's data belong
        # A cluster that was made without a locale hands out bytes, unless it is told how to read them.
        connect_args={"options": limits, "connect_timeout": 5, "client_encoding": "utf8"},
    )


def _sqlite_engine(url: URL, pool_size: int, lock_seconds: float) -> Engine:
    if url.database and url.database != ":memory:":
        # SQLite creates its files readable by all users.
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )

    busy_timeout = f"PRAGMA busy_timeout = {1_000 * lock_seconds:.0f}"

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # The driver must not open transactions by itself: `_begin` decides how each one starts.
        driver: Any = connection
        driver.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA journal_mode = {'WAL' if wal_is_safe() else 'TRUNCATE'}")
        cursor.execute(f"PRAGMA synchronous = {'NORMAL' if wal_is_safe() else 'FULL'}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(busy_timeout)
        # Without WAL, changes that are written to the file before the commit keep all readers out until then.
        cursor.execute("PRAGMA cache_spill = OFF")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A write that starts as a read and upgrades later fails with BUSY at once; taking the lock first waits for it.
        seconds = connection.get_execution_options().get(_LOCK_SECONDS_LEFT)
        if seconds is None:
            connection.exec_driver_sql("BEGIN")
            return
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {1_000 * seconds:.0f}")
        try:
            connection.exec_driver_sql(_BEGIN_WRITE)
        finally:
            # The commit waits for readers where SQLite runs without WAL, and so do later transactions.
            connection.exec_driver_sql(busy_timeout)

    return engine
