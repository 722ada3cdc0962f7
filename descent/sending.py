"""What there is to see of an upload: how far it is, and then that the service reads it."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.status import Status


class SendingDisplay:
    """A bar on a terminal, and nothing elsewhere; call it with the bytes that were sent, and of how many."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: Progress | Status | None = None

    def __enter__(self) -> Self:
        self._wait("Preparing …")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show(None)

    def __call__(self, sent: int, size: int) -> None:
        if not self._console.is_terminal:
            return
        if sent == size:
            self._wait("Reading …")
            return
        if not isinstance(self._shown, Progress):
            columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            bar = Progress(
                TextColumn("Sending"), BarColumn(), *columns, console=self._console, transient=True, expand=False
            )
            bar.add_task("", total=size)
            self._show(bar)
        assert isinstance(self._shown, Progress)
        self._shown.update(self._shown.task_ids[0], completed=sent)

    def _wait(self, words: str) -> None:
        if self._console.is_terminal:
            self._show(self._console.status(words))

    def _show(self, what: Progress | Status | None) -> None:
        if self._shown is not None:
            self._shown.stop()
        self._shown = what
        if what is not None:
            what.start()
