"""A data set as a reader of a terminal wants it: its columns, its classes, its first rows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from models.answers import Dataset, DatasetPreview, DatasetSummary, ReadColumn, ReadDataset
from models.stored import Column, Value

MOST_COLUMNS = 40
MOST_CLASSES = 20
MOST_ROWS = 10
_SHOWN_VALUES = 4
_LISTED = 8
_MOST_NUMBERS = 20
"""Of more, none of the whole numbers is frequent enough to be told."""
_WIDEST_CELL = 24
_WIDEST_NAME = 36
_GAP = 2
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def headline(dataset: DatasetSummary) -> Text:
    """What it is called and how much it is."""
    facts = f"  {dataset.rows:,} rows, {dataset.format}, {decimal(dataset.size)}"
    if isinstance(dataset, Dataset):
        facts = f"  {dataset.rows:,} rows, {extent(dataset)}; {dataset.format}, {decimal(dataset.size)}"
    return Text.assemble((dataset.name, "bold"), facts)


def extent(dataset: Dataset) -> str:
    """How large each row is."""
    if dataset.layout == "table":
        return f"{len(dataset.columns):,} columns"
    channels, *lengths = dataset.grid
    size = " × ".join(f"{length:,}" for length in lengths)
    if len(lengths) == 1:
        return f"series of {size} steps" + (f" in {channels:,} channels" if channels > 1 else "")
    kind = {1: "gray images", 3: "colour images"}.get(channels, f"images in {channels:,} channels")
    return f"{kind} of {size} pixels"


def listed(datasets: Sequence[DatasetSummary]) -> Table:
    """One row per data set."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("data set", no_wrap=True, overflow="ellipsis", max_width=_WIDEST_NAME)
    for heading in ("format", "rows", "size", "uploaded"):
        right = heading in ("rows", "size")
        table.add_column(heading, no_wrap=True, justify="right" if right else "left", overflow="ellipsis")
    # An id gives way first where the terminal is narrow; --json has it in full.
    table.add_column("id", overflow="ellipsis")
    for dataset in datasets:
        is_named = dataset.name != dataset.id
        table.add_row(
            Text(dataset.name if is_named else "", style="bold"),
            Text(f"{dataset.format} ({dataset.known})" if dataset.known else dataset.format),
            f"{dataset.rows:,}",
            decimal(dataset.size),
            f"{dataset.created_at.astimezone():%m-%d %H:%M}",
            dataset.id,
        )
    return table


def contents(dataset: Dataset) -> RenderableType:
    """The columns of a table, or how many images each class has."""
    parts: list[RenderableType] = [Text(note, style="yellow") for note in dataset.notes]
    if parts:
        parts.append(Text())
    if dataset.layout == "table":
        parts.append(_columns(dataset.columns))
    elif dataset.columns:
        parts.append(_classes(dataset.columns[0]))
    return Group(*parts)


def _columns(columns: Sequence[Column]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("column", no_wrap=True, overflow="ellipsis", max_width=_WIDEST_CELL)
    table.add_column("type", no_wrap=True)
    table.add_column("empty", no_wrap=True, justify="right")
    table.add_column("range", no_wrap=True)
    # These give way first where the terminal is narrow; --json has them in full.
    table.add_column("values")
    for column in columns[:MOST_COLUMNS]:
        table.add_row(
            Text(column.name, style="bold"),
            Text(column.type),
            Text(f"{column.missing:,}", style="yellow") if column.missing else Text("0", style="dim"),
            _range(column),
            Text(_values(column), no_wrap=True, overflow="ellipsis"),
        )
    return _with_rest(table, len(columns) - MOST_COLUMNS, "columns")


def _classes(target: Column) -> RenderableType:
    if target.values is None:
        return Text.assemble((target.name, "bold"), f"  {target.type}, {_range(target)}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(Text(target.name), no_wrap=True, overflow="ellipsis")
    table.add_column("rows", no_wrap=True, justify="right")
    for value in target.values[:MOST_CLASSES]:
        table.add_row(Text(value.value, style="bold"), f"{value.count:,}")
    return _with_rest(table, len(target.values) - MOST_CLASSES, "classes")


def _with_rest(table: Table, left: int, what: str) -> RenderableType:
    return table if left <= 0 else Group(table, Text(f"and {left:,} more {what}: --json has them all", style="dim"))


def _range(column: Column) -> str:
    if column.minimum is None or column.maximum is None or column.type == "boolean":
        return ""
    return f"{_place(column, column.minimum)} … {_place(column, column.maximum)}"


def _place(column: Column, number: float) -> str:
    match column.type:
        case "integer":
            return str(int(number))
        case "date":
            moment = _UNIX_EPOCH + timedelta(days=number)
            return f"{moment:%Y-%m-%d}" if number.is_integer() else f"{moment:%Y-%m-%d %H:%M}"
        case _:
            return f"{number:.4g}"


def _values(column: Column) -> str:
    """The most frequent values, or how many there are."""
    if column.values is None or (column.type == "integer" and len(column.values) > _MOST_NUMBERS):
        return "" if column.distinct is None else f"{column.distinct:,} different"
    most = sorted(column.values, key=_by_count)[:_SHOWN_VALUES]
    told = ", ".join(f"{value.value} ({value.count:,})" for value in most)
    return told + (f", … {len(column.values):,} in all" if len(column.values) > _SHOWN_VALUES else "")


def _by_count(value: Value) -> tuple[int, str]:
    return -value.count, value.value


def first_rows(preview: DatasetPreview, width: int) -> RenderableType:
    """The first rows, with as many columns as the terminal is wide for."""
    rows = [[_cell(value) for value in row] for row in preview.rows[:MOST_ROWS]]
    widths = [
        min(_WIDEST_CELL, max(len(column.name), *(len(row[place]) for row in rows)))
        for place, column in enumerate(preview.columns)
        if rows
    ]
    shown, taken = 0, 0
    while shown < len(widths) and (not shown or taken + widths[shown] <= width):
        taken += widths[shown] + _GAP
        shown += 1
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, column in enumerate(preview.columns[:shown]):
        is_number = all(isinstance(row[place], int | float | None) for row in preview.rows[:MOST_ROWS])
        table.add_column(
            Text(column.name),
            no_wrap=True,
            overflow="ellipsis",
            width=widths[place],
            justify="right" if is_number else "left",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row[:shown]))
    return _with_rest(table, len(preview.columns) - shown, "columns")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())


def reading(read: ReadDataset) -> Table:
    """What a spec takes the data set for."""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("predicts", f"{read.target} ({read.task})"),
        ("classes", _some(read.classes)),
        (
            "learns from",
            _some([_feature(one) for one in read.features]),
        ),
        ("leaves out", "; ".join(f"{name}: {why}" for name, why in list(read.left_out.items())[:_LISTED])),
        ("rows", f"{read.rows:,}" + (f", {read.rows_left_out:,} left out" if read.rows_left_out else "")),
    ):
        if value:
            table.add_row(Text(name, style="dim"), Text(value))
    return table


def _feature(feature: ReadColumn) -> str:
    return f"{feature.name} ({feature.inputs} inputs)" if feature.inputs > 1 else feature.name


def omissions(read: ReadDataset) -> list[str]:
    """The service's own sentences about columns that a reading leaves out."""
    return [f'"{name}" is left out: {why}' for name, why in read.left_out.items()]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f", … {len(names):,} in all" if len(names) > _LISTED else "")
