"""Files by URL: a folder on one host, an object store for many (fsspec)."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import IO, Any

import fsspec

PARTIAL = ".part"
"""Ends the name of a file that is not whole yet."""


class StorageFailed(OSError):
    """An object store refused, or did not answer: in its own words."""


@dataclass(frozen=True)
class StoredFile:
    """What lies under a key."""

    key: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970."""


class Storage:
    """Keys are relative paths that Descent makes itself; no user's text ever becomes part of one."""

    def __init__(self, url: str) -> None:
        self._is_folder = "://" not in url or url.startswith(("file://", "local://"))
        self._files, self._root = fsspec.url_to_fs(url, **({"auto_mkdir": True} if self._is_folder else {}))

    def write(self, key: str, content: bytes) -> None:
        """Store the bytes under the key: all of them, and for good, or nothing.

        Raises:
            OSError: if storage does not take them.

        """
        if self._is_folder:
            with _whole_file(Path(self._path(key))) as partial:
                partial.write_bytes(content)
            return
        with _as_os_error(), self._files.open(self._path(key), "wb") as file:
            file.write(content)

    def put(self, key: str, path: Path) -> None:
        """Store a file under the key: all of it, and for good, or nothing.

        Raises:
            OSError: if storage does not take it.

        """
        if self._is_folder:
            with _whole_file(Path(self._path(key))) as partial:
                shutil.copyfile(path, partial)
            return
        with _as_os_error():
            self._files.put_file(str(path), self._path(key))

    def open(self, key: str) -> IO[bytes]:
        """Open for reading.

        Raises:
            FileNotFoundError: if nothing lies under the key.
            OSError: if storage does not answer.

        """
        with _as_os_error():
            file: IO[bytes] = self._files.open(self._path(key), "rb")
        return file

    def folder(self, key: str) -> Path | None:
        """Where files under this key lie, if storage is a folder of this machine: they need no copy."""
        return Path(self._path(key)) if self._is_folder else None

    def get(self, key: str, path: Path) -> None:
        """Copy to a file of this machine.

        Raises:
            FileNotFoundError: if nothing lies under the key.
            OSError: if storage does not answer.

        """
        with _as_os_error():
            self._files.get_file(self._path(key), str(path))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove what lies under the keys; a key that is gone already is fine.

        Raises:
            OSError: if storage does not answer.

        """
        for key in keys:
            with suppress(FileNotFoundError), _as_os_error():
                self._files.rm_file(self._path(key))

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """The files under a prefix, in no order; none if there is nothing.

        Raises:
            OSError: if storage does not answer.

        """
        with _as_os_error():
            found: dict[str, dict[str, Any]] = self._files.find(self._path(prefix), detail=True)
        for path, facts in found.items():
            changed = facts.get("LastModified", facts.get("mtime"))
            moment = changed.timestamp() if isinstance(changed, datetime) else float(changed or 0.0)
            yield StoredFile(path.removeprefix(f"{self._root}/"), int(facts["size"]), moment)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Object stores raise whatever their libraries do; whoever uses storage need know OSError alone."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise StorageFailed(f"{type(error).__name__}: {error}") from error


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A name beside the path to write under. It becomes the path once all of it is on disk; else nothing is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside it: from another filesystem it would be copied, and a copy can stop half way.
    partial = path.with_name(f"{path.name}.{token_hex(4)}{PARTIAL}")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
