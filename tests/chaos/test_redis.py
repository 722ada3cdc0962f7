"""Redis goes away, stands still, or forgets everything: not one step is trained twice, and jobs are accepted."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from descent import Client
from tests.chaos.conftest import SPEC, StartStack
from tests.chaos.load import Members
from tests.chaos.scenes import demand_whole, in_training
from tests.chaos.stack import Stack
from tests.journey.service import eventually
from tests.servers import PASSWORD

AWAY_SECONDS = 3.0
CONSUMING_SECONDS = 30.0

pytestmark = pytest.mark.chaos


@contextmanager
def killed(stack: Stack) -> Iterator[None]:
    with stack.redis.staying_away():
        stack.redis.send(signal.SIGKILL)
        yield


@contextmanager
def stopped(stack: Stack) -> Iterator[None]:
    stack.redis.send(signal.SIGSTOP)
    try:
        yield
    finally:
        stack.redis.send(signal.SIGCONT)


@contextmanager
def emptied(stack: Stack) -> Iterator[None]:
    with redis.Redis.from_url(stack.metrics_url) as server:
        server.flushall()
    yield


@pytest.mark.parametrize("outage", [killed, stopped, emptied])
def test_training_goes_on_without_redis(
    stack: Stack, client: Client, peaceful: Members, outage: Callable[[Stack], AbstractContextManager[None]]
) -> None:
    job = in_training(client)
    with outage(stack):
        accepted = client.submit(SPEC)
        time.sleep(AWAY_SECONDS)
    assert demand_whole(stack, client, job, peaceful).attempt == 1, "not a step was lost"
    demand_whole(stack, client, accepted, peaceful)


class Tap:
    """Stands between a broker and those who talk to it, and can fall silent without hanging up."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._silenced = threading.Event()
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def swallow(self) -> None:
        """From now on, whatever comes by the connections that there are goes nowhere; new ones work."""
        self._silenced.set()
        self._silenced = threading.Event()

    def close(self) -> None:
        self._listener.close()
        for one in self._kept:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self._kept += [near, far]
            try:
                far.connect(str(self._target))
            except OSError:
                near.close()
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink, self._silenced), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, silenced: threading.Event) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            if not silenced.is_set():
                sink.sendall(content)
        if not silenced.is_set():
            sink.shutdown(socket.SHUT_WR)


def test_workers_hear_again_after_their_connections_fell_silent(
    fresh_stack: StartStack, tmp_path: Path, peaceful: Members
) -> None:
    tap = Tap(tmp_path / "valkey.sock")
    stack = fresh_stack(settings={"DESCENT_BROKER_URL": f"redis://:{PASSWORD}@127.0.0.1:{tap.port}/0"})
    try:
        with Client(stack.url, patience_seconds=60) as client:
            demand_whole(stack, client, client.submit(SPEC), peaceful)
            tap.swallow()
            job = client.submit(SPEC)
            eventually(lambda: client.job(job).status != "queued", "it is consumed", seconds=CONSUMING_SECONDS)
            demand_whole(stack, client, job, peaceful)
    finally:
        stack.stop()
        tap.close()
