"""Read a zip file by its directory.

By hand, because the standard library holds the whole directory in memory before anyone can count its entries, and
because two readers that disagree about a crafted file would be a way around every check.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from os import SEEK_END
from typing import BinaryIO, NamedTuple

from api.parsing.contract import Limits, Refused, short
from api.parsing.inflating import check_inflation, inflated
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

_END = struct.Struct("<4s4H2LH")
_END_64_PLACE = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")

_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 0x1, 0x800
_IN_EXTRA, _EXTRA_64 = 0xFFFFFFFF, 1


class _Directory(NamedTuple):
    entries: int
    start: int
    end: int


class Zip:
    """A zip file whose directory was checked entry by entry."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        directory = _directory(file)
        check_count(directory.entries, limits)
        entries = list(_entries(file, directory, limits))
        check_distinct(entries)
        for member in entries:
            check_inflation(member.size, member.compressed, member.name, limits)
        if sum(member.size for member in entries) > limits.inflated_bytes:
            raise Refused("too_large", "unpacked, the archive exceeds the limit of this server: upload a part of it")
        self.members = [member for member in _apart(entries, directory) if not member.name.endswith("/")]

    def chunks(self, member: Member) -> Iterator[bytes]:
        self._file.seek(member.start)
        signature, *_, name, extra = _LOCAL.unpack(read_exactly(self._file, _LOCAL.size))
        begin = member.start + _LOCAL.size + name + extra
        if signature != b"PK\3\4" or begin + member.compressed > member.end:
            raise damaged_archive()
        size, checksum = 0, 0
        for chunk in self._inflated(member, begin):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
            if size > member.size:
                raise Refused("unsafe_archive", f"{short(member.name)} is larger than the zip says: pack it again")
            yield chunk
        if size != member.size or checksum != member.checksum:
            raise Refused("unreadable", f"{short(member.name)} is damaged in the zip: pack it again")

    def _inflated(self, member: Member, begin: int) -> Iterator[bytes]:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        for place in range(begin, begin + member.compressed, CHUNK):
            self._file.seek(place)  # between two chunks, another member may have been read
            chunk = read_exactly(self._file, min(CHUNK, begin + member.compressed - place))
            if member.method == _STORED:
                yield chunk
                continue
            try:
                yield from inflated(inflate, chunk)
            except zlib.error:
                raise Refused("unreadable", f"{short(member.name)} is damaged in the zip: pack it again") from None


def _directory(file: BinaryIO) -> _Directory:
    size = file.seek(0, SEEK_END)
    file.seek(max(0, size - _END.size - 0xFFFF))
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or place + _END.size > len(tail):
        raise damaged_archive()
    _, disk, first_disk, here, entries, length, start, _ = _END.unpack_from(tail, place)
    end = size - len(tail) + place
    if 0xFFFF in (disk, first_disk, here, entries) or _IN_EXTRA in (length, start):
        return _directory_64(file, end)
    # Without this, a directory could hide behind another one.
    if disk or first_disk or here != entries or start + length != end:
        raise damaged_archive()
    return _Directory(entries, start, end)


def _directory_64(file: BinaryIO, end: int) -> _Directory:
    file.seek(max(0, end - _END_64_PLACE.size))
    signature, _, place, _ = _END_64_PLACE.unpack(read_exactly(file, _END_64_PLACE.size))
    if signature != b"PK\6\7" or place > end:
        raise damaged_archive()
    file.seek(place)
    signature, *_, here, entries, length, start = _END_64.unpack(read_exactly(file, _END_64.size))
    if signature != b"PK\6\6" or here != entries or start + length != place:
        raise damaged_archive()
    return _Directory(entries, start, place)


def _entries(file: BinaryIO, directory: _Directory, limits: Limits) -> Iterator[Member]:
    file.seek(directory.start)
    place, count = directory.start, 0
    while place < directory.end:
        count += 1
        check_count(count, limits)
        fields = _ENTRY.unpack(read_exactly(file, _ENTRY.size))
        signature, _, _, flags, method, _, _, checksum, compressed, size, named, extra, comment, *_ = fields
        attributes, start = fields[-2:]
        if signature != b"PK\1\2":
            raise damaged_archive()
        name = read_exactly(file, named).decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        further = read_exactly(file, extra)
        read_exactly(file, comment)
        place += _ENTRY.size + named + extra + comment
        size, compressed, start = _wide([size, compressed, start], further)
        _check_kind(name, flags, method, attributes)
        yield Member(checked_name(name), size, start, compressed, method, checksum)
    if place != directory.end or count != directory.entries:
        raise damaged_archive()


def _wide(numbers: list[int], extra: bytes) -> list[int]:
    """Sizes and offset beyond 32 bits stand in an extra field, those alone that need it."""
    if _IN_EXTRA not in numbers:
        return numbers
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _EXTRA_64:
            wide = (body[at : at + 8] for at in range(0, len(body), 8))
            numbers = [int.from_bytes(next(wide, b""), "little") if n == _IN_EXTRA else n for n in numbers]
    return numbers


def _check_kind(name: str, flags: int, method: int, attributes: int) -> None:
    if flags & _ENCRYPTED:
        raise Refused("unsafe_archive", f"{short(name)} is encrypted: pack the archive without a password")
    if method not in (_STORED, _DEFLATED):
        raise Refused("unreadable", f"{short(name)} is compressed in an unusual way: pack it with plain deflate")
    if stat.S_IFMT(attributes >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise special_file(name)


def _apart(entries: list[Member], directory: _Directory) -> Iterator[Member]:
    """The members in the order of the directory, each knowing where the next thing begins.

    Raises:
        Refused: if two of them share bytes.

    """
    starts = sorted(member.start for member in entries)
    ends = dict(pairwise([*starts, directory.start]))
    if len(ends) != len(entries):
        raise _overlapping()
    for member in entries:
        end = ends[member.start]
        if member.start + _LOCAL.size + member.compressed > end:
            raise _overlapping()
        yield Member(member.name, member.size, member.start, member.compressed, member.method, member.checksum, end)


def _overlapping() -> Refused:
    return Refused("unsafe_archive", "members of the zip share bytes: pack it again with an ordinary program")
