"""Pages of a list: keyset cursors that stay right while rows are added, and that nobody has to understand."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from fastapi import Query
from pydantic import BaseModel, StringConstraints, TypeAdapter
from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api.errors import invalid
from api.moments import Moment
from models.answers import Page
from models.tables import Instant

MAX_PAGE = 200
MAX_PAGE_BYTES = 2 * 1024**2
"""Of a page as JSON: it is serialized on the event loop."""

PageLimit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items of a page.")]
PageAfter = Annotated[str, Query(max_length=1_200, description="`next_after` of the page before.")]
PageSort = Annotated[Literal["newest", "oldest"], Query(description="Which items come first.")]

Row = TypeVar("Row")
Item = TypeVar("Item", bound=BaseModel)


class Key(NamedTuple):
    """Where a page ends: a moment, and an id or name that tells apart what shares it."""

    moment: Moment
    name: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


_KEY = TypeAdapter(Key)


def _checksum(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def encode(key: Key) -> str:
    text = json.dumps([key.moment.isoformat(), key.name], ensure_ascii=False)
    return base64.urlsafe_b64encode((_checksum(text) + text).encode()).decode().rstrip("=")


def decode(after: str) -> Key:
    """Read back what `encode` wrote.

    Raises:
        Refusal: if this server did not write it.

    """
    try:
        plain = base64.b64decode(after + "=" * (-len(after) % 4), altchars=b"-_", validate=True).decode()
        checksum, text = plain[:12], plain[12:]
        if checksum != _checksum(text):
            raise ValueError("changed on its way")
        key = _KEY.validate_json(text)
        if encode(key) != after:
            raise ValueError("written in another way")
        return key
    except ValueError:
        raise invalid("?after", "not_a_cursor", "send back a next_after that this server gave") from None


def listed(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    moment: InstrumentedAttribute[datetime],
    name: InstrumentedAttribute[str],
    *,
    after: str,
    limit: int,
    items: Callable[[Sequence[Any]], list[Item]],
    sort: PageSort = "newest",
) -> Page[Item]:
    """The page after a cursor, of the rows that a statement finds, by age.

    Raises:
        Refusal: if this server did not write the cursor.

    """
    is_newest_first = sort == "newest"
    if after:
        place = decode(after)
        known = tuple_(literal(place.moment, Instant()), literal(place.name))
        row = tuple_(moment, name)
        statement = statement.where(row < known if is_newest_first else row > known)
    order = (moment.desc(), name.desc()) if is_newest_first else (moment, name)
    # One row more than the page holds tells whether there are more.
    rows = session.scalars(statement.order_by(*order).limit(limit + 1)).all()
    return page(rows, limit, key=lambda row: Key(getattr(row, moment.key), getattr(row, name.key)), items=items)


def page(
    rows: Sequence[Row], limit: int, key: Callable[[Row], Key], items: Callable[[Sequence[Row]], list[Item]]
) -> Page[Item]:
    """Cut off the row that only tells that there are more, and make items of the others."""
    data = items(rows[:limit])
    count = _fitting(data)
    has_more = count < len(rows)
    return Page(data=data[:count], has_more=has_more, next_after=encode(key(rows[count - 1])) if has_more else None)


def _fitting(data: Sequence[BaseModel]) -> int:
    """Return how many items have MAX_PAGE_BYTES together as JSON, and at least one: the rest is for the next page."""
    size = 0
    for count, item in enumerate(data):
        size += len(item.model_dump_json())
        if size > MAX_PAGE_BYTES and count:
            return count
    return len(data)


def single_page(items: list[Item]) -> Page[Item]:
    """A list that is bounded by its nature."""
    return Page(data=items, has_more=False, next_after=None)
