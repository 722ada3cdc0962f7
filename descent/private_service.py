"""A service of one's own, for as long as it is needed: `descent up` in a folder, on any free port."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from descent.client import Client
from descent.errors import DescentError
from descent.local.permissions import private_opener
from descent.local.state import State
from descent.local.supervisor import PARENT_WATCH

START_SECONDS = 180.0
STOP_SECONDS = 60.0


@contextmanager
def temporary_folder(purpose: str, console: Console, *, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"descent-{purpose}-"))
    try:
        yield folder
    finally:
        if keep:
            console.print(f"Kept in {folder}: `descent up --state {folder}` opens it again.", soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM ends this process as Ctrl-C does, cleanups included."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the end of the block.

    Raises:
        KeyboardInterrupt: at the end, if one of them arrived.

    """
    received: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt


@contextmanager
def private_service(folder: Path, console: Console) -> Iterator[Client]:
    """Run `descent up` in a folder, on any free port, for as long as the block lasts.

    Raises:
        DescentError: if it does not start; the message carries what it said.

    """
    said = State.at(folder).startup_log
    command = [sys.executable, "-m", "descent", "up", "--state", str(folder), "--port", "0", "--quiet"]
    service: subprocess.Popen[bytes] | None = None
    try:
        # An interrupt while the process starts would leave one that nothing here knows.
        with open(said, "w", opener=private_opener) as output, uninterrupted():
            # The service ends with this process. In a session of its own, it does not receive Ctrl-C.
            service = subprocess.Popen(  # noqa: S603
                [sys.executable, str(PARENT_WATCH), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=_environment(),
                start_new_session=True,
            )
        with console.status("Starting a service of its own …"):
            url = _url(service, State.at(folder), said)
        with Client(url, key=State.at(folder).key) as client:
            yield client
    finally:
        if service is not None:
            with console.status("Stopping the service …"):
                _stop(service)


def _environment() -> dict[str, str]:
    # Whoever works with a service of their own must not find a demonstration's jobs in it.
    elsewhere = re.compile(r"DESCENT_\w*(URL|PASSWORD|KEY)")
    return {name: value for name, value in os.environ.items() if not elsewhere.fullmatch(name)}


def _url(service: "subprocess.Popen[bytes]", state: State, said: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and service.poll() is None:
        if url := state.url:
            return url
        time.sleep(0.05)
    raise DescentError(f"The service did not start. It said:\n{said.read_text(errors='replace').strip()}")


def _stop(service: "subprocess.Popen[bytes]") -> None:
    service.terminate()
    try:
        service.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        # A second request makes it hurry.
        service.terminate()
        service.wait(STOP_SECONDS)
