"""Where jobs in training are shown: on a terminal, in a notebook, or as lines of a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from math import inf
from typing import Any

from rich.console import Console
from rich.live import Live

from descent.drawing import Seen, draw, headline

Show = Callable[[Seen], None]


def console() -> Console:
    """Where a program shows how far something is: its results have standard output to themselves."""
    return Console(stderr=True)


@contextmanager
def screen(console: Console, line_seconds: float) -> Iterator[Show]:
    """Something to call after each look; lines come once in `line_seconds`, and when a job ends."""
    if console.is_jupyter:
        yield _InNotebook(console)
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield lambda seen: live.update(draw(seen, console), refresh=True)
    else:
        yield _AsLines(console, line_seconds)


class _InNotebook:
    """Bars below a notebook's cell; what is drawn next takes their place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._display: Any = import_module("IPython.display")  # knows no types
        self._place = self._display.DisplayHandle()
        self._is_taken = False

    def __call__(self, seen: Seen) -> None:
        from descent.notebook import as_html

        bars = self._display.HTML(as_html(draw(seen, self._console), self._console.width))
        if self._is_taken:
            self._place.update(bars)
        else:
            self._place.display(bars)
            self._is_taken = True


class _AsLines:
    """A line per job now and then, the last one when the job has ended."""

    def __init__(self, console: Console, line_seconds: float) -> None:
        self._console = console
        self._line_seconds = line_seconds
        self._told = -inf
        self._ended: set[str] = set()

    def __call__(self, seen: Seen) -> None:
        is_time = time.monotonic() - self._told >= self._line_seconds
        for job in seen.jobs:
            if job.id not in self._ended and (is_time or job.is_terminal):
                self._console.print(headline(seen, job), soft_wrap=True)
        if is_time:
            self._told = time.monotonic()
        self._ended |= {job.id for job in seen.jobs if job.is_terminal}
