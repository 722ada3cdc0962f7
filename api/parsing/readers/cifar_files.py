"""CIFAR-10 and CIFAR-100 in their binary form: records of a label and 32 × 32 pixels in three colours."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from api.parsing.archive_files.archives import Archive, content, opened, visible
from api.parsing.archive_files.inflating import write_chunks
from api.parsing.canonical.grids import Grid, Labels, write_grid
from api.parsing.canonical.matrices import Matrix, row_blocks
from api.parsing.canonical.tables import check_rows
from api.parsing.canonical.values import LONGEST_VALUE
from api.parsing.contract import Parsed, Refused, short
from api.parsing.readers.known import digest, known_set
from api.parsing.upload import Upload, chunks_of

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_LONGEST_META = 64 * 1024
_ORDER = (re.compile(r"(data_batch|train)"), re.compile(r"test"))


@dataclass(frozen=True)
class _Set:
    classes: int
    label_bytes: int
    """The last of them is the label that is used."""
    meta: str
    batch: re.Pattern[str]

    @property
    def record(self) -> int:
        return self.label_bytes + _PIXELS


_TEN = _Set(10, 1, "batches.meta.txt", re.compile(r"(data_batch_\d+|test_batch)\.bin"))
_HUNDRED = _Set(100, 2, "fine_label_names.txt", re.compile(r"(train|test)\.bin"))


@dataclass(frozen=True)
class _Batch:
    name: str
    path: Path


def read_cifar(upload: Upload) -> Parsed:
    """Read batches of records, those for training first.

    Raises:
        Refused: if they are no whole number of records, or hold labels that the set does not have.

    """
    with upload.path.open("rb") as file:
        packed = file.read(2) in (b"PK", b"\x1f\x8b") or _is_tar(upload.path)
    if packed:
        with opened(upload) as archive:
            batches, texts = _unpacked(archive, upload.scratch)
    else:
        batches, texts = [_Batch("the file", upload.path)], {}
    if not batches:
        raise Refused("unreadable", "the archive holds no .bin file: upload the binary version of CIFAR")
    which = _which(batches, texts)
    numbers = np.concatenate([_labels(batch, which) for batch in batches])
    check_rows(len(numbers), upload.limits)
    names = _names(texts.get(which.meta, ""), which)
    notes = () if names else ("the file brings no names of the classes: they are numbered",)
    return write_grid(
        upload,
        Grid(
            format="cifar",
            shape=_SHAPE,
            numbers="uint8",
            blocks=_blocks(batches, which),
            labels=Labels.of_classes(numbers, names) if names else Labels(numbers),
            notes=notes,
            known=known_set([digest(chunks_of(upload.path))]),
        ),
    )


def _is_tar(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(257)
        return file.read(5) == b"ustar"


def _unpacked(archive: Archive, scratch: Path) -> tuple[list[_Batch], dict[str, str]]:
    batches, texts = [], {}
    for number, member in enumerate(visible(archive)):
        name = member.name.rsplit("/", 1)[-1]
        if name.endswith(".bin"):
            path = write_chunks(archive.chunks(member), scratch / f"batch_{number}")
            batches.append(_Batch(name, path))
        elif name.endswith(".txt") and member.size <= _LONGEST_META:
            texts[name] = content(archive, member).decode("utf-8", "replace")
    return sorted(batches, key=_place), texts


def _place(batch: _Batch) -> tuple[int, int, str]:
    """Training first, and batch 10 after batch 9."""
    role = next((place for place, pattern in enumerate(_ORDER) if pattern.match(batch.name)), len(_ORDER))
    digits = re.search(r"\d+", batch.name)
    return role, int(digits[0][:9]) if digits else 0, batch.name


def _which(batches: list[_Batch], texts: dict[str, str]) -> _Set:
    by_name = [
        which
        for which in (_TEN, _HUNDRED)
        if which.meta in texts or all(which.batch.fullmatch(batch.name) for batch in batches)
    ]
    fitting = [which for which in (_TEN, _HUNDRED) if all(_records(batch, which) is not None for batch in batches)]
    chosen = by_name or fitting
    if not chosen:
        raise Refused("unreadable", "the file is no whole number of CIFAR records of 3,073 or 3,074 bytes")
    return chosen[0]


def _records(batch: _Batch, which: _Set) -> int | None:
    records, rest = divmod(batch.path.stat().st_size, which.record)
    return records if records and not rest else None


def _labels(batch: _Batch, which: _Set) -> Matrix:
    records = _records(batch, which)
    if records is None:
        raise Refused(
            "unreadable",
            f"{short(batch.name)} is no whole number of records of {which.record:,} bytes: upload all of it",
        )
    labels: Matrix = np.array(_rows(batch, which)[:, which.label_bytes - 1])
    if labels.max() >= which.classes:
        row = int(np.argmax(labels >= which.classes)) + 1
        raise Refused(
            "labels",
            f"{short(batch.name)}, record {row:,} has a label beyond {which.classes - 1}: this is no CIFAR file",
        )
    return labels


def _rows(batch: _Batch, which: _Set) -> Matrix:
    return np.memmap(batch.path, np.uint8, "r").reshape(-1, which.record)


def _names(text: str, which: _Set) -> list[str]:
    """The names of the classes, if there is one for each."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    fits = len(names) == len(set(names)) == which.classes and all(
        len(name) <= LONGEST_VALUE and "\0" not in name for name in names
    )
    return names if fits else []


def _blocks(batches: list[_Batch], which: _Set) -> Iterator[Matrix]:
    for batch in batches:
        rows = _rows(batch, which)
        for some in row_blocks(len(rows), which.record):
            yield rows[some, which.label_bytes :]
