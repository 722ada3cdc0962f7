"""Files on their way into an upload: one as it is, several or a folder as one zip.

The zip depends on nothing but the names and the bytes of its files, so that the same files are the same data set
whenever they are sent. It is not compressed: images and gzipped files would gain nothing by it.
"""

import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from descent.errors import DescentError

LONGEST_NAME = 200
_ENDINGS = frozenset(
    {".gz", ".tgz", ".tar", ".zip", ".csv", ".tsv", ".txt", ".parquet", ".npy", ".npz", ".bin", ".pq", ".tab", ".data"}
)
_LITTER = frozenset({"__MACOSX", "Thumbs.db", "thumbs.db", "desktop.ini"})
_WHEN = (1980, 1, 1, 0, 0, 0)
"""The first moment that a zip knows."""
_UNIX = 3
_PIECE_BYTES = 1024**2


@contextmanager
def one_file(paths: Sequence[Path]) -> Iterator[Path]:
    """The file to send, which may be gone afterwards.

    Raises:
        DescentError: if a path is not there, cannot be read, or holds nothing.

    """
    if not paths:
        raise DescentError("There is nothing to upload: name a file, several files, or a folder.")
    for path in paths:
        _check(path)
    if len(paths) == 1 and paths[0].is_file():
        yield paths[0]
        return
    members = _members(paths)
    with TemporaryDirectory(prefix="descent-upload-") as folder:
        packed = Path(folder) / "upload.zip"
        _pack(members, packed)
        yield packed


def default_name(paths: Sequence[Path]) -> str:
    """What a data set is called when nobody says: as its file without endings, or as the folder of its files."""
    first = Path(os.path.abspath(paths[0]))
    if len(paths) > 1:
        name = first.parent.name
    elif first.is_dir():
        name = first.name
    else:
        name = first.name
        while Path(name).suffix.lower() in _ENDINGS:
            name = Path(name).stem
    return "".join(letter for letter in name if letter.isprintable())[:LONGEST_NAME].strip()


def _check(path: Path) -> None:
    if path.is_dir():
        return
    if not path.exists():
        raise DescentError(f"{path} does not exist")
    if not path.is_file():
        raise DescentError(f"{path} is neither a file nor a folder")
    if not path.stat().st_size:
        raise DescentError(f"{path} is empty")
    if not os.access(path, os.R_OK):
        raise DescentError(f"{path} cannot be read: Permission denied")


def _members(paths: Sequence[Path]) -> dict[str, Path]:
    """Every file by its name in the zip: within a single folder that from there on, else with its folder's name."""
    members: dict[str, Path] = {}
    for path in paths:
        root = path if len(paths) == 1 else Path(os.path.abspath(path)).parent
        files = list(_files(path)) if path.is_dir() else [path]
        if not files:
            raise DescentError(f"{path} holds no files")
        for file in files:
            name = Path(os.path.abspath(file)).relative_to(os.path.abspath(root)).as_posix()
            if name in members:
                raise DescentError(f"{members[name]} and {file} would both be called {name}: give one another name")
            members[name] = file
    return members


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, less what file managers leave there."""

    def fail(error: OSError) -> None:
        raise DescentError(f"{error.filename} cannot be read: {error.strerror}") from error

    for inside, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not _is_litter(name)]
        for name in folders:
            # Followed, it could lead in a circle; left out, a class would be missing.
            if (link := Path(inside, name)).is_symlink():
                raise DescentError(f"{link} is a link to a folder: put the folder itself there")
        yield from (file for name in files if not _is_litter(name) and (file := Path(inside, name)).is_file())


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in _LITTER


def _pack(members: dict[str, Path], packed: Path) -> None:
    try:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(members):
                entry = zipfile.ZipInfo(name, _WHEN)
                entry.create_system, entry.external_attr = _UNIX, 0o644 << 16
                entry.file_size = members[name].stat().st_size  # tells whether its numbers need 64 bits
                with members[name].open("rb") as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, _PIECE_BYTES)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise DescentError(f"The files cannot be packed: {place}{error.strerror}") from error
    except UnicodeEncodeError:
        raise DescentError(f"{name!a} is no name that can be sent: rename the file") from None
