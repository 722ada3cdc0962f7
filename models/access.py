"""Who may do what: scopes, keys, and the record of what was done."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from models.answers import Answer

OwnerName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]*$"), Field()
]
ADMIN = "admin"
"""For whom the key of the settings acts."""


class Scope(StrEnum):
    """What a key lets its holder do."""

    READ = "read"
    """Look at what is the owner's."""
    SUBMIT = "submit"
    """Look at it, add to it, change it."""
    ADMIN = "admin"
    """All of that with what is anybody's; keys, workers, housekeeping."""
    METRICS = "metrics"
    """Scrape `/metrics`, and nothing else."""

    def includes(self, other: "Scope") -> bool:
        match self:
            case Scope.ADMIN:
                return True
            case Scope.SUBMIT:
                return other in (Scope.READ, Scope.SUBMIT)
            case _:
                return other is self


class Key(Answer):
    """A key, without its secret."""

    id: str
    owner: str
    """Whose jobs, sweeps and data sets it sees and makes; several keys may act for one owner."""
    scope: Scope
    note: str
    created_at: datetime
    expires_at: datetime | None
    """From when on it opens nothing; null: never."""
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    is_valid: bool


class NewKey(Key):
    """A key with its secret, which is shown this once."""

    key: str
    """What to send as `Authorization: Bearer …`."""


class Event(Answer):
    """Something that somebody did to a job, a sweep, a data set or a key."""

    id: str
    happened_at: datetime
    action: str
    """submitted, relabelled, extended, paused, resumed, retried, cancelled, deleted, analysed, test_opened; uploaded;
    created, rotated, revoked; house_kept."""
    subject_id: str
    """The id of what it was done to."""
    owner: str
    """Whose that is."""
    actor: str
    """Who did it: the owner that the key acts for."""
    key_id: str
    """With which key."""
    request_id: str
    """Of the request, as the log has it."""
    detail: dict[str, Any]
