"""One pass over a text file before a table is made of it: its encoding, its NULs and the length of its lines."""

import codecs
from pathlib import Path

from api.parsing.contract import Limits, Refused
from api.parsing.upload import chunks_of

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def check_text(path: Path, limits: Limits) -> None:
    """Refuses what is no UTF-8, and lines that are too long.

    Raises:
        Refused: naming line and byte, both counted from 1.

    """
    with path.open("rb") as file:
        if file.read(2) in _UTF_16:
            raise Refused("not_utf8", "the file is UTF-16: save it as UTF-8")
    offset = line_start = 0
    rest = b""
    for chunk in chunks_of(path):
        if (place := chunk.find(0)) >= 0:
            line, byte = _place(path, offset + place)
            raise Refused("nul", f"line {line:,}, byte {byte:,} is a NUL character: this is no plain text file")
        if rest or not chunk.isascii():
            rest = _undecoded(rest + chunk, path, offset - len(rest))
        line_start = _last_line_start(chunk, path, offset, line_start, limits)
        offset += len(chunk)
    if rest:
        raise _not_utf8(path, offset - len(rest))


def _undecoded(data: bytes, path: Path, offset: int) -> bytes:
    """The beginning of a character at the end of a chunk."""
    try:
        _, used = codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, offset + error.start) from None
    return data[used:]


def _last_line_start(chunk: bytes, path: Path, offset: int, line_start: int, limits: Limits) -> int:
    """Where the last line of a chunk begins in the file.

    Steps as wide as a line may be are enough: what lies between two line ends of one step is shorter.
    """
    end = offset + len(chunk)
    while True:
        reach = line_start + limits.line_bytes + 1
        found = chunk.rfind(b"\n", max(0, line_start - offset), max(0, reach - offset))
        if found >= 0:
            line_start = offset + found + 1
        elif reach <= end:
            line, _ = _place(path, line_start)
            raise Refused(
                "line_too_long",
                f"line {line:,} has more than {limits.line_bytes:,} bytes: is this a table with a row on each line?",
            )
        else:
            return line_start


def _not_utf8(path: Path, offset: int) -> Refused:
    line, byte = _place(path, offset)
    return Refused("not_utf8", f"line {line:,}, byte {byte:,} is not UTF-8: save the file as UTF-8")


def _place(path: Path, offset: int) -> tuple[int, int]:
    """Line and byte of an offset; only a file that is refused is read again for it."""
    line, before = 1, 0
    for chunk in chunks_of(path):
        part = chunk[:offset]
        if (ends := part.count(b"\n")) > 0:
            line, before = line + ends, len(part) - part.rfind(b"\n") - 1
        else:
            before += len(part)
        offset -= len(part)
        if offset == 0:
            break
    return line, before + 1
