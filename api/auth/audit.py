"""What somebody did, written down in the transaction in which they did it."""

from typing import Any, NamedTuple, Protocol

from sqlalchemy.orm import Session

from api.auth.principals import Principal
from models.access import ADMIN
from models.tables import Event, new_id, now


class Subject(Protocol):
    """What something is done to."""

    @property
    def id(self) -> str: ...
    @property
    def owner(self) -> str: ...


class Whole(NamedTuple):
    """The service itself, as a subject."""

    id: str = "service"
    owner: str = ADMIN


def record(session: Session, principal: Principal, action: str, subject: Subject, **detail: Any) -> None:
    """Note that a principal did something. It is kept even if what it was done to is deleted."""
    session.add(
        Event(
            id=new_id("event"),
            owner=subject.owner,
            subject_id=subject.id,
            action=action,
            actor=principal.owner,
            key_id=principal.key_id,
            request_id=principal.request_id,
            detail=detail,
            happened_at=now(),
        )
    )
