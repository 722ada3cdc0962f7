"""Tables as text: cells between commas, semicolons or tabs, gzipped or not."""

import contextlib
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.types as kinds

from api.parsing.archive_files.inflating import GZIP, gunzipped, write_chunks
from api.parsing.canonical.tables import check_columns, check_names, check_rows, emptied, given_names, write_table
from api.parsing.contract import Limits, Parsed, Refused, short
from api.parsing.readers.arrow_errors import raise_if_out_of_memory
from api.parsing.readers.text_checks import check_text
from api.parsing.upload import Upload, chunks_of
from models.stored import EMPTY_CELLS

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")

_BLOCK_BYTES = 4 * 1024**2
_BLOCK_BYTES_PER_COLUMN = 4096
"""Wide tables are read in larger blocks, since each block costs something for each column."""
_LARGEST_BLOCK = 64 * 1024**2

_SAMPLE_BYTES = 4 * 1024**2
_CELL_BYTES = 8
_LEAST_GROUP_BYTES = 32 * 1024**2


@dataclass(frozen=True)
class _Layout:
    delimiter: str
    names: list[str]
    header: bool


def read_text(upload: Upload, tabs: bool) -> Parsed:
    """Read a CSV file, or one whose cells are between tabs whatever else its first line holds.

    Raises:
        Refused: naming the line, the row or the column that is wrong.

    """
    path = _inflated(upload)
    check_text(path, upload.limits)
    layout = _layout(path, tabs, upload.limits)
    notes = [] if layout.header else [f"the file has no header: {given_names(layout.names)}"]
    columns = _columns(path, layout, upload.limits)
    return write_table(upload, "tsv" if layout.delimiter == "\t" else "csv", layout.names, columns, notes)


def _inflated(upload: Upload) -> Path:
    with upload.path.open("rb") as file:
        if file.read(2) != GZIP:
            return upload.path
    size = upload.path.stat().st_size
    chunks = gunzipped(chunks_of(upload.path), size, "the file", upload.limits, upload.budget)
    return write_chunks(chunks, upload.scratch / "inflated.txt")


def _layout(path: Path, tabs: bool, limits: Limits) -> _Layout:
    with path.open("rb") as file:
        line = file.readline(limits.line_bytes + len(_BOM) + 1).removeprefix(_BOM).decode()
    alone = not line.endswith("\n")
    line = line.removesuffix("\n").removesuffix("\r")
    if not line.strip():
        raise Refused("empty", "the first line is empty: begin with the names of the columns")
    if "\r" in line:
        raise Refused("unreadable", "the lines end as on old Macs: save the file with Unix or Windows line ends")
    bare = _QUOTED.sub("", line)
    if '"' in bare:
        raise Refused("unreadable", "line 1 opens a quote and does not close it: keep each name on one line")
    delimiter = "\t" if tabs else max(_DELIMITERS, key=bare.count)
    check_columns(bare.count(delimiter) + 1, limits)
    try:
        names = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error:
        raise Refused("unreadable", "the quotes of line 1 do not pair up: quote whole names or none") from None
    if _is_data(names):
        return _Layout(delimiter, [f"column_{number}" for number in range(1, len(names) + 1)], header=False)
    check_names(names, limits)
    if alone:
        check_rows(0, limits)
    return _Layout(delimiter, names, header=True)


def _is_data(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell not in EMPTY_CELLS]
    return bool(filled) and all(map(_NUMBER.fullmatch, filled))


class _Ragged:
    """Remembers the first row with too many or too few cells."""

    def __init__(self) -> None:
        self.first: arrow_csv.InvalidRow | None = None

    def __call__(self, row: arrow_csv.InvalidRow) -> str:
        self.first = self.first or row
        return "error"


def _columns(path: Path, layout: _Layout, limits: Limits) -> Iterator[pa.ChunkedArray]:
    """The columns in order, read some at a time where short cells would make a table much larger than the file."""
    sample = _sample(path, layout, limits)
    types = {} if sample is None else {f.name: f.type for f in sample.schema if not kinds.is_null(f.type)}
    for names in _groups(path, layout, sample):
        table = _table(path, layout, limits, names, types)
        check_rows(table.num_rows, limits)
        if names[-1] == layout.names[-1]:
            _check_last_cell(table, path)
        columns = table.columns
        del table
        for column in emptied(columns):
            # A time of day is no place on any scale that a network could use.
            yield column.cast(pa.string()) if kinds.is_time(column.type) else column


