"""The folder in which a local stack keeps everything that it knows."""

import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

from descent.errors import DescentError
from descent.local.permissions import is_own, is_private, make_private, private_opener

DEFAULT_FOLDER = Path(".descent")
HOST = "127.0.0.1"
"""The address on which a local stack listens."""
_URL = re.compile(rf"http://{re.escape(HOST)}:\d+")
_ENTRIES = (
    "descent.log*",
    "descent.sqlite3*",
    "key",
    "key.new",
    "lock",
    "redis",
    "stack.json",
    "stack.new",
    "storage",
    "up.log",
)
"""Patterns of the names that Descent itself creates in a state folder."""
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
    def startup_log(self) -> Path:
        """The output of a `descent up` that another command started."""
        return self.folder / "up.log"

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
            _replace(self.key_file, secrets.token_urlsafe(32))
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
        """Create the folders, and remove the permissions of other users from them and from the files in them.

        Raises:
            DescentError: if a folder cannot be created, if it or a file in it belongs to another user, or if the state
                folder is open to other users and is not a folder of Descent.

        """
        for folder in (self.folder, self.redis, self.socket.parent):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise DescentError(
                    f"{folder} cannot be created: {error.strerror}. Choose another folder with --state."
                ) from error
            if folder == self.folder:
                self._require_not_shared()
            make_private(folder)
        # Other users have no access to the storage once its folder is closed, and it may hold very many files.
        for path in (*self._entries(), *self.redis.rglob("*")):
            make_private(path)

    @property
    def is_private(self) -> bool:
        """Whether other users are denied access. `prepare()` cannot achieve it on a file system without permissions."""
        return is_private(self.folder)

    def _entries(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if any(fnmatch(path.name, name) for name in _ENTRIES)]

    def _require_not_shared(self) -> None:
        """Raise DescentError if closing the folder could deny other users access to files that they need."""
        if not is_own(self.folder) or is_private(self.folder):
            return
        is_sticky = self.folder.stat().st_mode & stat.S_ISVTX
        if is_sticky or (any(self.folder.iterdir()) and not self._entries()):
            raise DescentError(
                f"{self.folder} is open to other users and is not a state folder of Descent. Choose a folder of its "
                "own with --state, or close this one with `chmod 700`."
            )

    @property
    def _announcement(self) -> Path:
        return self.folder / "stack.json"

    def announce(self, url: str) -> None:
        """Write down where the stack that runs here answers."""
        _replace(self._announcement, json.dumps({"url": url, "process_id": os.getpid()}))

    def withdraw(self) -> None:
        self._announcement.unlink(missing_ok=True)

    @property
    def url(self) -> str | None:
        """Where the stack said that it answers; one that was killed could not take that back.

        The client sends its key to this address. It is ignored in a folder of another user, and where it is not an
        address of this machine: the current folder may come from an archive or a repository.
        """
        try:
            url = str(json.loads(self._announcement.read_text())["url"])
            return url if is_own(self.folder) and _URL.fullmatch(url) else None
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


def _replace(path: Path, text: str) -> None:
    """Replace a file at once by a new one, which only this user can read."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(new, "x", opener=private_opener) as file:
        file.write(text)
    new.replace(path)


def running_url() -> str | None:
    """Where the stack of the current folder answers, if one was started here."""
    return State.at(DEFAULT_FOLDER).url


def key_of(url: str) -> str | None:
    """The key of the stack of the current folder, if that is who answers there: it is no business of others."""
    state = State.at(DEFAULT_FOLDER)
    return state.key if state.url == url.rstrip("/") else None
