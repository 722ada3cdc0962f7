"""Tables as Parquet."""

import pyarrow as pa
import pyarrow.parquet as pq

from api.parsing.canonical.tables import check_columns, check_rows, emptied, write_table
from api.parsing.contract import Parsed, Refused
from api.parsing.readers.arrow_errors import raise_if_out_of_memory
from api.parsing.upload import Upload


def read_parquet(upload: Upload) -> Parsed:
    """Read a Parquet file, after what it says of itself was held against the limits.

    Raises:
        Refused: if it is damaged, too large, or holds columns that are no column of numbers, dates or text.

    """
    try:
        # Opened here, since arrow would take a path for more than that.
        with pa.OSFile(str(upload.path)) as source, pq.ParquetFile(source) as file:
            _check(file.metadata, upload)
            table = file.read(use_threads=False)
        table.validate(full=True)
        names, columns = table.column_names, table.columns
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        raise_if_out_of_memory(error)
        raise Refused("unreadable", "the Parquet file is damaged or incomplete: write it again") from None
    del table
    return write_table(upload, "parquet", names, emptied(columns))


def _check(metadata: pq.FileMetaData, upload: Upload) -> None:
    check_rows(metadata.num_rows, upload.limits)
    check_columns(metadata.num_columns, upload.limits)
    for group in range(metadata.num_row_groups):
        upload.budget.spend(max(0, metadata.row_group(group).total_byte_size))
