"""File permissions of a local stack: its files are accessible to its user only."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from descent.errors import DescentError

OTHERS = 0o077
"""Permission bits of the group and of other users."""


@contextmanager
def private_umask() -> Iterator[None]:
    """Within the block, this process and the programs that it starts create files for their user only."""
    before = os.umask(OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=private_opener)`; a new file has mode 0600 from its creation on."""
    return os.open(path, flags, 0o600)


def is_own(path: Path) -> bool:
    """Return whether a path belongs to this user: the file, and the symbolic link that leads to it."""
    if sys.platform == "win32":
        return True
    owners = {path.lstat().st_uid}
    # A link may lead to a file that does not exist yet.
    with suppress(FileNotFoundError):
        owners.add(path.stat().st_uid)
    return owners == {os.getuid()}


def is_private(path: Path) -> bool:
    """Return whether a path has no permissions for other users."""
    return not path.stat().st_mode & OTHERS


def make_private(path: Path) -> None:
    """Remove the permissions of other users from a path, if it exists.

    A file system without permissions ignores or refuses the change. That is not an error: see `is_private`.

    Raises:
        DescentError: if the path belongs to another user.

    """
    with suppress(FileNotFoundError):
        if not is_own(path):
            raise DescentError(
                f"{path} belongs to another user. Remove it, change its owner, or choose another folder with --state."
            )
        if not is_private(path):
            with suppress(OSError):
                path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
