"""A table as one matrix of numbers: a `.npy` file."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from api.parsing.canonical.tables import check_columns, check_rows, emptied, given_names, write_table
from api.parsing.contract import Parsed, Refused
from api.parsing.readers.arrays import stored_array
from api.parsing.upload import Upload


def read_npy(upload: Upload) -> Parsed:
    """Read a matrix (N, C) as a table.

    Raises:
        Refused: for any other shape, and what `stored_array` refuses.

    """
    array = stored_array(upload.path, "the array")
    if len(array.shape) == 1:
        raise Refused("shape", "the array has one axis: save a matrix with a row for each example")
    if len(array.shape) != 2:
        raise Refused("shape", f"the array has {len(array.shape)} axes: put it into an npz with its targets")
    rows, count = array.shape
    check_rows(rows, upload.limits)
    check_columns(count, upload.limits)
    names = [f"column_{number}" for number in range(1, count + 1)]
    columns = matrix_columns([array.mapped()])
    return write_table(upload, "npy", names, emptied(columns), [given_names(names)])


def matrix_columns(matrices: list[NDArray[Any]]) -> list[pa.ChunkedArray]:
    """The columns of matrices (N, C) that stand one below the other."""
    # Turned as a whole: column after column would go through the file as often as it has columns.
    turned = [np.ascontiguousarray(matrix.T, matrix.dtype.newbyteorder("=")) for matrix in matrices]
    return [pa.chunked_array([pa.array(matrix[place]) for matrix in turned]) for place in range(len(turned[0]))]
