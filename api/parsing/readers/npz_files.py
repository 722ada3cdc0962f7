"""Inputs and targets in one `.npz` file: a table, images or series."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from api.parsing.archive_files.archives import Archive, opened, visible
from api.parsing.archive_files.inflating import write_chunks
from api.parsing.canonical.grids import Grid, Labels, write_grid
from api.parsing.canonical.matrices import Matrix, row_blocks
from api.parsing.canonical.tables import check_columns, check_rows, emptied, write_table
from api.parsing.canonical.values import LONGEST_VALUE
from api.parsing.contract import Limits, Parsed, Refused, short
from api.parsing.readers.arrays import StoredArray, stored_array
from api.parsing.readers.npy_files import matrix_columns
from api.parsing.upload import Upload

_INPUTS = ("x", "inputs", "features", "images", "data")
_TARGETS = ("y", "targets", "labels")
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


def read_npz(upload: Upload) -> Parsed:
    """Read arrays that are found by their names: `x` and `y`, or `x_train`, `y_train`, `x_test` and `y_test`.

    Raises:
        Refused: if they are not there, do not fit together, or are of no shape that is data.

    """
    with opened(upload) as archive:
        inputs, targets = _found(archive, upload.scratch)
    rows = sum(array.shape[0] for array in inputs)
    check_rows(rows, upload.limits)
    labels = _joined(targets)
    if len(labels) != rows:
        raise Refused(
            "lengths", f"there are {rows:,} inputs and {len(labels):,} targets: save one target for each input"
        )
    axes = len(inputs[0].shape)
    if any(array.shape[1:] != inputs[0].shape[1:] for array in inputs):
        raise Refused("shape", "the inputs for training and for testing differ in shape: save them alike")
    notes = ("the rows for training come first, then those for testing",) if len(inputs) > 1 else ()
    if axes == 2:
        return _table(upload, inputs, labels, notes)
    if axes in (3, 4):
        return _grid(upload, inputs, labels, notes)
    raise Refused("shape", f"the inputs have {axes} axes: save a table with 2, series with 3 or images with 3 or 4")


def _found(archive: Archive, scratch: Path) -> tuple[list[StoredArray], list[StoredArray]]:
    members = {}
    for member in visible(archive):
        name = member.name.removesuffix(".npy").lower()
        if name in members:
            raise Refused("members", f"two arrays are called {short(name)}: save one of them under another name")
        members[name] = member

    def array(name: str, words: bool) -> StoredArray:
        path = write_chunks(archive.chunks(members[name]), scratch / f"array_{name}.npy")
        return stored_array(path, name, words)

    if all(f"{letter}_{part}" in members for letter in "xy" for part in ("train", "test")):
        return (
            [array("x_train", False), array("x_test", False)],
            [array("y_train", True), array("y_test", True)],
        )
    inputs, targets = _only(members, _INPUTS, "inputs"), _only(members, _TARGETS, "targets")
    return [array(inputs, False)], [array(targets, True)]


def _only(members: dict[str, Any], names: Sequence[str], role: str) -> str:
    found = [name for name in names if name in members]
    if not found:
        raise Refused("members", f"the npz holds no {role}: save them as {', '.join(names)}, or in parts for x_train")
    if len(found) > 1:
        raise Refused("members", f"{found[0]} and {found[1]} could both be the {role}: save one of them")
    return found[0]


def _joined(targets: list[StoredArray]) -> NDArray[Any]:
    for array in targets:
        if array.shape not in ((array.shape[0],), (array.shape[0], 1)):
            raise Refused("shape", "the targets have several numbers a row: save one number or word for each input")
    if len({array.dtype.kind == "U" for array in targets}) > 1:
        raise Refused("array_type", "the targets are words here and numbers there: save them alike")
    joined = np.concatenate([array.mapped().ravel() for array in targets])
    if joined.dtype.kind == "U":
        _check_words(joined)
    return joined.astype(joined.dtype.newbyteorder("="), copy=False)


def _check_words(words: NDArray[np.str_]) -> None:
    codes = words.astype(words.dtype.newbyteorder("=")).view(np.uint32)
    if ((codes > _LAST_CHARACTER) | ((codes >= _SURROGATES[0]) & (codes <= _SURROGATES[1]))).any():
        raise Refused("unreadable", "the targets hold characters that do not exist: save them again")


def _table(upload: Upload, inputs: list[StoredArray], labels: NDArray[Any], notes: tuple[str, ...]) -> Parsed:
    count = inputs[0].shape[1]
    check_columns(count + 1, upload.limits)
    columns = matrix_columns([array.mapped() for array in inputs])
    columns.append(pa.chunked_array([pa.array(labels if labels.dtype.kind != "b" else labels.astype(np.uint8))]))
    names = [*(f"x_{number}" for number in range(1, count + 1)), "y"]
    return write_table(upload, "npz", names, emptied(columns), notes)


def _grid(upload: Upload, inputs: list[StoredArray], labels: NDArray[Any], notes: tuple[str, ...]) -> Parsed:
    kind = inputs[0].dtype
    if any(array.dtype.kind != kind.kind for array in inputs) or not (kind == np.uint8 or kind.kind == "f"):
        raise Refused("array_type", f"images and series of type {kind} are not taken: save them as uint8 or float32")
    shape, last = _grid_shape(inputs[0])
    if 0 in shape:
        raise Refused("empty", "the inputs have an axis of length 0: save arrays with data")
    return write_grid(
        upload,
        Grid(
            format="npz",
            shape=shape,
            numbers="uint8" if kind == np.uint8 else "float32",
            blocks=_blocks(inputs, last),
            labels=_labels(labels, upload.limits),
            notes=notes,
        ),
    )


def _grid_shape(array: StoredArray) -> tuple[tuple[int, ...], bool]:
    """(C, H, W) or (C, L), and whether the channels come last."""
    _, *lengths = array.shape
    match lengths:
        case [height, width] if array.dtype == np.uint8:
            return (1, height, width), False
        case [channels, length]:
            return (channels, length), False
        case [height, width, (1 | 3) as channels]:
            return (channels, height, width), True
        case [(1 | 3) as channels, height, width]:
            return (channels, height, width), False
    raise Refused("shape", "the images have neither 1 nor 3 channels: save them as (N, height, width, channels)")


def _blocks(inputs: list[StoredArray], last: bool) -> Iterator[Matrix]:
    first = 0
    for array in inputs:
        rows = array.mapped()
        for some in row_blocks(len(rows), rows[0].nbytes):
            block = np.moveaxis(rows[some], -1, 1) if last else rows[some]
            yield _finite(block.reshape(len(block), -1), first + some.start)
        first += len(rows)


def _finite(block: Matrix, first: int) -> Matrix:
    if block.dtype.kind == "f":
        with np.errstate(over="ignore"):
            block = block.astype(np.float32)
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = first + int(np.argmin(finite)) + 1
            raise Refused("not_finite", f"input {row:,} holds NaN or infinite numbers: leave it out or fill it in")
    return block


def _labels(labels: NDArray[Any], limits: Limits) -> Labels:
    if labels.dtype.kind == "U":
        names, places = np.unique(labels, return_inverse=True)
        if len(names) > limits.classes:
            raise Refused("too_large", f"more than {limits.classes:,} classes exceed the limit: upload fewer of them")
        if any(len(name) > LONGEST_VALUE or "\0" in name for name in names.tolist()):
            raise Refused("labels", f"a class's name holds NUL or more than {LONGEST_VALUE} characters: shorten it")
        return Labels(places, tuple(names.tolist()))
    return Labels(labels.astype(np.uint8) if labels.dtype.kind == "b" else labels)
