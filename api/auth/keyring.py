"""Whom a key stands for: looked up in the database, and remembered for two seconds."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from api.auth.principals import Principal
from api.auth.secrets import digest_of, id_in, is_one_of
from models.access import ADMIN, Scope
from models.database import Database
from models.tables import Key, now

REMEMBERED_SECONDS = 2.0
"""For so long a key that was revoked in another process still opens."""
MOST_REMEMBERED = 10_000
USE_SECONDS = 60.0
"""The use of a key is written down this often."""

log = structlog.get_logger()


@dataclass(frozen=True)
class _Known:
    """A key as the database had it."""

    principal: Principal
    digest: str
    previous: str | None
    previous_until: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None
    looked_at: float

    def opens(self, digest: str) -> bool:
        moment = now()
        if self.expires_at is not None and self.expires_at <= moment:
            return False
        fitting = [self.digest]
        if self.previous is not None and self.previous_until is not None and moment < self.previous_until:
            fitting.append(self.previous)
        return is_one_of(digest, fitting)


class Keyring:
    """One for an API process."""

    def __init__(self, database: Database, admin_key: str) -> None:
        self._database = database
        self._admin = Principal(ADMIN, Scope.ADMIN, "settings")
        self._admin_digest = digest_of(admin_key)
        self._known: dict[str, _Known] = {}
        self._changes = 0

    def remembered(self, key: str) -> Principal | None:
        """Whom it stands for, if that is known without asking anybody."""
        digest = digest_of(key)
        if is_one_of(digest, [self._admin_digest]):
            return self._admin
        known = self._known.get(id_in(key) or "")
        is_fresh = known is not None and monotonic() - known.looked_at < REMEMBERED_SECONDS
        return known.principal if known is not None and is_fresh and known.opens(digest) else None

    async def look_up(self, key: str) -> Principal | None:
        """Whom it stands for by the database; None if it opens nothing."""
        key_id, digest = id_in(key), digest_of(key)
        if key_id is None:
            return None
        before = self._changes
        known = await run_in_threadpool(self._read, key_id)
        if known is None:
            is_one_of(digest, ())
            return None
        if not known.opens(digest):
            return None
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        if before == self._changes:
            # Else a key was revoked while this one was read: it may be this one.
            self._known[key_id] = known
        await run_in_threadpool(self._note_use, key_id, known.last_used_at)
        return known.principal

    def forget(self, key_id: str) -> None:
        """Look it up again next time: it was changed."""
        self._changes += 1
        self._known.pop(key_id, None)

    def _read(self, key_id: str) -> _Known | None:
        with self._database.read() as session:
            row = session.get(Key, key_id)
        if row is None or row.revoked_at is not None:
            return None
        return _Known(
            principal=Principal(row.owner, Scope(row.scope), row.id),
            digest=row.secret_sha256,
            previous=row.previous_sha256,
            previous_until=row.previous_until,
            expires_at=row.expires_at,
            last_used_at=row.last_used_at,
            looked_at=monotonic(),
        )

    def _note_use(self, key_id: str, before: datetime | None) -> None:
        moment = now()
        if before is not None and moment - before < timedelta(seconds=USE_SECONDS):
            return
        try:
            with self._database.write() as session:
                session.execute(update(Key).where(Key.id == key_id).values(last_used_at=moment))
        except SQLAlchemyError as error:
            # Nobody is kept out because a note cannot be made.
            log.warning("key.use_not_noted", key_id=key_id, error=type(error).__name__)
