"""Raw rows, as somebody sends them, to the cells of a data set: numbers, as `models.stored` has them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite, nan
from typing import Any

import numpy as np

from models.stored import EMPTY_CELLS
from worker.training.transformations import CategoryInput, Cells, NumberInput

SECONDS_A_DAY = 86_400


class RefusedRow(ValueError):
    """A row that does not fit; `pointer` names the place among the rows."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


def table_cells(rows: Sequence[Any], columns: Sequence[NumberInput | CategoryInput]) -> Cells:
    """Cells (R, columns) of rows that name their columns; other columns than these do not matter.

    Raises:
        RefusedRow: if a column is absent, or holds what it cannot.

    """
    cells = np.empty((len(rows), len(columns)))
    numbers = {
        column.name: {value: number for number, value in enumerate(column.values)}
        for column in columns
        if isinstance(column, CategoryInput)
    }
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise RefusedRow(f"/rows/{index}", "this must be an object: column name to value")
        for place, column in enumerate(columns):
            if column.name not in row:
                raise RefusedRow(f"/rows/{index}", f'"{column.name}" is missing: an empty cell is null')
            value = row[column.name]
            if value is None or (isinstance(value, str) and value.strip() in EMPTY_CELLS):
                cells[index, place] = nan
            elif isinstance(column, CategoryInput):
                # One past the end of the values stands for those that no training row had.
                cells[index, place] = numbers[column.name].get(_text(value), len(column.values))
            else:
                try:
                    cells[index, place] = _number(value, column.type)
                except ValueError as error:
                    pointer = f"/rows/{index}/{column.name.replace('~', '~0').replace('/', '~1')}"
                    raise RefusedRow(pointer, str(error)) from None
    return cells


def grid_cells(rows: Sequence[Any], numbers: int) -> Cells:
    """Cells (R, numbers) of rows that are lists of numbers, nested as may be.

    Raises:
        RefusedRow: if one is something else, or of another length.

    """
    cells = np.empty((len(rows), numbers))
    for index, row in enumerate(rows):
        try:
            flat = np.asarray(list(row.values()) if isinstance(row, dict) else row, np.float64).ravel()
        except (ValueError, TypeError):
            raise RefusedRow(f"/rows/{index}", f"this must be a list of {numbers:,} numbers") from None
        if len(flat) != numbers or not np.isfinite(flat).all():
            raise RefusedRow(f"/rows/{index}", f"this must be {numbers:,} finite numbers, and it has {flat.size:,}")
        cells[index] = flat
    return cells


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _number(value: Any, kind: str) -> float:
    """Raises ValueError, in words for the sender."""
    if kind == "date" and isinstance(value, str):
        return _days(value)
    if kind == "boolean" and isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return float(value.strip().lower() == "true")
    try:
        number = float(value)
    except (TypeError, ValueError):
        wanted = {"date": "a date such as 2026-01-31", "boolean": "true or false"}.get(kind, "a number")
        raise ValueError(f"this must be {wanted}") from None
    if not isfinite(number):
        raise ValueError("this must be a finite number")
    return number


def _days(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("this must be a date such as 2026-01-31 or 2026-01-31T12:00:00") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp() / SECONDS_A_DAY
