"""Read a tar file header by header.

By hand, because the standard library ends quietly where a header is damaged, and half a data set would pass for one.
"""

from collections.abc import Iterator
from os import SEEK_END
from typing import BinaryIO

from api.parsing.contract import Limits, Refused, short
from api.parsing.members import (
    Member,
    check_count,
    check_distinct,
    checked_name,
    damaged_archive,
    read_exactly,
    special_file,
)
from api.parsing.upload import CHUNK

_BLOCK = 512
_CHECKSUM = slice(148, 156)
_LONGEST_HEADER = 64 * 1024

_FILES, _FOLDER = (b"0", b"\0", b"7"), b"5"
_LONG_NAME, _ATTRIBUTES, _SHARED_ATTRIBUTES = b"L", b"x", b"g"
_SPARSE = b"S"


class Tar:
    """A tar file of plain files and folders, in any of its dialects."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self.members = list(_members(file, limits))
        check_distinct(self.members)

    def chunks(self, member: Member) -> Iterator[bytes]:
        for place in range(member.start, member.start + member.size, CHUNK):
            self._file.seek(place)  # between two chunks, another member may have been read
            yield read_exactly(self._file, min(CHUNK, member.start + member.size - place))


def _members(file: BinaryIO, limits: Limits) -> Iterator[Member]:
    length = file.seek(0, SEEK_END)
    place, count = 0, 0
    long_name: str | None = None
    attributes: dict[str, str] = {}
    while True:
        file.seek(place)
        header = read_exactly(file, _BLOCK)
        if not any(header):
            return
        _check_sum(header)
        count += 1
        check_count(count, limits)
        kind, size = header[156:157], _number(header[124:136])
        begin = place + _BLOCK
        if kind in (_LONG_NAME, _ATTRIBUTES, _SHARED_ATTRIBUTES):
            body = _extended(file, size)
            if kind == _LONG_NAME:
                long_name = body.rstrip(b"\0").decode("utf-8", "replace")
            elif kind == _ATTRIBUTES:
                attributes = _attributes(body)
        else:
            name = attributes.get("path", long_name or _name(header))
            size = _decimal(attributes["size"]) if "size" in attributes else size
            if any(key.startswith("GNU.sparse") for key in attributes) or kind == _SPARSE:
                raise Refused("unsafe_archive", f"{short(name)} is a sparse file: pack it with plain tar")
            if kind not in (*_FILES, _FOLDER):
                raise special_file(name)
            name = checked_name(name)
            if kind != _FOLDER and not name.endswith("/"):
                yield Member(name, size, begin, size)
            long_name, attributes = None, {}
        place = begin + (0 if kind == _FOLDER else -(-size // _BLOCK) * _BLOCK)
        if place > length:
            raise damaged_archive()


def _check_sum(header: bytes) -> None:
    told = _number(header[_CHECKSUM])
    if told != sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" "):
        raise damaged_archive()


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU writes large ones in binary
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0")
    try:
        number = int(digits or b"0", 8)
    except ValueError:
        raise damaged_archive() from None
    if number < 0:
        raise damaged_archive()
    return number


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise damaged_archive()
    return int(text)


def _name(header: bytes) -> str:
    name, prefix = (header[part].split(b"\0")[0] for part in (slice(0, 100), slice(345, 500)))
    # GNU keeps times where the others keep the first half of a long name.
    whole = prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name
    return whole.decode("utf-8", "replace")


def _extended(file: BinaryIO, size: int) -> bytes:
    if size > _LONGEST_HEADER:
        raise damaged_archive()
    return read_exactly(file, size)


def _attributes(body: bytes) -> dict[str, str]:
    """Records of the form `length key=value`, each a line."""
    found: dict[str, str] = {}
    while body:
        digits, _, _ = body.partition(b" ")
        if not (digits.isdigit() and len(digits) < 8):
            raise damaged_archive()
        record, body = body[: int(digits)], body[int(digits) :]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not (equals and record.endswith(b"\n")):
            raise damaged_archive()
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return found
