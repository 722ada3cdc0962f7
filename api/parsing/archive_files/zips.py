"""A zip file, of which only plain files under plain names are taken."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import BinaryIO

from api.parsing.archive_files.inflating import check_inflation
from api.parsing.archive_files.members import (
    Member,
    check_count,
    check_distinct,
    checked_name,
    damaged_archive,
    special_file,
)
from api.parsing.contract import Limits, Refused, short
from api.parsing.upload import CHUNK

_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, ValueError, NotImplementedError)
"""What the standard library raises at a file that is no zip, or no longer."""


class Zip:
    """A zip file whose directory was checked entry by entry."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        with _damage_refused():
            self._archive = zipfile.ZipFile(file)
        entries = self._archive.infolist()
        check_count(len(entries), limits)
        self._entries = {_checked(entry): entry for entry in entries}
        check_distinct([_checked(entry) for entry in entries])
        for name, entry in self._entries.items():
            check_inflation(entry.file_size, entry.compress_size, name, limits)
        if sum(entry.file_size for entry in entries) > limits.inflated_bytes:
            raise Refused("too_large", "unpacked, the archive exceeds the limit of this server: upload a part of it")
        _demand_apart(entries)
        self.members = [
            Member(name, entry.file_size) for name, entry in self._entries.items() if not name.endswith("/")
        ]

    def chunks(self, member: Member) -> Iterator[bytes]:
        size = 0
        with _damage_refused(member.name), self._archive.open(self._entries[member.name]) as file:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                yield chunk
        if size != member.size:
            raise _damaged(member.name)


def _checked(entry: zipfile.ZipInfo) -> str:
    """The entry's name, if it is a plain file or a folder."""
    name = entry.orig_filename  # `filename` ends at a NUL
    if entry.flag_bits & _ENCRYPTED:
        raise Refused("unsafe_archive", f"{short(name)} is encrypted: pack the archive without a password")
    if entry.compress_type not in _METHODS:
        raise Refused("unreadable", f"{short(name)} is compressed in an unusual way: pack it with plain deflate")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise special_file(name)
    return checked_name(name)


def _demand_apart(entries: list[zipfile.ZipInfo]) -> None:
    """See that no two entries share bytes: a bomb may hide its size so."""
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    if ordered and ordered[0].header_offset < 0:
        raise damaged_archive()
    for one, next_one in pairwise(ordered):
        if one.header_offset + _LOCAL_HEADER_BYTES + one.compress_size > next_one.header_offset:
            raise Refused("unsafe_archive", "members of the zip share bytes: pack it again with an ordinary program")


@contextmanager
def _damage_refused(name: str | None = None) -> Iterator[None]:
    try:
        yield
    except _DAMAGE:
        raise (damaged_archive() if name is None else _damaged(name)) from None


def _damaged(name: str) -> Refused:
    return Refused("unreadable", f"{short(name)} is damaged in the zip: pack it again")
