"""Cells that a spreadsheet program would run."""

import pyarrow as pa
import pyarrow.compute as pc

from api.parsing.contract import Refused, short

_FORMULA = r"(?s)^[=@+\-].+"
_NUMBER_LIKE = (
    r"(?i)^[+\-]\s?[$€£¥]?\s?(?:[0-9][0-9.,_' ]*|\.[0-9]+)(?:e[+\-]?[0-9]+)?\s?[%$€£¥]?$|^[+\-](?:inf|infinity|nan)$"
)


def check_formulas(name: str, distinct: pa.Array, cells: pa.ChunkedArray) -> None:
    """Refuses a column of text with a formula in it; `distinct` are its different values."""
    runs = pc.and_(
        pc.match_substring_regex(distinct, _FORMULA), pc.invert(pc.match_substring_regex(distinct, _NUMBER_LIKE))
    )
    formulas = distinct.filter(runs)
    if len(formulas) == 0:
        return
    row = pc.index(pc.is_in(cells, value_set=formulas), True).as_py() + 1
    raise Refused(
        "formula",
        f"column {short(name)}, row {row:,} begins like a formula, which spreadsheet programs would run: "
        "put an apostrophe or a space before it",
    )
