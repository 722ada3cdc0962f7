"""Whom a key stands for: looked up in the database, and remembered for two seconds."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from api.auth.principals import Principal
from api.auth.secrets import digest_of, id_in, is_one_of
from api.errors import UNAUTHENTICATED, Refusal
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

    def as_sent(self, digest: str) -> Principal:
        """Return the principal of a request that came with the secret of this digest."""
        return replace(self.principal, secret_digest=digest)

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
        """Return the principal of a key that was looked up within `REMEMBERED_SECONDS`."""
        digest = digest_of(key)
        if is_one_of(digest, [self._admin_digest]):
            return self._admin
        known = self._fresh(id_in(key) or "")
        return known.as_sent(digest) if known is not None and known.opens(digest) else None

    async def is_valid(self, principal: Principal) -> bool:
        """Return whether the key of a request that began earlier is still valid."""
        if principal.key_id == self._admin.key_id:
            return True
        known = self._fresh(principal.key_id) or await self._read_anew(principal.key_id)
        return known is not None and known.opens(principal.secret_digest)

    async def demand_valid(self, principal: Principal) -> None:
        """Make sure that the key of a request that began earlier is still valid.

        Raises:
            Refusal: if it expired, was revoked, or got another secret.

        """
        if not await self.is_valid(principal):
            raise Refusal(
                UNAUTHENTICATED, "this key became invalid during the request: it expired, was revoked or was rotated"
            )

    def _fresh(self, key_id: str) -> "_Known | None":
        known = self._known.get(key_id)
        return known if known is not None and monotonic() - known.looked_at < REMEMBERED_SECONDS else None

    async def look_up(self, key: str) -> Principal | None:
        """Whom it stands for by the database; None if it opens nothing."""
        key_id, digest = id_in(key), digest_of(key)
        if key_id is None:
            return None
        known = await self._read_anew(key_id)
        if known is None:
            is_one_of(digest, ())
            return None
        if not known.opens(digest):
            return None
        await run_in_threadpool(self._note_use, key_id, known.last_used_at)
        return known.as_sent(digest)

    def forget(self, key_id: str) -> None:
        """Look it up again next time: it was changed."""
        self._changes += 1
        self._known.pop(key_id, None)

    async def _read_anew(self, key_id: str) -> _Known | None:
        before = self._changes
        known = await run_in_threadpool(self._read, key_id)
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        if known is not None and before == self._changes:
            # Else a key was revoked while this one was read: it may be this one.
            self._known[key_id] = known
        return known

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
