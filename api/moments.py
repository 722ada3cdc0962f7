"""Dates and times in requests."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator


def _no_number(value: Any) -> Any:
    try:
        float(value)
    except (TypeError, ValueError):
        return value
    raise ValueError("write it as 2026-11-25T12:00:00Z")


Moment = Annotated[datetime, BeforeValidator(_no_number)]
"""A date and time in words; a bare number could be seconds or milliseconds."""
