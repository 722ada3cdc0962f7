"""A whole installation whose parts can be killed, stopped and cut off, and are started again as an operator would."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from descent.local.surroundings import free_port
from tests.servers import (
    PASSWORD,
    Valkey,
    copy_of_postgresql_database,
    migrate,
    postgresql_url,
    running_postgresql,
    server_in_wheel,
)

HEARTBEAT_SECONDS = 0.5
LEASE_SECONDS = 3.0
LOOK_SECONDS = 0.2

API = ("-m", "uvicorn", "api.app:create_app", "--factory", "--log-level", "warning", "--port")
WORKER = ("-m", "celery", "--quiet", "-A", "worker.tasks", "worker", "--concurrency", "1")


class Program:
    """One process, started again whenever it is found dead."""

    def __init__(self, name: str, start: Callable[[], "subprocess.Popen[bytes]"]) -> None:
        self.name = name
        self._start = start
        self.process = start()

    def keep_alive(self) -> None:
        if self.process.poll() is not None:
            self.process = self._start()

    def family(self) -> list[psutil.Process]:
        """The process and all that it made."""
        try:
            head = psutil.Process(self.process.pid)
            return [*head.children(recursive=True), head]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        """To all of the family."""
        for process in self.family():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue


class Stack:
    """An API, some workers, Redis and a database under one folder."""

    def __init__(self, folder: Path, database_url: str, workers: int, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port(0)}"
        self.database_url = database_url
        self.valkey_socket = folder / "valkey.sock"
        self.redis = Program("redis", self._start_redis)
        valkey = Valkey(self.valkey_socket, self.redis.process)
        self.broker_url, self.metrics_url = valkey.broker_url(), valkey.metrics_url()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DESCENT_")},
            "DESCENT_DATABASE_URL": database_url,
            "DESCENT_BROKER_URL": self.broker_url,
            "DESCENT_METRICS_URL": self.metrics_url,
            "DESCENT_STORAGE_URL": str(folder / "storage"),
            "DESCENT_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "DESCENT_LEASE_SECONDS": str(LEASE_SECONDS),
            "DESCENT_CHECKPOINT_SECONDS": "0.5",
            "DESCENT_WORKER_DEVICE": "cpu",
            "DESCENT_WORKER_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            **settings,
        }
        self.api = Program("api", lambda: self._python("api", *API, self.url.rpartition(":")[2]))
        self.workers = [Program("worker", lambda: self._python("worker", *WORKER)) for _ in range(workers)]
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    @property
    def programs(self) -> list[Program]:
        return [self.redis, self.api, *self.workers]

    def _start_redis(self) -> "subprocess.Popen[bytes]":
        self.valkey_socket.unlink(missing_ok=True)
        options = ["--unixsocket", str(self.valkey_socket), "--unixsocketperm", "700", "--requirepass", PASSWORD]
        options += ["--port", "0", "--save", "", "--dir", str(self.folder)]
        return subprocess.Popen([server_in_wheel(), *options], stdout=subprocess.DEVNULL)

    def _python(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=Path(__file__).parents[2],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def _supervise(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            for program in self.programs:
                program.keep_alive()

    def stop(self) -> None:
        """End everything, by its process id."""
        self._stopping.set()
        self._supervisor.join()
        families = [process for program in self.programs for process in program.family()]
        for process in families:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        _, alive = psutil.wait_procs(families, timeout=5)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=5)


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh, migrated database."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'descent.sqlite3'}"
        migrate(url, folder)
        yield url
        return
    with running_postgresql() as server:
        template = "template_descent"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{template}"')
        migrate(postgresql_url(server, template), folder)
        yield copy_of_postgresql_database(server, template)


@contextmanager
def running_stack(
    folder: Path, kind: str, workers: int = 2, settings: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    with database(kind, folder) as url:
        stack = Stack(folder, url, workers, settings or {})
        try:
            yield stack
        finally:
            stack.stop()
            time.sleep(LOOK_SECONDS)
