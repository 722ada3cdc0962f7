"""Dates and times in requests."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator


def _no_number(value: Any) -> Any:
    try:
        float(value)
    except (TypeError, ValueError):
        return value
    raise ValueError("write it as 2026-11-25T12:00:00Z")


def _in_utc(moment: datetime) -> datetime:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC this lies outside the years 1 to 9999") from None


Moment = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_in_utc)]
"""A date and time in words, in UTC unless it names another zone; a bare number could be seconds or milliseconds."""
