"""NumPy's own files, read without NumPy: a header that is no more than a type and a shape, and plain numbers."""

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from api.parsing.contract import Refused, short

MAGIC = b"\x93NUMPY"

_LENGTHS = {1: struct.Struct("<H"), 2: struct.Struct("<I"), 3: struct.Struct("<I")}
_LONGEST_HEADER = 10_000
_FORM = re.compile(
    r"\{\s*'descr':\s*(?P<type>'[^']{1,16}'|\[.*\]|\(.*\)),\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\((?P<shape>[\dL, ]*)\),?\s*\}\s*",
    re.DOTALL,
)
_NUMBERS = re.compile(r"[<>|=]?(?:b1|i[1248]|u[1248]|f[248])")
_WORDS = re.compile(r"[<>=]?U\d{1,6}")
_PYTHON_OBJECTS = re.compile(r"[|<>=]?O\d?")


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
    form, start = _header(path, name)
    kind = form["type"].strip("'")
    if _PYTHON_OBJECTS.fullmatch(kind):
        raise Refused("pickled", f"{short(name)} holds pickled Python objects, which could run: save plain numbers")
    if not (_NUMBERS.fullmatch(kind) or (words and _WORDS.fullmatch(kind))):
        raise Refused(
            "array_type", f"{short(name)} is of type {short(kind)}: save booleans, integers or floats of up to 64 bits"
        )
    shape = tuple(int(length) for length in form["shape"].replace("L", "").replace(" ", "").split(",") if length)
    dtype = np.dtype(kind)
    expected, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    if expected != there:
        raise Refused(
            "unreadable",
            f"{short(name)} should hold {expected:,} bytes of numbers and holds {there:,}: save it again",
        )
    if there == 0:
        raise Refused("empty", f"{short(name)} is empty: save an array with data")
    return StoredArray(path, start, dtype, shape, form["fortran"] == "True")


def _header(path: Path, name: str) -> tuple[re.Match[str], int]:
    with path.open("rb") as file:
        magic = file.read(8)
        length = _LENGTHS.get(magic[6]) if len(magic) == 8 and magic.startswith(MAGIC) else None
        field = file.read(length.size) if length else b""
        if length is None or len(field) != length.size:
            raise _broken(name)
        size = length.unpack(field)[0]
        header = file.read(min(size, _LONGEST_HEADER))
        form = _FORM.fullmatch(header.decode("latin-1"))
        if len(header) != size or form is None or any(len(n) > 18 for n in form["shape"].split(",")):
            raise _broken(name)
        return form, file.tell()


def _broken(name: str) -> Refused:
    return Refused("unreadable", f"{short(name)} has no readable NumPy header: save it with numpy.save")
