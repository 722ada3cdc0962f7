"""`descent` without its second of imports: one process has them, and every call is a fork of it.

What runs is the command line itself, in a process of its own, with the folder, the environment and the channels of
whoever typed it.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.pages import REPOSITORY

START_SECONDS = 30.0
_LENGTH_BYTES = 8
_CHANNELS = 3

# It has no imports but the standard library's, and no site: it starts in some ten milliseconds.
_CALLER = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(asked).to_bytes({length}, "big")], [0, 1, 2])
    server.sendall(asked)
    sys.exit(int(server.makefile().read() or 1))
"""


@contextmanager
def forking_descent(folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Start the process that forks; yields the program that stands for `descent` meanwhile."""
    address = folder / "forking.sock"
    # Consoles look at their environment when they are made, which is in the process that forks.
    server = subprocess.Popen([sys.executable, "-m", "tests.docs.quick", str(address)], cwd=REPOSITORY, env=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not address.exists():
            assert server.poll() is None, "the process that forks did not start"
            assert time.monotonic() < deadline, "the process that forks did not start in time"
            time.sleep(0.02)
        caller = folder / "descent"
        caller.write_text(_CALLER.format(python=sys.executable, address=str(address), length=_LENGTH_BYTES))
        caller.chmod(caller.stat().st_mode | stat.S_IXUSR)
        yield caller
    finally:
        server.kill()
        server.wait()


def _serve(address: str) -> None:
    from descent.cli import app

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            caller, _ = listener.accept()
            with caller:
                if os.fork() == 0:
                    os._exit(_answer(caller, lambda: app(prog_name="descent")))


def _answer(caller: socket.socket, run: Callable[[], object]) -> int:
    """In the fork: become what was asked for, and tell the exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, channels, _, _ = socket.recv_fds(caller, _LENGTH_BYTES, _CHANNELS)
    with caller.makefile("rb") as rest:
        arguments, folder, environment = json.loads(rest.read(int.from_bytes(length, "big")))
    for number, channel in enumerate(channels):
        os.dup2(channel, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["descent", *arguments]
    status: object = 1
    try:
        run()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    caller.sendall(str(status).encode())
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1])
