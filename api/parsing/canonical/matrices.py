"""Write a matrix as a `.npy` file, a block of rows at a time.

Not through a mapping: its pages would count as the child's memory.
"""

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.parsing.contract import Limits, Refused

BLOCK_BYTES = 16 * 1024**2

Matrix = NDArray[Any]


def check_size(shape: tuple[int, ...], dtype: str, limits: Limits) -> None:
    """Refuses a matrix that would be too large for a file, before anything is allocated."""
    count = np.dtype(dtype).itemsize
    for length in shape:
        count *= length
    if count > limits.inflated_bytes:
        raise Refused(
            "too_large",
            f"as rows of numbers this takes {count:,} bytes of at most {limits.inflated_bytes:,}: upload fewer rows",
        )


def check_sizes(limits: Limits, *matrices: tuple[tuple[int, ...], str]) -> None:
    """Refuse the matrices of a data set, each a shape and a dtype, before anything is allocated.

    Raises:
        Refused: if one of them is too large for a file, or all of them exceed the rest of the owner's quota.

    """
    for shape, dtype in matrices:
        check_size(shape, dtype, limits)
    size = sum(len(_header(shape, dtype)) + math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in matrices)
    if limits.stored_bytes is not None and size > limits.stored_bytes:
        raise Refused(
            "over_quota",
            f"its rows take {size:,} bytes in storage, and {limits.stored_bytes:,} are left of your quota: delete data "
            "sets or jobs first, or upload fewer rows",
        )


def _header(shape: tuple[int, ...], dtype: str) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape})
    return header.getvalue()


def write_matrix(path: Path, shape: tuple[int, ...], dtype: str, blocks: Iterable[Matrix]) -> int:
    """Write blocks one below the other; they have `shape[0]` rows together. Returns the file's size in bytes."""
    written = 0
    with path.open("xb") as file:
        file.write(_header(shape, dtype))
        for block in blocks:
            assert block.shape[1:] == shape[1:]
            file.write(np.ascontiguousarray(block, dtype).data)
            written += len(block)
        assert written == shape[0]
        return file.tell()


def row_blocks(rows: int, row_bytes: int) -> Iterator[slice]:
    """Cut rows into blocks of a few megabytes."""
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))
