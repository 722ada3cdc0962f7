"""Files by URL: a folder on one host, an object store for many (fsspec)."""

import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import IO, Any, cast

import fsspec
from fsspec.asyn import sync

PARTIAL = ".part"
"""Ends the name of a file that is not whole yet."""

SILENT_SECONDS = 8.0
"""For so long may an object store say nothing. Whoever can wait for longer asks again."""
SLOWEST_BYTES_A_SECOND = 1024**2
"""At which an object store takes a file, or else is taken for away."""

_IN_TWO_TRIES = {"connect_timeout": 3, "read_timeout": SILENT_SECONDS / 2, "retries": {"total_max_attempts": 1}}
_OF_S3 = {"config_kwargs": _IN_TWO_TRIES, "use_listings_cache": False}


class StorageFailed(OSError):
    """Storage refused, or did not answer: in its own words."""


class NotStored(FileNotFoundError):
    """Nothing lies under a key."""


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
        of_s3 = _OF_S3 if url.startswith(("s3://", "s3a://")) else {}
        self._files, self._root = fsspec.url_to_fs(url, **({"auto_mkdir": True} if self._is_folder else of_s3))
        if of_s3:
            self._files.retries = 2

    def write(self, key: str, content: bytes) -> None:
        """Store the bytes under the key: all of them, and for good, or nothing.

        Raises:
            OSError: if storage does not take them.

        """
        if self._is_folder:
            with _whole_file(Path(self._path(key))) as partial:
                partial.write_bytes(content)
            return
        self._send("pipe_file", self._path(key), content, size=len(content))

    def put(self, key: str, path: Path) -> None:
        """Store a file under the key: all of it, and for good, or nothing.

        Raises:
            OSError: if storage does not take it.

        """
        if self._is_folder:
            with _whole_file(Path(self._path(key))) as partial:
                shutil.copyfile(path, partial)
            return
        self._send("put_file", str(path), self._path(key), size=path.stat().st_size)

    def open(self, key: str) -> IO[bytes]:
        """Open for reading.

        Raises:
            NotStored: if nothing lies under the key.
            OSError: if storage does not answer; reading raises it, too.

        """
        with self._as_os_error():
            file: IO[bytes] = self._files.open(self._path(key), "rb")
        return file if self._is_folder else cast(IO[bytes], io.BufferedReader(_Reading(file, self._as_os_error)))

    def folder(self, key: str) -> Path | None:
        """Where files under this key lie, if storage is a folder of this machine: they need no copy."""
        return Path(self._path(key)) if self._is_folder else None

    def get(self, key: str, path: Path) -> None:
        """Copy to a file of this machine.

        Raises:
            NotStored: if nothing lies under the key.
            OSError: if storage does not answer.

        """
        with self._as_os_error():
            self._files.get_file(self._path(key), str(path))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove what lies under the keys; a key that is gone already is fine.

        Raises:
            OSError: if storage does not answer.

        """
        for key in keys:
            with suppress(FileNotFoundError):
                self._send("rm_file", self._path(key))

    def find(self, key: str) -> StoredFile | None:
        """What lies under a key.

        Raises:
            OSError: if storage does not answer.

        """
        return next((file for file in self.list(key) if file.key == key), None)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """The files in a folder of keys and in the folders in it, in no order; none if there is nothing.

        Raises:
            OSError: if storage does not answer.

        """
        if self._is_folder:
            for path, facts in _files_in(self._path(prefix)):
                yield StoredFile(path.removeprefix(f"{self._root}/"), facts.st_size, facts.st_mtime)
            return
        with self._as_os_error():
            found: dict[str, dict[str, Any]] = self._files.find(self._path(prefix), detail=True)
        for path, told in found.items():
            key = path.removeprefix(f"{self._root}/")
            yield StoredFile(key, int(told["size"]), _moment(told))

    def _send(self, operation: str, *arguments: Any, size: int = 0) -> None:
        """Have it done in time: a client waits for ever to hear that a store is ready to take what it sends."""
        with self._as_os_error():
            if not self._files.async_impl:
                getattr(self._files, operation)(*arguments)
                return
            seconds = SILENT_SECONDS + size / SLOWEST_BYTES_A_SECOND
            sync(self._files.loop, getattr(self._files, f"_{operation}"), *arguments, timeout=seconds)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """Object stores raise whatever their libraries do; whoever uses storage need know OSError alone."""
        try:
            yield
        except FileNotFoundError as error:
            if self._is_folder and not Path(self._root).is_dir():
                raise StorageFailed(f"there is no folder {self._root}") from error
            raise NotStored(*error.args) from error
        except OSError:
            raise
        except Exception as error:
            raise StorageFailed(f"{type(error).__name__}: {error}") from error


class _Reading(io.RawIOBase):
    """A file of an object store, which may fail at any byte."""

    def __init__(self, file: IO[bytes], as_os_error: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self._file = file
        self._as_os_error = as_os_error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._as_os_error():
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def readall(self) -> bytes:
        with self._as_os_error():
            return self._file.read()

    def close(self) -> None:
        self._file.close()
        super().close()


def _moment(told: dict[str, Any]) -> float:
    """When an object was written, in whatever words its store has for it."""
    changed = next((told[name] for name in ("LastModified", "mtime", "created") if name in told), 0.0)
    return changed.timestamp() if isinstance(changed, datetime) else float(changed)


def _files_in(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """The files below a path, which may itself be one; what goes away meanwhile is not there."""
    try:
        if os.path.isfile(folder):
            yield folder, os.stat(folder)
            return
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_in(entry.path)
            continue
        with suppress(FileNotFoundError):
            yield entry.path, entry.stat()


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A name beside the path to write under. It becomes the path once all of it is on disk; else nothing is left."""
    _make(path.parent)
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


def _make(folder: Path) -> None:
    """A folder that is there for good, with those around it."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
