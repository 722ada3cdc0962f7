"""A whole installation whose parts can be killed, stopped and cut off, and are started again as an operator would."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import psycopg

from descent.local.environment import free_port
from tests.servers import (
    KEY,
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
START_SECONDS = 60.0

API = ("-m", "uvicorn", "tests.chaos.entry_api:create_app", "--factory", "--log-level", "warning", "--port")
WORKER = ("-m", "celery", "--quiet", "-A", "tests.chaos.entry_worker", "worker", "--concurrency", "1")


class Program:
    """One process, started again whenever it is found dead, unless it is to stay away."""

    def __init__(self, name: str, start: Callable[[], "subprocess.Popen[bytes]"]) -> None:
        self.name = name
        self._start = start
        self._lock = threading.Lock()
        self._stays_away = False
        self.process = start()

    def keep_alive(self) -> None:
        with self._lock:
            if not self._stays_away and self.process.poll() is not None:
                self.process = self._start()

    @contextmanager
    def staying_away(self) -> Iterator[None]:
        """While the block lasts, nobody starts it again."""
        with self._lock:
            self._stays_away = True
        try:
            yield
        finally:
            with self._lock:
                self._stays_away = False

    def family(self) -> list[psutil.Process]:
        """The process and all that it made, itself last."""
        try:
            head = psutil.Process(self.process.pid)
            return [*head.children(recursive=True), head]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        """To all of the family."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def later(self, seconds: float, number: signal.Signals) -> None:
        """Send a signal to all of the family after a while."""
        timer = threading.Timer(seconds, self.send, [number])
        timer.daemon = True
        timer.start()


class Installation:
    """Redis and some workers under one folder, looked after until they are stopped."""

    def __init__(self, folder: Path, redis_options: Sequence[str] = ()) -> None:
        self.folder = folder
        self._redis_options = redis_options
        self.valkey_socket = folder / "valkey.sock"
        self.redis = Program("redis", self._start_redis)
        valkey = Valkey(self.valkey_socket, self.redis.process)
        self.broker_url, self.metrics_url = valkey.broker_url(), valkey.metrics_url()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("DESCENT_")}
        self.workers: list[Program] = []
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()

    @property
    def programs(self) -> list[Program]:
        return [self.redis, *self.workers]

    def _start_redis(self) -> "subprocess.Popen[bytes]":
        self.valkey_socket.unlink(missing_ok=True)
        options = ["--unixsocket", str(self.valkey_socket), "--unixsocketperm", "700", "--requirepass", PASSWORD]
        options += ["--port", "0", "--save", "", "--dir", str(self.folder), *self._redis_options]
        return subprocess.Popen([server_in_wheel(), *options], stdout=subprocess.DEVNULL, start_new_session=True)

    def _python(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=Path(__file__).parents[2],
                env=self.environment,
                stdout=log,
                stderr=log,
                # A Ctrl-C is meant for whoever looks after them.
                start_new_session=True,
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
        for program in self.programs:
            program.process.wait(timeout=5)


class Stack(Installation):
    """Descent: an API and a database, too."""

    def __init__(self, folder: Path, database_url: str, workers: int, settings: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.url = f"http://127.0.0.1:{free_port(0)}"
        self.database_url = database_url
        self.storage = Path(settings.get("DESCENT_STORAGE_URL", folder / "storage"))
        self.environment |= {
            "DESCENT_DATABASE_URL": database_url,
            "DESCENT_BROKER_URL": self.broker_url,
            "DESCENT_METRICS_URL": self.metrics_url,
            "DESCENT_STORAGE_URL": str(self.storage),
            "DESCENT_ADMIN_KEY": KEY,
            "DESCENT_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "DESCENT_LEASE_SECONDS": str(LEASE_SECONDS),
            "DESCENT_CHECKPOINT_SECONDS": "0.5",
            "DESCENT_WORKER_DEVICE": "cpu",
            # One thread: two would wait for each other at every product where something else takes a core.
            "DESCENT_WORKER_THREADS": "1",
            "DESCENT_CHAOS_FOLDER": str(folder),
            "PYTHONWARNINGS": "ignore",
            **settings,
        }
        self.api = Program("api", lambda: self._python("api", *API, self.url.rpartition(":")[2]))
        self.workers = [self._worker() for _ in range(workers)]

    @property
    def programs(self) -> list[Program]:
        api = [self.api] if hasattr(self, "api") else []  # the supervisor looks while it is being started
        return [self.redis, *api, *self.workers]

    def _worker(self) -> Program:
        return Program("worker", lambda: self._python("worker", *WORKER))

    def add_worker(self) -> Program:
        self.workers = [*self.workers, self._worker()]
        return self.workers[-1]

    def wait_for_api(self) -> None:
        """Wait until it answers.

        Raises:
            AssertionError: if it does not.

        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx2.get(f"{self.url}/healthz", trust_env=False, timeout=2).is_success:
                    return
            except httpx2.TransportError:
                pass
            assert time.monotonic() < deadline, "the API does not answer"
            time.sleep(0.05)


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
def running_on(url: str, folder: Path, workers: int = 2, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack on a database that is there already; it answers."""
    stack = Stack(folder, url, workers, settings or {})
    try:
        stack.wait_for_api()
        yield stack
    finally:
        stack.stop()


@contextmanager
def running_stack(
    folder: Path, kind: str, workers: int = 2, settings: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """A stack with a database of its own."""
    with database(kind, folder) as url, running_on(url, folder, workers, settings) as stack:
        yield stack
