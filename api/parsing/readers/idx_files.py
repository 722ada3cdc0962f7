"""Images and labels in the format of MNIST: pairs of idx files in one archive, each gzipped or not."""

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from api.parsing.archive_files.archives import Archive, opened, visible
from api.parsing.archive_files.inflating import GZIP, gunzipped, write_chunks
from api.parsing.archive_files.members import Member
from api.parsing.canonical.grids import Grid, Labels, write_grid
from api.parsing.canonical.matrices import Matrix, row_blocks
from api.parsing.canonical.tables import check_rows
from api.parsing.contract import Parsed, Refused, short
from api.parsing.readers.known import known_set
from api.parsing.upload import Upload, chunks_of

IMAGES_MAGIC, LABELS_MAGIC = b"\0\0\x08\x03", b"\0\0\x08\x01"

_AXES = {IMAGES_MAGIC: 3, LABELS_MAGIC: 1}
_ROLE = re.compile(r"[-_.]?(images|labels).*$")
_FIRST = "train"


@dataclass(frozen=True)
class _File:
    name: str
    path: Path
    magic: bytes
    shape: tuple[int, ...]
    sha256: str

    @property
    def stem(self) -> str:
        """What the images and the labels that belong together have in common."""
        return _ROLE.sub("", self.name.rsplit("/", 1)[-1].lower())

    @property
    def start(self) -> int:
        return 4 + 4 * len(self.shape)


def read_idx(upload: Upload) -> Parsed:
    """Read pairs of images and labels, those for training first.

    Raises:
        Refused: if a file is damaged, or has no counterpart.

    """
    with opened(upload) as archive:
        files = [_file(archive, member, upload, number) for number, member in enumerate(visible(archive))]
    pairs = _pairs(files)
    check_rows(sum(images.shape[0] for images, _ in pairs), upload.limits)
    sizes = {images.shape[1:] for images, _ in pairs}
    if len(sizes) > 1:
        raise Refused("shape", "the images of the idx files differ in size: upload one size at a time")
    for images, labels in pairs:
        if images.shape[0] != labels.shape[0]:
            raise Refused(
                "lengths",
                f"{short(images.name)} holds {images.shape[0]:,} images and {short(labels.name)} "
                f"{labels.shape[0]:,} labels: upload files that belong together",
            )
    numbers = np.concatenate([np.fromfile(labels.path, np.uint8, offset=labels.start) for _, labels in pairs])
    return write_grid(
        upload,
        Grid(
            format="idx",
            shape=(1, *sizes.pop()),
            numbers="uint8",
            blocks=_blocks([images for images, _ in pairs]),
            labels=Labels(numbers),
            notes=("the rows for training come first, then the others",) if len(pairs) > 1 else (),
            known=known_set(file.sha256 for file in files),
        ),
    )


def _file(archive: Archive, member: Member, upload: Upload, number: int) -> _File:
    sha256 = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for chunk in archive.chunks(member):
            sha256.update(chunk)
            yield chunk

    path = write_chunks(hashed(), upload.scratch / f"member_{number}")
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
    if zipped:
        chunks = gunzipped(chunks_of(path), member.size, member.name, upload.limits, upload.budget)
        path = write_chunks(chunks, upload.scratch / f"inflated_{number}")
    magic, shape = _header(path, member.name)
    return _File(member.name, path, magic, shape, sha256.hexdigest())


def _header(path: Path, name: str) -> tuple[bytes, tuple[int, ...]]:
    with path.open("rb") as file:
        magic = file.read(4)
        axes = _AXES.get(magic)
        if axes is None:
            raise Refused("wrong_format", f"{short(name)} is no idx file of images or labels in bytes: leave it out")
        lengths = file.read(4 * axes)
    if len(lengths) != 4 * axes:
        raise Refused("unreadable", f"{short(name)} ends in its header: pack it again, complete")
    shape = struct.unpack(f">{axes}I", lengths)
    expected, there = 1, path.stat().st_size - 4 - 4 * axes
    for length in shape:
        expected *= length
    if expected != there:
        raise Refused(
            "unreadable", f"{short(name)} should hold {expected:,} bytes and holds {there:,}: pack it again, complete"
        )
    if expected == 0:
        raise Refused("empty", f"{short(name)} is empty: upload one with data")
    return magic, shape


def _pairs(files: list[_File]) -> list[tuple[_File, _File]]:
    images = [file for file in files if file.magic == IMAGES_MAGIC]
    labels = [file for file in files if file.magic == LABELS_MAGIC]
    if not images:
        raise Refused("labels", "there is no idx file of images: upload images and labels in one zip")
    if len(images) == len(labels) == 1:
        return [(images[0], labels[0])]
    of_stem = {file.stem: file for file in labels}
    if len(of_stem) != len(labels) or len({file.stem for file in images}) != len(images):
        raise Refused("labels", "several idx files have one name: upload each once, with names as MNIST has them")
    pairs = []
    for file in sorted(images, key=lambda file: (not file.stem.startswith(_FIRST), file.stem)):
        if file.stem not in of_stem:
            raise Refused("labels", f"{short(file.name)} is an image file without its labels: upload both in one zip")
        pairs.append((file, of_stem.pop(file.stem)))
    if of_stem:
        name = next(iter(of_stem.values())).name
        raise Refused("labels", f"{short(name)} is a label file without its images: upload both in one zip")
    return pairs


def _blocks(images: list[_File]) -> Iterator[Matrix]:
    for file in images:
        rows, height, width = file.shape
        pixels = np.memmap(file.path, np.uint8, "r", offset=file.start, shape=(rows, height * width))
        for some in row_blocks(rows, height * width):
            yield pixels[some]
