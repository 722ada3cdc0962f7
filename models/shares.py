"""Whose turn it is: workers are shared out among owners, so that nobody waits for the whole queue of another.

Next is the owner whose runs and analyses occupy the fewest workers now, and among equals the one who was served the
longest ago. Priority and age order what is one owner's.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.status import LIVE, RunStatus
from models.tables import Analysis, Owner, Run


def enrol(session: Session, owner: str) -> None:
    """See to it that an owner gets turns."""
    if session.get(Owner, owner) is not None:
        return
    try:
        with session.begin_nested():
            session.add(Owner(name=owner, turn=0))
    except IntegrityError:
        pass  # another request of theirs was first


def turns(session: Session, waiting: ColumnElement[bool]) -> Sequence[str]:
    """The owners for whom something waits, in the order in which they are to be served.

    `waiting` is the condition, in terms of `Owner.name`, that something does.
    """
    training = (
        select(func.count(Run.cohort_id.distinct()))
        .where(Run.owner == Owner.name, Run.status.in_(LIVE))
        .correlate(Owner)
        .scalar_subquery()
    )
    measuring = (
        select(func.count(Analysis.worker_id.distinct()))
        .join(Run, Run.id == Analysis.run_id)
        .where(Run.owner == Owner.name, Analysis.status == RunStatus.RUNNING)
        .correlate(Owner)
        .scalar_subquery()
    )
    statement = select(Owner.name).where(waiting).order_by(training + measuring, Owner.turn, Owner.name)
    return session.scalars(statement).all()


def hold(session: Session, owner: str) -> Owner:
    """Keep others from serving an owner, and the owner from queueing more, until the transaction ends."""
    return session.get_one(Owner, owner, with_for_update=True)


def served(session: Session, owner: Owner) -> None:
    """Put an owner behind all others."""
    owner.turn = 1 + session.scalars(select(func.max(Owner.turn))).one()


def count_runs(session: Session, owner: str, statuses: frozenset[RunStatus], *, most: int) -> int:
    """How many runs of an owner have one of these statuses; counted no further than `most`."""
    some = select(Run.id).where(Run.owner == owner, Run.status.in_(statuses)).limit(most)
    return session.scalars(select(func.count()).select_from(some.subquery())).one()
