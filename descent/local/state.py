"""The folder in which a local stack keeps everything that it knows."""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from descent.errors import DescentError

DEFAULT_FOLDER = Path(".descent")
HOST = "127.0.0.1"
"""The address on which a local stack listens."""
_LONGEST_SOCKET_PATH = 100
"""Bytes; the kernel's own limit is 108 on Linux and 104 on macOS."""


@dataclass(frozen=True)
class State:
    """Names of the files in a state folder; `folder` is absolute."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> "State":
        return cls(folder.absolute())

    @property
    def database(self) -> Path:
        return self.folder / "descent.sqlite3"

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def log(self) -> Path:
        return self.folder / "descent.log"

    @property
    def key_file(self) -> Path:
        """Holds the key of this stack, for its user alone."""
        return self.folder / "key"

    @property
    def key(self) -> str | None:
        """The key of this stack, once it has one."""
        try:
            return self.key_file.read_text().strip() or None
        except OSError:
            return None

    def make_key(self) -> str:
        """The key of this stack, made when it is asked for first."""
        if self.key is None:
            waiting = self.key_file.with_suffix(".new")
            waiting.unlink(missing_ok=True)
            # Closed to others from its first moment on.
            with open(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
            waiting.replace(self.key_file)
        assert self.key is not None
        return self.key

    @property
    def redis(self) -> Path:
        """Configuration and append-only file of the private server."""
        return self.folder / "redis"

    @property
    def socket(self) -> Path:
        """Where the private server listens: in the folder, or beside it in spirit where that path is too long."""
        near = self.redis / "redis.sock"
        if len(os.fsencode(near)) <= _LONGEST_SOCKET_PATH:
            return near
        name = f"descent-{os.getuid()}-{sha256(os.fsencode(self.folder)).hexdigest()[:12]}"
        return Path(tempfile.gettempdir()) / name / "redis.sock"

    def prepare(self) -> None:
        """Make the folders, closed to other users."""
        for folder in (self.folder, self.redis, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self.socket.parent.stat()
        # Anyone may write to the system's temporary folder, so somebody else may have made ours first.
        if owner.st_uid != os.getuid() or self.socket.parent.is_symlink():
            raise DescentError(f"{self.socket.parent} belongs to somebody else: choose a shorter path with --state")
        self.socket.parent.chmod(0o700)

    @property
    def _announcement(self) -> Path:
        return self.folder / "stack.json"

    def announce(self, url: str) -> None:
        """Write down where the stack that runs here answers."""
        waiting = self._announcement.with_suffix(".new")
        waiting.write_text(json.dumps({"url": url, "process_id": os.getpid()}))
        waiting.replace(self._announcement)

    def withdraw(self) -> None:
        self._announcement.unlink(missing_ok=True)

    @property
    def url(self) -> str | None:
        """Where the stack said that it answers; one that was killed could not take that back."""
        try:
            return str(json.loads(self._announcement.read_text())["url"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder against a second stack. The system lets go of the lock with the process, however it ends.

        Raises:
            DescentError: if a stack runs here already; the message says where it answers.

        """
        # Only a machine that runs the stack has it installed; the client reads this module too.
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.folder / "lock", timeout=0):
                try:
                    yield
                finally:
                    if self.socket.parent != self.redis:
                        shutil.rmtree(self.socket.parent, ignore_errors=True)
        except Timeout:
            where = f"at {self.url}" if self.url else "and is just starting"
            raise DescentError(
                f"Descent runs already for {self.folder}, {where}.\nA second one needs its own --state and --port."
            ) from None


def running_url() -> str | None:
    """Where the stack of the current folder answers, if one was started here."""
    return State.at(DEFAULT_FOLDER).url


def key_of(url: str) -> str | None:
    """The key of the stack of the current folder, if that is who answers there: it is no business of others."""
    state = State.at(DEFAULT_FOLDER)
    return state.key if state.url == url.rstrip("/") else None
