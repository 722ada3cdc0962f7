"""Write a matrix as a `.npy` file, a block of rows at a time.

Not through a mapping: its pages would count as the child's memory.
"""

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


def write_matrix(path: Path, shape: tuple[int, ...], dtype: str, blocks: Iterable[Matrix], limits: Limits) -> int:
    """Write blocks one below the other; they have `shape[0]` rows together. Returns the file's size in bytes."""
    check_size(shape, dtype, limits)
    written = 0
    with path.open("xb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
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
