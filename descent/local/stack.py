"""The whole service on one machine: a private Redis-protocol server, the API, and a worker."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from descent.client import Client
from descent.errors import DescentError
from descent.local import redis_server
from descent.local.credentials import ADMIN_KEY, without_settings
from descent.local.environment import BROKER, METRICS, environment, free_port, is_free, listens
from descent.local.log import FileLog, TerminalLog
from descent.local.permissions import private_umask
from descent.local.state import DEFAULT_FOLDER, HOST, State
from descent.local.supervisor import Supervisor

START_SECONDS = 120.0
LEFTOVERS_SECONDS = 30.0
LOOK_SECONDS = 0.2
_API = "-m api"
_WORKER = "-m celery --quiet -A worker.tasks worker --pool prefork --loglevel WARNING"
_PREDICTOR = "-m celery --quiet -A worker.predicting worker --pool prefork --loglevel WARNING"


@dataclass(frozen=True)
class Options:
    """What a user can choose."""

    state: Path
    port: int
    """0 takes any free one."""
    processes: int
    threads: int | None
    """None leaves it to DESCENT_WORKER_THREADS, or else to the worker."""
    quiet: bool = False


class _AskedToStop(Exception):
    """A signal came before everything had started."""


class _Flag:
    """A flag that a signal handler can set at any time.

    `threading.Event` would deadlock where the signal arrives inside of its `wait`: its lock is not reentrant.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait that long, and return whether the flag is set."""
        time.sleep(seconds)
        return self._is_set


class Stack:
    """One life of the service, from its folder to a clean end."""

    def __init__(self, options: Options, console: Console, announce: Callable[[dict[str, Any]], None] | None) -> None:
        self._options = options
        self._console = console
        self._announce = announce
        self._state = State.at(options.state)
        self._log = FileLog(self._state.log) if options.quiet else TerminalLog(console)
        self._stopping = _Flag()
        self._supervisor = Supervisor(self._state.folder, self._log)
        self._environment: dict[str, str] = {}
        self._key = ""

    def run(self) -> None:
        """Run until a signal asks to stop.

        Raises:
            DescentError: if it cannot start, or something in it dies again and again.

        """
        with self._heeding_signals():
            try:
                url = self._start()
                self._state.announce(url)
                self._greet(url)
                self._log.release()
                while not self._stopping.wait(LOOK_SECONDS):
                    self._supervisor.look()
                self._say("\nStopping: runs in training are given back first. Ctrl-C again stops at once.")
            except _AskedToStop:
                pass
            finally:
                self._state.withdraw()
                self._supervisor.stop()
                self._log.close()
        self._say("Stopped. Nothing is lost: the next `descent up` goes on from here.")

    def _start(self) -> str:
        """Start all of it, each on what it stands on, and return the address at which it answers."""
        self._wait_for_leftovers()
        port = free_port(self._options.port)
        self._start_server()
        settings = self._environment
        self._supervisor.run("migrations", _python("-m migrations"), settings)
        self._supervisor.start("api", _python(_API, "--host", HOST, "--port", port), {**settings, ADMIN_KEY: self._key})
        self._supervisor.start("worker", _python(_WORKER, "--concurrency", self._options.processes), settings)
        self._supervisor.start("predictor", _python(_PREDICTOR, "--concurrency", 1), settings)
        url = f"http://{HOST}:{port}"
        with Client(url, key=self._key, patience_seconds=0) as client:
            self._wait_until(lambda: _is_ready(client), "The API")
            self._wait_until(lambda: bool(client.workers()), "The worker")
        return url

    def _start_server(self) -> None:
        """Choose the programs' environment; where it names no Redis, start one."""
        needed = BROKER not in os.environ or METRICS not in os.environ
        server = redis_server.find_server() if needed else None
        password = redis_server.configure(self._state) if needed else ""
        chosen = {"DESCENT_WORKER_THREADS": str(self._options.threads)} if self._options.threads else {}
        self._key = os.environ.get(ADMIN_KEY) or self._state.make_key()
        self._environment = environment(self._state, password, {**os.environ, **chosen})
        if server is not None:
            command = [str(server), str(redis_server.configuration_file(self._state))]
            self._supervisor.start("redis", command, without_settings(self._environment))
            self._wait_until(lambda: listens(self._state.socket), "The Redis-protocol server")

    def _wait_for_leftovers(self) -> None:
        """A stack that was killed leaves its programs to end by themselves; let them."""
        if self._state.url is None and not listens(self._state.socket):
            return
        deadline = time.monotonic() + LEFTOVERS_SECONDS
        while listens(self._state.socket) or not is_free(self._options.port):
            if self._stopping.wait(LOOK_SECONDS):
                raise _AskedToStop
            if time.monotonic() > deadline:
                break
        if listens(self._state.socket):
            raise DescentError(f"A server of an earlier start still listens on {self._state.socket}: end it first.")
        self._state.withdraw()

    def _wait_until(self, holds: Callable[[], bool], who: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            # Ours must run before anything else counts: a stranger may answer in its place.
            self._supervisor.demand_all()
            if holds():
                return
            if time.monotonic() > deadline:
                raise DescentError(f"{who} did not answer within {START_SECONDS:.0f} s.")
            if self._stopping.wait(0.05):
                raise _AskedToStop

    @contextmanager
    def _heeding_signals(self) -> Iterator[None]:
        def heed(_number: int, _frame: FrameType | None) -> None:
            self._supervisor.in_a_hurry = self._stopping.is_set()
            self._stopping.set()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, heed) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _greet(self, url: str) -> None:
        is_own = self._key == self._state.key
        if self._announce is not None:
            key_file = str(self._state.key_file) if is_own else None
            about = {"url": url, "state": str(self._state.folder), "key_file": key_file, "process_id": os.getpid()}
            self._announce(about)
        options = self._options
        threads = int(self._environment.get("DESCENT_WORKER_THREADS", 0)) or 1
        elsewhere = options.state != DEFAULT_FOLDER
        # Output that is redirected ends in a file or a log. FORCE_COLOR makes rich take any output for a terminal.
        shows_key = is_own and self._console.file.isatty()
        self._say(
            f"\n[bold green]Descent is ready[/] at [bold]{url}[/]\n\n"
            f"  Dashboard      {url}/{f'#key={self._key}' if shows_key else ''}\n"
            f"  Documentation  {url}/docs\n"
            f"  Key            {self._state.key_file if is_own else 'that of DESCENT_ADMIN_KEY'}\n"
            f"  Worker         {_count(options.processes, 'process', 'es')} × {_count(threads, 'thread', 's')}\n"
            f"  State          {self._state.folder}\n"
            + (f"  Log            {self._state.log}\n" if options.quiet else "")
            + "\n  In another terminal:\n"
            + (f"    export DESCENT_URL={url}\n" if elsewhere else "")
            + ("    export DESCENT_KEY=$DESCENT_ADMIN_KEY\n" if not is_own else "")
            + (f'    export DESCENT_KEY="$(cat {self._state.key_file})"\n' if is_own and elsewhere else "")
            + "    descent submit spec.yaml --watch\n"
            "    descent jobs\n\n"
            "  Ctrl-C stops all of it.\n"
        )

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


def run_stack(options: Options, console: Console, announce: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Run the service in its folder, alone; call `announce` with its address once it is ready.

    Raises:
        DescentError: if one runs there already, or it cannot start, or something in it dies again and again.

    """
    state = State.at(options.state)
    state.prepare()
    if not state.is_private:
        console.print(
            f"Warning: other users may read {state.folder}: its file system has no permissions.",
            style="yellow",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    with private_umask(), state.alone():
        Stack(options, console, announce).run()


def _python(arguments: str, *more: str | int) -> list[str]:
    # Celery warns root of pickled messages; ours are JSON, and nothing else is taken.
    return [sys.executable, "-W", "ignore:You're running the worker", *arguments.split(), *map(str, more)]


def _is_ready(client: Client) -> bool:
    try:
        return client.readiness().ready
    except DescentError:
        return False


def _count(number: int, what: str, plural: str) -> str:
    return f"{number} {what}{'' if number == 1 else plural}"
