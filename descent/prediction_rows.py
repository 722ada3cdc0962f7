"""Raw rows on their way to a network: cut into requests that the service takes, whether objects or a CSV file."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any, TextIO

from descent.errors import DescentError, Refused
from models.answers import Predictions, Problem

Rows = Sequence[Mapping[str, Any] | Sequence[Any]]

MOST_ROWS = 10_000
MOST_BYTES = 256 * 1024
"""Of one request, as the service has it."""
_DELIMITERS = ",;\t"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_ROW = re.compile(r"/rows/(\d+)")


@dataclass(frozen=True)
class _Form:
    """How rows become a body."""

    media_type: str
    before: bytes
    between: bytes
    after: bytes


@dataclass(frozen=True)
class Part:
    """One request's rows."""

    form: _Form
    rows: Sequence[bytes]
    first: int
    """Place of its first row among all."""

    @property
    def content(self) -> bytes:
        return self.form.before + self.form.between.join(self.rows) + self.form.after

    def cut(self, most: int) -> "list[Part]":
        """Return parts of at most `most` rows."""
        starts = range(0, len(self.rows), most)
        return [Part(self.form, self.rows[start : start + most], self.first + start) for start in starts]


def parts(rows: Rows | Path) -> Iterator[Part]:
    """Cut rows into requests.

    Raises:
        DescentError: if there are none, or some cannot be sent.

    """
    if isinstance(rows, Path):
        header, records = _records(rows)
        return _cut(map(_line, records), _Form("text/csv", header, b"", b""))
    form = _Form("application/json", b'{"rows":[', b",", b"]}")
    return _cut((_json(place, row) for place, row in enumerate(rows)), form)


def rows_taken(refused: Refused) -> int:
    """Return how many rows of a request the network takes, if the service refused it for having more; otherwise 0."""
    most = (refused.problem.model_extra or {}).get("max_rows")
    return most if isinstance(most, int) else 0


def joined(answers: Sequence[Predictions]) -> Predictions:
    """The answers to the parts, as one."""
    said: list[Any] = [one for answer in answers for one in answer.predictions]
    shares = [one for answer in answers for one in answer.probabilities or ()]
    probabilities = None if answers[0].probabilities is None else shares
    return answers[0].model_copy(update={"predictions": said, "probabilities": probabilities})


def at_home(refused: Refused, part: Part) -> Refused:
    """The same refusal with rows counted as its caller counts them, not from the beginning of a part."""
    problem = refused.problem
    errors = [
        error.model_copy(
            update={"pointer": _ROW.sub(lambda found: f"/rows/{int(found[1]) + part.first}", error.pointer, count=1)}
        )
        for error in problem.errors
    ]
    return Refused(Problem.model_validate({**problem.model_dump(), "errors": [error.model_dump() for error in errors]}))


def _cut(rows: Iterator[bytes], form: _Form) -> Iterator[Part]:
    empty = len(form.before) + len(form.after)
    kept: list[bytes] = []
    size, first = empty, 0
    for row in rows:
        grown = size + len(row) + len(form.between)
        if kept and (grown > MOST_BYTES or len(kept) == MOST_ROWS):
            yield Part(form, kept, first)
            first += len(kept)
            kept, grown = [], empty + len(row) + len(form.between)
        kept.append(row)
        size = grown
    if not kept:
        raise DescentError("There are no rows to predict.")
    yield Part(form, kept, first)


def _json(place: int, row: Mapping[str, Any] | Sequence[Any]) -> bytes:
    if isinstance(row, Mapping):
        # Tables of other libraries have NaN in their empty cells.
        row = {name: None if isinstance(cell, float) and isnan(cell) else cell for name, cell in row.items()}
    try:
        return json.dumps(row, allow_nan=False, separators=(",", ":"), default=_plain).encode()
    except (ValueError, TypeError) as error:
        raise DescentError(f"/rows/{place}: this cannot be sent: {error}") from error


def _plain(value: Any) -> Any:
    """Arrays and numbers of numpy, and dates, in the words of JSON."""
    for method in ("tolist", "isoformat"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"{type(value).__name__} is not known to JSON")


def _records(path: Path) -> tuple[bytes, Iterator[list[str]]]:
    """The header of a CSV file as a line of its own, and the rows below it.

    The file may have semicolons or tabs between its cells, and be gzipped: data sets are uploaded so too.
    """
    records = _read(path)
    header = next(records, None)
    if header is None:
        raise DescentError(f"{path} is empty")
    return _line([name.strip() for name in header]), records


def _read(path: Path) -> Iterator[list[str]]:
    reader = None
    try:
        with _open(path) as file:
            bare = _QUOTED.sub("", file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=max(_DELIMITERS, key=bare.count), strict=True)
            width = 0
            for record in reader:
                if not record:
                    continue
                width = width or len(record)
                if len(record) != width:
                    raise DescentError(
                        f"{path}, line {reader.line_num:,}: the row has {len(record)} cells and the header {width}"
                    )
                yield record
    except UnicodeDecodeError as error:
        raise DescentError(f"{path} is no text in UTF-8: byte {error.start:,}") from error
    except csv.Error as error:
        raise DescentError(f"{path}, line {reader.line_num if reader else 1:,}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise DescentError(f"{path} cannot be read: {reason}") from error


def _open(path: Path) -> TextIO:
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    if is_gzipped:
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _line(cells: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode()
