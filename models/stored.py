"""What is known of an uploaded data set: written once by who parses it, read by the API and by workers.

Its rows lie in storage as one matrix `rows.npy`, a row of numbers for each row of data, and for a grid (images, series)
its targets beside it as `targets.npy`. A cell of a table is a number, or stands for one: days since 1970 for a date,
0 and 1 for a boolean, the place among the column's values for a category; NaN where it is missing.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

ROWS, TARGETS = "rows.npy", "targets.npy"

EMPTY_CELLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
"""What stands in a text where a cell is empty: in an upload, and in rows to predict."""

ColumnType = Literal["number", "integer", "boolean", "date", "category", "text"]


class Described(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


# The parts of a description are dataclasses: there may be 10,000 columns and 200,000 values, and pydantic's models take
# twice the time and several times the memory.


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a column of few."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    value: str
    count: int
    """Rows that have it."""
    last_sealed: int
    """How many rows a spec has to seal until none of the others has the value: of its rows, the last one's place in
    `sealing_order`, plus 1. So what a network sees of the values of a column can be told without looking at the rows.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table, or the targets of a grid."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    name: str
    type: ColumnType
    missing: int
    """Rows without a value."""
    distinct: int | None = None
    """Different values; None where they were not counted."""
    minimum: float | None = None
    """Of numbers; days since 1970 for dates. None without any, and for categories and text."""
    maximum: float | None = None
    mean: float | None = None
    values: tuple[Value, ...] | None = None
    """Of categories, booleans and integers of few values: sorted, so that a category's number is its place here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Rows that miss the same cells."""

    __pydantic_config__ = ConfigDict(use_attribute_docstrings=True)

    columns: tuple[int, ...]
    """Places of the columns."""
    rows: int


class Description(Described):
    """A parsed data set."""

    format: str
    """csv, tsv, parquet, npy, npz, images, idx or cifar."""
    layout: Literal["table", "grid"]
    rows: int
    columns: tuple[Column, ...]
    """Of a table, those of text among them, whose cells are NaN; of a grid, its target alone."""
    gaps: tuple[Gap, ...] | None = ()
    """None where there are too many different ones to tell."""
    grid: tuple[int, ...] = ()
    """Of a grid: (channels, height, width), or (channels, length)."""
    numbers: Literal["float64", "float32", "uint8"] = "float64"
    """What `rows.npy` holds."""
    known: str | None = None
    """The published data set that this is, byte for byte."""
    sizes: dict[str, int] = {}
    """Bytes of each file in storage."""
    notes: tuple[str, ...] = ()
    """What the parser took for granted."""


class Preview(Described):
    """A look at a parsed data set."""

    columns: list[str]
    rows: list[list[Any]]
    """The first rows: text as it stood there, numbers as numbers, None where a cell is empty."""
    thumbnails: list[dict[str, str]] = []
    """Images: `label`, and `png`, the file in base64."""
