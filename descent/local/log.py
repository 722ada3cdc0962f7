"""What the programs of a stack say: on the terminal, each line with its speaker, or in a file."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Lock

from rich.console import Console
from rich.text import Text

_BYTES_PER_FILE = 10_000_000
_FILES = 2
_COLOURS = {"descent": "bold", "api": "cyan", "worker": "green", "redis": "", "migrations": "yellow"}
_NOT_SHOWN = frozenset({"redis"})
"""Its advice on kernel settings is meant for servers that hold gigabytes; when it fails, the error has its words."""
_WIDTH = max(map(len, _COLOURS))


class TerminalLog:
    """Holds its tongue until `release()`, so that the first thing a user reads is that all is well."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._held: list[tuple[str, str]] | None = []
        self._lock = Lock()

    def __call__(self, name: str, line: str) -> None:
        if name in _NOT_SHOWN:
            return
        with self._lock:
            if self._held is None:
                self._print(name, line)
            else:
                self._held.append((name, line))

    def release(self) -> None:
        with self._lock:
            for name, line in self._held or ():
                self._print(name, line)
            self._held = None

    def close(self) -> None:
        """Say what was held back no more: whoever fails has its last lines in the error."""
        self._held = None

    def _print(self, name: str, line: str) -> None:
        speaker = Text(f"{name:<{_WIDTH}} │ ", style=_COLOURS.get(name, ""))
        self._console.print(speaker + Text.from_ansi(line), soft_wrap=True, highlight=False)


class FileLog:
    """Writes with time and speaker; a long life takes at most three files."""

    def __init__(self, path: Path) -> None:
        self._handler = RotatingFileHandler(path, maxBytes=_BYTES_PER_FILE, backupCount=_FILES, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter(f"%(asctime)s %(name)-{_WIDTH}s │ %(message)s"))

    def __call__(self, name: str, line: str) -> None:
        record = logging.LogRecord(name, logging.INFO, "", 0, "%s", (line,), None)
        self._handler.handle(record)

    def release(self) -> None:
        """Nothing is held back from a file."""

    def close(self) -> None:
        self._handler.close()
