"""NumPy's own files: numbers that lie as their header says, and nothing that could run."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from api.parsing.contract import Refused, short

MAGIC = npy.MAGIC_PREFIX

_NUMBERS, _WORDS = "biuf", "U"
_WIDEST_NUMBER = 8
_WIDEST_WORD = 4_000_000
"""Bytes; four a character."""


@dataclass(frozen=True)
class StoredArray:
    """An array that lies in a file, whose size agrees with its header."""

    path: Path
    start: int
    """Where the numbers begin."""
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool

    def mapped(self) -> NDArray[Any]:
        """The array, read from the file where it is looked at."""
        return np.memmap(
            self.path, self.dtype, "r", offset=self.start, shape=self.shape, order="F" if self.fortran else "C"
        )


def stored_array(path: Path, name: str, words: bool = False) -> StoredArray:
    """What lies in a `.npy` file; text of fixed width only where `words` are welcome.

    Raises:
        Refused: for pickles, for records, and where header and size disagree.

    """
    shape, fortran, dtype, start = _header(path, name)
    if dtype.hasobject:
        raise Refused("pickled", f"{short(name)} holds pickled Python objects, which could run: save plain numbers")
    is_number = dtype.kind in _NUMBERS and dtype.itemsize <= _WIDEST_NUMBER
    if not (is_number or (words and dtype.kind == _WORDS and dtype.itemsize <= _WIDEST_WORD)):
        raise Refused(
            "array_type",
            f"{short(name)} is of type {short(str(dtype))}: save booleans, integers or floats of up to 64 bits",
        )
    expected, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    if expected != there:
        raise Refused(
            "unreadable",
            f"{short(name)} should hold {expected:,} bytes of numbers and holds {there:,}: save it again",
        )
    if there == 0:
        raise Refused("empty", f"{short(name)} is empty: save an array with data")
    return StoredArray(path, start, dtype, shape, fortran)


def _header(path: Path, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, type, and where the numbers begin."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        try:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except (ValueError, TypeError, OverflowError, SyntaxError, TokenError, RecursionError):
            raise _broken(name) from None
        if any(length < 0 for length in shape):
            raise _broken(name)
        return shape, fortran, dtype, file.tell()


def _broken(name: str) -> Refused:
    return Refused("unreadable", f"{short(name)} has no readable NumPy header: save it with numpy.save")
