"""Tables as text: cells between commas, semicolons or tabs, gzipped or not."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.types as kinds

from api.parsing.archive_files.inflating import GZIP, gunzipped, write_chunks
from api.parsing.canonical.tables import check_columns, check_names, check_rows, given_names, write_table
from api.parsing.contract import Limits, Parsed, Refused, short
from api.parsing.readers.arrow_errors import raise_if_out_of_memory
from api.parsing.readers.text_checks import check_text
from api.parsing.upload import Upload, chunks_of

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")

_BLOCK_BYTES = 4 * 1024**2
_BLOCK_BYTES_PER_COLUMN = 4096
"""Wide tables are read in larger blocks, since each block costs something for each column."""
_LARGEST_BLOCK = 64 * 1024**2


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
    table = _table(path, layout, upload.limits)
    check_rows(table.num_rows, upload.limits)
    _check_last_cell(table, path)
    notes = [] if layout.header else [f"the file has no header: {given_names(layout.names)}"]
    columns = table.columns
    del table
    # A time of day is no place on any scale that a network could use.
    columns = [column.cast(pa.string()) if kinds.is_time(column.type) else column for column in columns]
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
    filled = [cell for cell in cells if cell not in MISSING]
    return bool(filled) and all(map(_NUMBER.fullmatch, filled))


class _Ragged:
    """Remembers the first row with too many or too few cells."""

    def __init__(self) -> None:
        self.first: arrow_csv.InvalidRow | None = None

    def __call__(self, row: arrow_csv.InvalidRow) -> str:
        self.first = self.first or row
        return "error"


def _table(path: Path, layout: _Layout, limits: Limits) -> pa.Table:
    ragged = _Ragged()
    try:
        return _read(path, layout, limits, ragged)
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


def _read(path: Path, layout: _Layout, limits: Limits, ragged: _Ragged) -> pa.Table:
    block = max(_BLOCK_BYTES, min(_LARGEST_BLOCK, len(layout.names) * _BLOCK_BYTES_PER_COLUMN), 2 * limits.line_bytes)
    # Opened here, since arrow would go by the ending of a file's name.
    with pa.OSFile(str(path)) as file:
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
            arrow_csv.ConvertOptions(null_values=list(MISSING), strings_can_be_null=True),
        )
