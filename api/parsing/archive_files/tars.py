"""A tar file, of which only plain files under plain names are taken."""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from api.parsing.archive_files.members import (
    Member,
    check_count,
    check_distinct,
    checked_name,
    damaged_archive,
    read_exactly,
    special_file,
)
from api.parsing.contract import Limits, Refused, short
from api.parsing.upload import CHUNK


class Tar:
    """A tar file of plain files and folders, in any of its dialects."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        try:
            self._entries = {entry.name: entry for entry in _entries(file, limits)}
        except (tarfile.TarError, ValueError, OverflowError):
            raise damaged_archive() from None
        self.members = [Member(name, entry.size) for name, entry in self._entries.items()]

    def chunks(self, member: Member) -> Iterator[bytes]:
        begin = self._entries[member.name].offset_data
        for place in range(begin, begin + member.size, CHUNK):
            self._file.seek(place)  # between two chunks, another member may have been read
            yield read_exactly(self._file, min(CHUNK, begin + member.size - place))


def _entries(file: BinaryIO, limits: Limits) -> Iterator[tarfile.TarInfo]:
    names: list[str] = []
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for count, entry in enumerate(archive, start=1):
            check_count(count, limits)
            if entry.issparse() or any(key.startswith("GNU.sparse") for key in entry.pax_headers):
                raise Refused("unsafe_archive", f"{short(entry.name)} is a sparse file: pack it with plain tar")
            if not (entry.isreg() or entry.isdir()):
                raise special_file(entry.name)
            entry.name = checked_name(entry.name)
            if entry.isreg():
                names.append(entry.name)
                yield entry
        file.seek(archive.offset)
    # The library ends quietly at a header that is damaged, and half a data set would pass for one.
    if any(read_exactly(file, tarfile.BLOCKSIZE)):
        raise damaged_archive()
    check_distinct(names)
