# Made from descent/asynchronous/access.py: change that file, then `make format`.
"""The client's part for keys, and for what was done with them."""

from collections.abc import Iterator
from datetime import datetime

from descent.asking import Asking
from descent.naming import PAGE_SIZE, given, id_of
from models.access import Event, Key, NewKey, Scope
from models.answers import Job


class Access(Asking):
    """Who may do what, and who did what."""

    def create_key(
        self, owner: str, *, scope: Scope | str = Scope.SUBMIT, note: str = "", expires_at: datetime | None = None
    ) -> NewKey:
        """Make a key that acts for an owner. Only this answer has its secret. It takes a key of scope admin.

        Example:
            >>> made = client.create_key("ada", note="laptop")
            >>> made.key
            'dk_4be1f70a9c2d83e6_…'

        """
        wanted = {"owner": owner, "scope": str(scope), "note": note}
        if expires_at is not None:
            wanted["expires_at"] = expires_at.isoformat()
        return self._ask(NewKey, "POST", "/v1/keys", body=wanted)

    def keys(self, *, owner: str | None = None, page_size: int = PAGE_SIZE) -> Iterator[Key]:
        """Walk through the keys, newest first, revoked and expired ones too."""
        return self._pages(Key, "/v1/keys", given(owner=owner, limit=str(page_size)))

    def key(self, key_id: str) -> Key:
        return self._ask(Key, "GET", f"/v1/keys/{key_id}")

    def rotate_key(self, key_id: str, *, overlap_seconds: int = 0) -> NewKey:
        """Give a key a new secret; the old one opens for `overlap_seconds` longer."""
        return self._ask(NewKey, "POST", f"/v1/keys/{key_id}/rotate", body={"overlap_seconds": overlap_seconds})

    def revoke_key(self, key_id: str) -> None:
        """Let a key open nothing any more."""
        self._transport.send("DELETE", f"/v1/keys/{key_id}")

    def events(self, job: str | Job | None = None, *, page_size: int = PAGE_SIZE) -> Iterator[Event]:
        """Walk through what was done to a job, or to anything of one's own, newest first."""
        path = "/v1/events" if job is None else f"/v1/jobs/{id_of(job)}/events"
        return self._pages(Event, path, given(limit=str(page_size)))
