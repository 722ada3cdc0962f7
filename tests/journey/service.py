"""The service as an operator runs it: an API process and Celery workers of their own, which tests stop and kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from descent import Client
from descent.local.environment import free_port
from models.answers import Run
from tests.servers import KEY, Valkey

PATIENCE_SECONDS = 60.0
HEARTBEAT_SECONDS = 0.5
LEASE_SECONDS = 3.0


def eventually(holds: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that happens in another process.

    Raises:
        AssertionError: if it does not.

    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)


@dataclass
class Service:
    """One installation."""

    folder: Path
    environment: dict[str, str]
    url: str
    programs: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start_api(self) -> "subprocess.Popen[bytes]":
        port = self.url.rpartition(":")[2]
        api = self._start("api", "-m", "api", "--port", port)
        with Client(self.url, key=KEY, patience_seconds=PATIENCE_SECONDS) as client:
            eventually(lambda: client.health().status == "alive", "the API answers")
        return api

    def start_worker(self) -> "subprocess.Popen[bytes]":
        before = self._workers()
        worker = self._start("worker", "-m", "celery", "--quiet", "-A", "worker.tasks", "worker", "--concurrency", "1")
        eventually(lambda: bool(self._workers() - before), "a training process arrives")
        return worker

    def start_predictor(self) -> "subprocess.Popen[bytes]":
        """One that answers requests for predictions; it says nothing of itself, so whoever asks has to be patient."""
        return self._start("predictor", "-m", "celery", "--quiet", "-A", "worker.predicting", "worker", "-c", "1")

    def _workers(self) -> set[str]:
        with Client(self.url, key=KEY, patience_seconds=PATIENCE_SECONDS) as client:
            return {worker.id for worker in client.workers()}

    def _start(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("ab") as log:
            program = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=Path(__file__).parents[2],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.programs.append(program)
        return program

    def stop(self) -> None:
        for program in reversed(self.programs):
            if program.poll() is None:
                program.terminate()
        for program in self.programs:
            try:
                program.wait(timeout=PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                kill(program)


@contextmanager
def running_service(
    folder: Path, database_url: str, valkey: Valkey, settings: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """An installation with an API, and no worker yet; `settings` are environment variables of its own."""
    service = Service(
        folder,
        {
            **{name: value for name, value in os.environ.items() if not name.startswith("DESCENT_")},
            "DESCENT_DATABASE_URL": database_url,
            "DESCENT_BROKER_URL": valkey.broker_url(),
            "DESCENT_METRICS_URL": valkey.metrics_url(),
            "DESCENT_STORAGE_URL": str(folder / "storage"),
            "DESCENT_ADMIN_KEY": KEY,
            # Compiled programs, which the installations of one session may share.
            "XDG_CACHE_HOME": str(folder.parent / "cache"),
            "DESCENT_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "DESCENT_LEASE_SECONDS": str(LEASE_SECONDS),
            "DESCENT_WORKER_DEVICE": "cpu",
            # Two threads that wait for each other at every product crawl where something else takes a core.
            "DESCENT_WORKER_THREADS": "1",
            **(settings or {}),
        },
        f"http://127.0.0.1:{free_port(0)}",
    )
    try:
        service.start_api()
        yield service
    finally:
        service.stop()


def kill(program: "subprocess.Popen[bytes]") -> None:
    """SIGKILL a program and every process that it made: what a power failure leaves of it."""
    processes = [*psutil.Process(program.pid).children(recursive=True), psutil.Process(program.pid)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    program.wait()
    psutil.wait_procs(processes)


def train_on(client: Client, run: Run, step: int) -> None:
    """Wait until a run has trained past a step, by its live metrics: SQL hears of it two seconds later."""

    def is_past() -> bool:
        series = client.history(run, ["train_loss"]).series.get("train_loss")
        return bool(series and series.step and series.step[-1] > step)

    eventually(is_past, f"{run.id} trains past step {step}")
