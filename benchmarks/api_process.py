"""The API in a process of its own, as it is deployed, on an empty database and a Redis of its own."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.servers import KEY, START_SECONDS, http_client, migrate, postgresql_url, running_postgresql, running_valkey


@contextmanager
def surroundings(database: str = "sqlite") -> Iterator[Mapping[str, str]]:
    """The environment of a service whose database, "sqlite" or "postgresql", is migrated and empty."""
    with (
        tempfile.TemporaryDirectory(prefix="descent-bench-") as name,
        running_valkey(Path(name)) as valkey,
        _database(database, Path(name)) as url,
    ):
        migrate(url, Path(name))
        yield os.environ | {
            "DESCENT_DATABASE_URL": url,
            "DESCENT_BROKER_URL": valkey.broker_url(),
            "DESCENT_METRICS_URL": valkey.metrics_url(),
            "DESCENT_STORAGE_URL": f"{name}/storage",
            "DESCENT_ADMIN_KEY": KEY,
        }


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/descent.sqlite3"
        return
    with running_postgresql() as server:
        yield postgresql_url(server, "postgres")


@contextmanager
def api_process(environment: Mapping[str, str]) -> Iterator[tuple[httpx2.Client, "subprocess.Popen[bytes]"]]:
    """A client of the API, which has answered nothing yet but its health, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "api", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with http_client(f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(client):
                assert time.monotonic() < deadline, "the API did not start"
                time.sleep(0.05)
            yield client, process
    finally:
        process.terminate()
        process.wait()


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False
