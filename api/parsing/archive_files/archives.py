"""Open a zip or a tar safely: nothing is unpacked by a name that stands in it, and everything is counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from api.parsing.archive_files.inflating import GZIP, gunzipped, write_chunks
from api.parsing.archive_files.members import Member
from api.parsing.archive_files.tars import Tar
from api.parsing.archive_files.zips import Zip
from api.parsing.upload import Budget, Upload, chunks_of

ZIP = (b"PK\3\4", b"PK\5\6")
"""How a zip begins, one without members among them."""

_LITTER = frozenset({"__MACOSX", "Thumbs.db", "thumbs.db", "desktop.ini"})


class Archive(Protocol):
    """Files that were packed into one."""

    members: list[Member]

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The content of a member, never more than the size it was said to have."""
        ...


@contextmanager
def opened(upload: Upload) -> Iterator[Archive]:
    """A zip, a tar or a gzipped tar.

    Raises:
        Refused: if it is neither, is damaged, exceeds a limit, or holds anything but plain files with plain names.

    """
    path = upload.path
    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning.startswith(GZIP):
        path = _inflated(upload)
        upload.budget.spend(path.stat().st_size)
    with path.open("rb") as file:
        if beginning in ZIP:
            archive: Archive = Zip(file, upload.limits)
            upload.budget.spend(sum(member.size for member in archive.members))
        else:
            archive = Tar(file, upload.limits)
        yield archive


def _inflated(upload: Upload) -> Path:
    """The tar in a gzipped tar; who looks twice finds it there."""
    path = upload.scratch / "inflated.tar"
    if not path.exists():
        budget = Budget(upload.limits.inflated_bytes)
        write_chunks(
            gunzipped(chunks_of(upload.path), upload.path.stat().st_size, "the file", upload.limits, budget), path
        )
    return path


def visible(archive: Archive) -> list[Member]:
    """The members that somebody put there: no litter of file managers."""
    return [member for member in archive.members if not any(map(_is_litter, member.name.split("/")))]


def _is_litter(part: str) -> bool:
    return part in _LITTER or part.startswith(".")


def content(archive: Archive, member: Member) -> bytes:
    return b"".join(archive.chunks(member))
