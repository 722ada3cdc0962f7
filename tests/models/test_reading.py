"""How the effort of reading a data set grows with its columns."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from models.reading import Misreading, read, warnings
from models.spec.evaluation import Holdout
from models.spec.uploads import Uploaded
from models.stored import Column, Description, Gap

REPEATS = 5

Read = Callable[[Description], object]


class CountedName(str):
    """A column's name that counts how often it is compared and hashed."""

    __slots__ = ()
    operations = 0

    def __eq__(self, other: object) -> bool:
        CountedName.operations += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        CountedName.operations += 1
        return str.__hash__(self)


def table(columns: int) -> Description:
    """A table of which every second column has an empty cell, in many patterns, and every tenth is text."""
    return Description.model_construct(
        format="csv",
        layout="table",
        rows=10_000,
        columns=tuple(
            Column(
                name=CountedName(f"column {place}"),
                type="text" if place % 10 == 3 else "number",
                missing=place % 2,
                distinct=5_000,
            )
            for place in range(columns)
        ),
        gaps=tuple(Gap(columns=(place,), rows=1) for place in range(1, columns, columns // 50)),
        grid=(),
    )


def read_all(description: Description) -> None:
    dataset = Uploaded(id="wide", missing="drop", target="column 0")
    list(warnings(read(description, dataset, Holdout())))


def read_named(description: Description) -> None:
    names = tuple(column.name for column in description.columns[1:] if column.type != "text")
    dataset = Uploaded(id="wide", missing="impute", target="column 0", features=names)
    list(warnings(read(description, dataset, Holdout())))


def refuse_a_double(description: Description) -> None:
    names = tuple(column.name for column in description.columns[1:] if column.type != "text")
    dataset = Uploaded(id="wide", target="column 0", features=(*names, names[-1]))
    with pytest.raises(Misreading, match="stands twice"):
        read(description, dataset, Holdout())


READS: list[Read] = [read_all, read_named, refuse_a_double]


@pytest.mark.parametrize("reading", READS)
def test_names_are_compared_in_proportion_to_the_columns(reading: Read) -> None:
    counts = []
    for columns in (1_000, 2_000):
        description = table(columns)
        CountedName.operations = 0
        reading(description)
        counts.append(CountedName.operations)
    assert counts[1] <= 2.2 * counts[0]


@contextmanager
def without_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("reading", READS)
def test_reading_takes_time_in_proportion_to_the_columns(reading: Read) -> None:
    seconds = []
    for columns in (1_000, 4_000):
        description = table(columns)
        taken = []
        with without_collections():
            for _ in range(REPEATS):
                began = time.thread_time()
                reading(description)
                taken.append(time.thread_time() - began)
        seconds.append(min(taken))
    # Four times as many columns: 4 where it is proportional, 16 where each column is compared with each other.
    assert seconds[1] < 9 * seconds[0]
