"""Whose rows a session may touch: the owner's alone, by a condition on every statement that it executes.

Nobody has to remember it: a statement that names a table of somebody's rows gets the condition, wherever in it the
table stands. What belongs to others is as absent as what never was, for reading, counting and changing.
"""

from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, String, column, event, exists, table
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column, with_loader_criteria

_OWNER = "owner"
"""In the `info` of a session."""


class Owned:
    """Of a table whose rows belong to somebody."""

    owner: Mapped[str] = mapped_column(String(64))
    """For whom the key acted that made it."""


class OfRun:
    """Of a table whose rows belong to a run, and with it to its owner."""

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))


def confined_to(owner: str | None) -> dict[str, Any]:
    """The `info` of a session that sees one owner's rows; for None, of one that sees everything."""
    return {_OWNER: owner}


def owner_of(info: dict[str, Any]) -> str | None:
    """Return the owner whose rows a session with this `info` sees, or None if it sees those of all owners."""
    owner: str | None = info[_OWNER]
    return owner


_run = table("runs", column("id"), column("owner")).alias("owners_run")
"""By a name of its own: the statement may have joined the runs already."""


@event.listens_for(Session, "do_orm_execute")
def _confine(state: ORMExecuteState) -> None:
    owner = state.session.info.get(_OWNER)
    if owner is None or state.is_column_load or state.is_relationship_load:
        # What hangs on a row is found by its keys, and the row was the owner's.
        return

    def of_owners_run(rows: Any) -> ColumnElement[bool]:
        return exists().where(_run.c.id == rows.run_id, _run.c.owner == owner)

    state.statement = state.statement.options(
        with_loader_criteria(Owned, lambda rows: rows.owner == owner, include_aliases=True),
        with_loader_criteria(OfRun, of_owners_run, include_aliases=True),
    )
