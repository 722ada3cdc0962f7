# Made from descent/asynchronous/content.py: change that file, then `make format`.
"""A file as the body of a request: read a piece at a time, and from its beginning whenever it is sent again."""

from collections.abc import Callable, Iterator
from pathlib import Path

from descent.errors import DescentError

PIECE_BYTES = 256 * 1024

Progress = Callable[[int, int], None]
"""Told how many bytes were sent, and of how many."""


class FileContent:
    """The bytes of a file, counted while they are sent."""

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.size = path.stat().st_size
        self.sent = 0
        self._path = path
        self._progress = progress

    def __iter__(self) -> Iterator[bytes]:
        self._has_sent(0)
        try:
            with self._path.open("rb") as file:
                # The size was announced: what is written to the file from now on does not belong to it.
                while piece := file.read(min(PIECE_BYTES, self.size - self.sent)):
                    yield piece
                    self._has_sent(self.sent + len(piece))
        except OSError as error:
            raise DescentError(f"{self._path} cannot be read: {error.strerror}") from error
        if self.sent < self.size:
            raise DescentError(f"{self._path} became shorter while it was sent")

    def _has_sent(self, count: int) -> None:
        self.sent = count
        if self._progress:
            self._progress(count, self.size)
