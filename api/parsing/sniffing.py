"""Tell the format of a file by what it holds; its name is not asked."""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

from api.parsing.archive_files.archives import ZIP, Archive, opened, visible
from api.parsing.archive_files.inflating import GZIP
from api.parsing.contract import Format, Refused, short
from api.parsing.readers.arrays import MAGIC
from api.parsing.readers.idx_files import IMAGES_MAGIC, LABELS_MAGIC
from api.parsing.readers.image_folders import SUFFIXES
from api.parsing.upload import Upload

_HEAD = 4096
_TAR = slice(257, 262)
_AFTER_A_NAME = (b",", b";", b"\t", b"\r", b"\n")
_OFFICE = ("xl/workbook.xml", "content.xml", "word/document.xml")
_OTHERS = {
    b"\x89PNG": "a single image: pack folders of images, one for each class, into a zip",
    b"\xff\xd8\xff": "a single image: pack folders of images, one for each class, into a zip",
    b"%PDF": "a PDF document: upload the data as CSV",
    b"ARROW1\0\0": "an Arrow file: write it as Parquet",
    b"\x89HDF": "an HDF5 file: save its arrays as npz",
    b"SQLite format 3\0": "a database: export a table as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save the sheet as CSV",
    b"BZh": "compressed with bzip2: pack it with gzip or as a zip",
    b"\xfd7zXZ": "compressed with xz: pack it with gzip or as a zip",
    b"7z\xbc\xaf": "a 7z archive: pack it as a zip",
    b"Rar!\x1a": "a RAR archive: pack it as a zip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: pack it with gzip or as a zip",
}


def sniffed(upload: Upload) -> Format | Literal["archive"]:
    """The format of a file by its first bytes; whatever is nothing else passes for text.

    Raises:
        Refused: if it is known to be something that is not taken.

    """
    if upload.path.stat().st_size == 0:
        raise Refused("empty", "the file is empty: upload one with data")
    head, gzipped = _head(upload.path)
    for beginning, words in _OTHERS.items():
        if head.startswith(beginning):
            raise Refused("unknown_format", f"the file is {words}")
    parquet = head.startswith(b"PAR1") and head[4:5] not in _AFTER_A_NAME
    if gzipped and (parquet or head.startswith(MAGIC) or head[:4] in ZIP):
        raise Refused("unknown_format", "the file need not be gzipped: upload it as it was before")
    if parquet:
        return "parquet"
    if head.startswith(MAGIC):
        return "npy"
    if head[:4] in (IMAGES_MAGIC, LABELS_MAGIC):
        return "idx"
    if head[:4] in ZIP or head[_TAR] == b"ustar":
        return "archive"
    first_line = head.split(b"\n", 1)[0]
    tabs, others = first_line.count(b"\t"), max(first_line.count(b","), first_line.count(b";"))
    return "tsv" if tabs > others else "csv"


def packed(upload: Upload) -> Format:
    """The format of what an archive holds."""
    with opened(replace(upload)) as archive:  # a copy, since looking is not paid for
        return _packed(archive)


def _head(path: Path) -> tuple[bytes, bool]:
    """The first bytes of a file, of what is inside where it is gzipped; and whether it is."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head.startswith(GZIP):
        return head, False
    try:
        return zlib.decompressobj(31).decompress(head, _HEAD), True
    except zlib.error:
        raise Refused("unreadable", "the file is damaged gzip data: pack it again") from None


def _packed(archive: Archive) -> Format:
    members = visible(archive)
    if not members:
        raise Refused("empty", "the archive is empty: pack files into it")
    names = [member.name.lower() for member in members]
    if any(name in _OFFICE for name in names):
        raise Refused("unknown_format", "the file is an office document: save the sheet as CSV")
    if all(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.endswith(SUFFIXES) for name in names):
        return "images"
    if any(name.endswith(".bin") for name in names):
        return "cifar"
    if any("idx1" in name or "idx3" in name for name in names):
        return "idx"
    if any(next(archive.chunks(member), b"")[:4] in (IMAGES_MAGIC, LABELS_MAGIC) for member in members[:4]):
        return "idx"
    if any(name.endswith((".csv", ".tsv", ".parquet", ".npy")) for name in names):
        raise Refused("unknown_format", f"{short(members[0].name)} need not be packed: upload the file itself")
    raise Refused(
        "unknown_format",
        f"the archive holds no images, idx files, CIFAR batches or arrays, but {short(members[0].name)}: "
        "pack one of these",
    )
