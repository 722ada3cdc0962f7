"""A run's metrics as they arrive, and the history that they add up to."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from models.answers import Columns, MetricsPage

LONG_POLL_SECONDS = 15.0


@dataclass
class Series:
    """The points of one metric of one run; a value is None where it was NaN or infinite."""

    step: list[int] = field(default_factory=list)
    value: list[float | None] = field(default_factory=list)

    @property
    def last(self) -> float | None:
        return self.value[-1] if self.value else None

    def extend(self, columns: Columns) -> None:
        self.step += columns.step
        self.value += columns.value

    def roll_back(self, from_step: int) -> None:
        """Forget every point after a step."""
        keep = bisect_right(self.step, from_step)
        del self.step[keep:], self.value[keep:]


@dataclass
class History:
    """All series of a run, by name of the metric."""

    series: dict[str, Series] = field(default_factory=dict)

    def take(self, page: MetricsPage) -> None:
        """Add a page's points, after forgetting those that the page takes back."""
        if page.rollback is not None:
            for series in self.series.values():
                series.roll_back(page.rollback.from_step)
        for name, columns in page.series.items():
            self.series.setdefault(name, Series()).extend(columns)

    def __getitem__(self, name: str) -> Series:
        return self.series[name]


def follow(fetch: Callable[[str, float], MetricsPage]) -> Iterator[MetricsPage]:
    """Yield a run's pages until it has ended. `fetch(after, wait)` asks for what follows a cursor.

    The cursor moves only with a page in hand, so a page that got lost on the way is asked for again and no point comes
    twice. A page without anything new is not handed on.
    """
    after = ""
    while True:
        page = fetch(after, LONG_POLL_SECONDS)
        if page.series or page.rollback or page.is_terminal:
            yield page
        if page.is_terminal:
            return
        after = page.next_after
        time.sleep(page.poll_after_ms / 1000)
