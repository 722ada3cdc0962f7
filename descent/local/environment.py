"""The machine of a local stack (cores, ports, sockets), and the environment variables of its programs."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from descent.errors import DescentError
from descent.local import redis_server
from descent.local.credentials import without_keys
from descent.local.state import HOST, State

BROKER = "DESCENT_BROKER_URL"
METRICS = "DESCENT_METRICS_URL"
_SQLITE = "sqlite:///"


def environment(state: State, password: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return the settings by which the programs find each other and share the machine.

    Settings of the user take precedence. Keys are left out: only the API receives the admin key, and only from `Stack`.
    """
    chosen = {
        "DESCENT_DATABASE_URL": f"{_SQLITE}{state.database}",
        "DESCENT_STORAGE_URL": str(state.storage),
        "DESCENT_LOG_FORMAT": "text",
        "PYTHONUNBUFFERED": "1",
        **redis_server.urls(state, password),
    }
    # The programs run in the state folder, where no folder of the user's can be taken for one of Descent's; a relative
    # path was meant from where the user stands.
    return {**chosen, **{name: _from_here(name, value) for name, value in without_keys(given).items()}}


def _from_here(name: str, value: str) -> str:
    if name == "DESCENT_STORAGE_URL" and "://" not in value:
        return os.path.abspath(value)
    if name == "DESCENT_DATABASE_URL" and value.startswith(_SQLITE) and not value.startswith(f"{_SQLITE}:"):
        return _SQLITE + os.path.abspath(value.removeprefix(_SQLITE))
    return value


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the API will: a port whose last user has just gone is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(port: int) -> int:
    """The port itself, or any free one for 0.

    Raises:
        DescentError: if it is taken; the message proposes another one.

    """
    if port == 0:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            return int(probe.getsockname()[1])
    if is_free(port):
        return port
    other = next((p for p in range(port + 1, min(port + 50, 65_536)) if is_free(p)), 0)
    raise DescentError(f"Port {port} is taken by another program. Try `descent up --port {other}`.")


def listens(path: Path) -> bool:
    """Whether somebody accepts connections on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
