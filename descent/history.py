"""A run's metrics as they arrive, and the history that they add up to."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from descent.errors import DescentError
from models.answers import Columns, MetricsPage

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import polars
    from numpy.typing import NDArray

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

    def to_numpy(self) -> "dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]":
        """Steps and values of each metric; NaN where a value was NaN or infinite.

        Raises:
            DescentError: if numpy is not installed.

        """
        numpy = _needed("numpy")
        return {
            name: (numpy.array(one.step, numpy.int64), numpy.array(one.value, numpy.float64))
            for name, one in self.series.items()
        }

    def to_pandas(self) -> "pandas.DataFrame":
        """A row for each step, a column for each metric; NaN where a metric was not recorded.

        Raises:
            DescentError: if pandas is not installed.

        """
        library = _needed("pandas")
        columns = [library.Series(values, steps, name=name) for name, (steps, values) in self.to_numpy().items()]
        table: pandas.DataFrame = library.concat(columns, axis=1).sort_index() if columns else library.DataFrame()
        return table.rename_axis(index="step")

    def to_polars(self) -> "polars.DataFrame":
        """A row for each step, with a column `step` and one for each metric; null where one was not recorded.

        Raises:
            DescentError: if polars is not installed.

        """
        library = _needed("polars")
        steps = sorted({step for one in self.series.values() for step in one.step})
        columns: dict[str, list[float | None]] = {}
        for name, one in self.series.items():
            values = dict(zip(one.step, one.value, strict=True))
            columns[name] = [values.get(step) for step in steps]
        schema = {"step": library.Int64} | dict.fromkeys(columns, library.Float64)
        table: polars.DataFrame = library.DataFrame({"step": steps, **columns}, schema=schema)
        return table


def _needed(package: str) -> Any:
    """A library that only some need."""
    try:
        return import_module(package)
    except ModuleNotFoundError:
        raise DescentError(f"This takes {package}: `pip install {package}`.") from None


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
