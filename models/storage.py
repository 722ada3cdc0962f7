"""Files by URL: a folder on one host, an object store for many (fsspec)."""

from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import IO

import fsspec


class Storage:
    """Keys are relative paths that Descent makes itself; no user's text ever becomes part of one."""

    def __init__(self, url: str) -> None:
        self._is_folder = "://" not in url or url.startswith(("file://", "local://"))
        self._files, self._root = fsspec.url_to_fs(url, **({"auto_mkdir": True} if self._is_folder else {}))

    def write(self, key: str, content: bytes) -> None:
        """Store the bytes under the key: all of them, or nothing."""
        with self._files.transaction, self._files.open(self._path(key), "wb") as file:
            file.write(content)

    def put(self, key: str, path: Path) -> None:
        """Store a file under the key: all of it, or nothing."""
        if not self._is_folder:
            self._files.put_file(str(path), self._path(key))
            return
        # A copy may stop half way, and two may be under way: a name is given to a whole file only.
        partial = Path(self._path(f"{key}.{token_hex(4)}.part"))
        try:
            self._files.put_file(str(path), str(partial))
            partial.replace(self._path(key))
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def open(self, key: str) -> IO[bytes]:
        """Open for reading.

        Raises:
            FileNotFoundError: if nothing lies under the key.

        """
        file: IO[bytes] = self._files.open(self._path(key), "rb")
        return file

    def folder(self, key: str) -> Path | None:
        """Where files under this key lie, if storage is a folder of this machine: they need no copy."""
        return Path(self._path(key)) if self._is_folder else None

    def get(self, key: str, path: Path) -> None:
        """Copy to a file of this machine.

        Raises:
            FileNotFoundError: if nothing lies under the key.

        """
        self._files.get_file(self._path(key), str(path))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove what lies under the keys; a key that is gone already is fine."""
        for key in keys:
            try:
                self._files.rm_file(self._path(key))
            except FileNotFoundError:
                continue

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"
