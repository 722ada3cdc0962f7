"""The history that a run's metrics add up to."""

from bisect import bisect_right
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
