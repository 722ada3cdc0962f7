"""Columns become rows: a table's matrix, its description and a look at it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from api.parsing.canonical.columns import FIRST, Cells, read_column
from api.parsing.canonical.gaps import gaps
from api.parsing.canonical.matrices import Matrix, check_sizes, row_blocks, write_matrix
from api.parsing.canonical.values import Sealing
from api.parsing.contract import Limits, Parsed, Refused, short
from api.parsing.upload import Upload
from models.stored import ROWS, Description, Preview

_LONGEST_NAME = 200
_SHOWN_COLUMNS = 100
_NOTED_COLUMNS = 20


def check_names(names: Sequence[str], limits: Limits) -> None:
    """Refuses names by which no column can be told."""
    check_columns(len(names), limits)
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise Refused("column_names", f"column {number:,} has no name: write one into the first line")
        if len(name) > _LONGEST_NAME:
            raise Refused("column_names", f"the name of column {number:,} has more than {_LONGEST_NAME} characters")
        if "\0" in name:
            raise Refused("nul", f"the name of column {number:,} holds a NUL character: rename it")
        if name in seen:
            raise Refused("column_names", f"two columns are called {short(name)}: rename one")
        seen.add(name)


def given_names(names: Sequence[str]) -> str:
    """The note that says how columns without names are called."""
    if len(names) == 1:
        return f"the column is named {names[0]}"
    return f"columns are named {names[0]} to {names[-1]}"


def check_columns(count: int, limits: Limits) -> None:
    if count > limits.columns:
        raise Refused("too_large", f"{count:,} columns exceed the limit of {limits.columns:,}: leave columns out")


def check_rows(count: int, limits: Limits) -> None:
    if count == 0:
        raise Refused("empty", "the file has no rows: upload one with data")
    if count > limits.rows:
        raise Refused("too_large", f"{count:,} rows exceed the limit of {limits.rows:,}: upload a part of them")


def emptied(columns: list[pa.ChunkedArray]) -> Iterator[pa.ChunkedArray]:
    """The columns in order, each forgotten as it is handed out, so that memory comes free."""
    columns.reverse()
    while columns:
        yield columns.pop()


def write_table(
    upload: Upload, kind: str, names: Sequence[str], columns: Iterator[pa.ChunkedArray], notes: Sequence[str] = ()
) -> Parsed:
    """Write the matrix of a table, of as many columns as there are names."""
    if not names:
        raise Refused("empty", "the file has no columns: upload one with data")
    check_names(names, upload.limits)
    first = next(columns)
    rows = len(first)
    check_rows(rows, upload.limits)
    check_sizes(upload.limits, ((rows, len(names)), "float64"))
    sealing = Sealing(rows)
    table = [read_column(names[0], first, sealing, upload.limits)]
    del first
    table += [
        read_column(name, column, sealing, upload.limits) for name, column in zip(names[1:], columns, strict=True)
    ]
    size = write_matrix(upload.folder / ROWS, (rows, len(names)), "float64", _blocks(table, rows))
    masks = [(place, cells.missing) for place, cells in enumerate(table) if cells.missing is not None]
    description = Description(
        format=kind,
        layout="table",
        rows=rows,
        columns=tuple(cells.column for cells in table),
        gaps=gaps(masks, rows),
        sizes={ROWS: size},
        notes=(*notes, *_notes(table)),
    )
    return Parsed(description, _preview(table, rows))


def _blocks(table: list[Cells], rows: int) -> Iterator[Matrix]:
    for some in row_blocks(rows, len(table) * 8):
        block = np.empty((some.stop - some.start, len(table)))
        for place, cells in enumerate(table):
            cells.fill(some, block[:, place])
        yield block


def _notes(table: list[Cells]) -> list[str]:
    notes = [cells.note for cells in table if cells.note]
    more = len(notes) - _NOTED_COLUMNS
    return notes if more <= 0 else [*notes[:_NOTED_COLUMNS], f"and {more:,} more columns like these"]


def _preview(table: list[Cells], rows: int) -> Preview:
    shown = table[:_SHOWN_COLUMNS]
    return Preview(
        columns=[cells.column.name for cells in shown],
        rows=[[cells.shown[row] for cells in shown] for row in range(min(rows, FIRST))],
    )
