"""Images in folders that bear the names of their classes, packed into a zip or a tar."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from api.parsing.archive_files.archives import Archive, content, opened, visible
from api.parsing.archive_files.members import Member
from api.parsing.canonical.grids import Grid, Labels, write_grid
from api.parsing.canonical.matrices import Matrix, check_size, row_blocks
from api.parsing.canonical.tables import check_rows
from api.parsing.canonical.values import LONGEST_VALUE
from api.parsing.contract import Limits, Parsed, Refused, short
from api.parsing.readers.pixels import careful_pillow, header, pixels
from api.parsing.upload import Upload

SUFFIXES = (".png", ".jpg", ".jpeg")

_OTHER_IMAGES = (".gif", ".bmp", ".webp", ".tif", ".tiff", ".heic", ".avif", ".svg")
_LARGEST_GUESS = 64


@dataclass(frozen=True)
class _Found:
    """Which size and colours all images can have."""

    size: tuple[int, int]
    """Width and height."""
    gray: bool
    note: str | None = None


def read_images(upload: Upload) -> Parsed:
    """Read every image twice: first its size and its colours, then its pixels.

    Raises:
        Refused: if there are no two classes, or an image is damaged or too large.

    """
    limits = upload.limits
    with opened(upload) as archive, careful_pillow(limits):
        members, notes = _images(archive)
        check_rows(len(members), limits)
        names, classes = _classes(members)
        if len(names) > limits.classes:
            raise Refused("too_large", f"more than {limits.classes:,} classes exceed the limit: upload fewer of them")
        found = _found(archive, members, upload)
        if found.note:
            notes.append(found.note)
        (width, height), channels = found.size, 1 if found.gray else 3
        check_size((len(members), channels * height * width), "uint8", limits)
        return write_grid(
            upload,
            Grid(
                format="images",
                shape=(channels, height, width),
                numbers="uint8",
                blocks=_blocks(archive, members, found, limits),
                labels=Labels(np.array(classes), tuple(names)),
                notes=tuple(notes),
            ),
        )


def _images(archive: Archive) -> tuple[list[Member], list[str]]:
    """Images by name, and what is said of the other files."""
    images: list[Member] = []
    others: list[Member] = []
    for member in visible(archive):
        name = member.name.lower()
        if name.endswith(_OTHER_IMAGES):
            raise Refused("wrong_format", f"{short(member.name)} is neither PNG nor JPEG: save it as PNG")
        (images if name.endswith(SUFFIXES) else others).append(member)
    if not images:
        raise Refused("empty", "the archive holds no PNG or JPEG images: pack folders of them")
    notes = []
    if others:
        and_more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        notes.append(f"left out, for they are no images: {short(others[0].name)}{and_more}")
    return sorted(images, key=lambda member: member.name), notes


def _classes(members: Sequence[Member]) -> tuple[list[str], list[int]]:
    """The names of the classes, sorted, and each image's place among them."""
    paths = [member.name.split("/") for member in members]
    if all(len(path) > 2 and path[0] == paths[0][0] for path in paths):
        paths = [path[1:] for path in paths]
    for member, path in zip(members, paths, strict=True):
        if len(path) != 2:
            raise Refused("labels", f"{short(member.name)} lies in no folder of a class: pack images as class/name.png")
        if len(path[0]) > LONGEST_VALUE:
            raise Refused("labels", f"a folder's name has more than {LONGEST_VALUE} characters: shorten it")
    folders = [path[0] for path in paths]
    names = sorted(set(folders))
    if len(names) < 2:
        raise Refused("labels", "all images lie in one folder: pack a folder for each of two or more classes")
    place = {name: number for number, name in enumerate(names)}
    return names, [place[folder] for folder in folders]


def _found(archive: Archive, members: Sequence[Member], upload: Upload) -> _Found:
    headers = [header(content(archive, member), member.name, upload.limits) for member in members]
    sizes, gray = {size for size, _ in headers}, all(is_gray for _, is_gray in headers)
    side = upload.options.image_size
    if side is None and len(sizes) == 1:
        return _Found(sizes.pop(), gray)
    if side is None:
        side = min(_LARGEST_GUESS, median_low(length for size, _ in headers for length in size))
        return _Found((side, side), gray, f"images of several sizes were resized to {side} x {side}")
    resized = sizes != {(side, side)}
    return _Found((side, side), gray, f"images were resized to {side} x {side}" if resized else None)


def _blocks(archive: Archive, members: Sequence[Member], found: _Found, limits: Limits) -> Iterator[Matrix]:
    width, height = found.size
    for some in row_blocks(len(members), width * height * (1 if found.gray else 3)):
        yield np.stack(
            [pixels(content(archive, member), member.name, found.size, found.gray, limits) for member in members[some]]
        )