def _sample(path: Path, layout: _Layout, limits: Limits) -> pa.Table | None:
    """The first rows of a large file, whose types are likely those of all; None where they are no help."""
    with path.open("rb") as file:
        beginning = file.read(_SAMPLE_BYTES)
    end = beginning.rfind(b"\n") + 1
    if len(beginning) < _SAMPLE_BYTES or not end:
        return None
    try:
        table = _read(pa.BufferReader(beginning[:end]), layout, limits, layout.names, {}, _Ragged())
    except pa.ArrowException:
        return None
    return table if table.num_rows else None


def _groups(path: Path, layout: _Layout, sample: pa.Table | None) -> list[list[str]]:
    """The columns, in groups that take about as much memory as the file has bytes."""
    if sample is None:
        return [layout.names]
    size = path.stat().st_size
    column_bytes = _CELL_BYTES * sample.num_rows * size // _SAMPLE_BYTES
    count = max(1, max(size, _LEAST_GROUP_BYTES) // column_bytes)
    return [layout.names[first : first + count] for first in range(0, len(layout.names), count)]


def _table(path: Path, layout: _Layout, limits: Limits, names: list[str], types: dict[str, pa.DataType]) -> pa.Table:
    # Opened here, since arrow would go by the ending of a file's name.
    if types:
        # With types that it need not find out, arrow keeps no cell as text; but the first rows may be no guide to all.
        with contextlib.suppress(pa.ArrowInvalid), pa.OSFile(str(path)) as file:
            return _read(file, layout, limits, names, types, _Ragged())
    ragged = _Ragged()
    try:
        with pa.OSFile(str(path)) as file:
            return _read(file, layout, limits, names, {}, ragged)
    except pa.ArrowException as error:
        if (row := ragged.first) is not None:
            raise Refused(
                "ragged",
                f"row {row.number - layout.header:,} has {row.actual_columns:,} cells where {row.expected_columns:,} "
                f"are expected: {short(row.text)}",
            ) from None
        raise_if_out_of_memory(error)
        raise _unreadable(str(error)) from None


def _unreadable(words: str) -> Refused:
    if "Empty CSV file" in words:
        return Refused("empty", "the file has no rows: upload one with data")
    if "straddling" in words:
        return Refused("unreadable", "a row is too long, or a quote is opened and never closed: close every quote")
    return Refused("unreadable", "the cells cannot be told apart: check that every quote is closed")


def _check_last_cell(table: pa.Table, path: Path) -> None:
    """Refuses a quote that is never closed: what follows it would be one cell, the last one."""
    last = table.column(table.num_columns - 1)[-1].as_py()
    if isinstance(last, str) and "\n" in last and sum(chunk.count(b'"') for chunk in chunks_of(path)) % 2:
        raise Refused("unreadable", f"a quote is opened and never closed before {short(last)}: close it")


def _read(
    file: pa.NativeFile,
    layout: _Layout,
    limits: Limits,
    names: list[str],
    types: dict[str, pa.DataType],
    ragged: _Ragged,
) -> pa.Table:
    """Some columns of a file; `types` are those that are known."""
    block = max(_BLOCK_BYTES, min(_LARGEST_BLOCK, len(layout.names) * _BLOCK_BYTES_PER_COLUMN), 2 * limits.line_bytes)
    return arrow_csv.read_csv(
        file,
        arrow_csv.ReadOptions(
            # Threads do not know the numbers of rows, and may wait for one another when memory ends.
            use_threads=False,
            block_size=block,
            skip_rows=int(layout.header),
            column_names=layout.names,
        ),
        arrow_csv.ParseOptions(
            delimiter=layout.delimiter,
            newlines_in_values=True,
            ignore_empty_lines=len(layout.names) > 1,
            invalid_row_handler=ragged,
        ),
        arrow_csv.ConvertOptions(
            null_values=list(EMPTY_CELLS), strings_can_be_null=True, include_columns=names, column_types=types
        ),
    )
