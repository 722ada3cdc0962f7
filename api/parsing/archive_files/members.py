"""A file in an archive, and what its name and kind may be."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from api.parsing.contract import Limits, Refused, short

_LONGEST_NAME = 1024
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    size: int
    """In bytes, as the archive says."""


def checked_name(name: str) -> str:
    """A name as it stands in an archive, less a leading `./`.

    Raises:
        Refused: if it points out of the archive on any system.

    """
    # tarfile lets bytes that are no text pass for halves of characters, which no database takes.
    plain = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    while plain.startswith("./"):
        plain = plain[2:]
    if (
        ".." in plain.split("/")
        or plain.startswith("/")
        or "\\" in plain
        or "\0" in plain
        or _DRIVE.match(plain)
        or len(plain) > _LONGEST_NAME
    ):
        raise Refused("unsafe_archive", f"the archive holds an unsafe name: rename {short(name)} and pack it again")
    return plain


def check_count(count: int, limits: Limits) -> None:
    if count > limits.entries:
        raise Refused("too_large", f"the archive has more than {limits.entries:,} entries: upload a part of it")


def check_distinct(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Refused("unsafe_archive", f"the archive holds {short(name)} twice: pack it again")
        seen.add(name)


def special_file(name: str) -> Refused:
    return Refused(
        "unsafe_archive", f"{short(name)} is a link or a device: pack an archive of plain files and folders only"
    )


def damaged_archive() -> Refused:
    return Refused("unreadable", "the archive is damaged or incomplete: pack it again and upload all of it")


def read_exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise damaged_archive()
    return data
