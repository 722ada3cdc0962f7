"""Keys: made, listed, rotated, revoked, by admins."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth.audit import record
from api.auth.secrets import digest_of, new_key, new_key_id
from api.dependencies import AdminService
from api.errors import ILLEGAL_ACTION, NOT_FOUND, NOT_JSON, TOO_LARGE, Refusal, declared, invalid
from api.http.limits import JsonRoute
from api.moments import Moment
from api.pages import PageAfter, PageLimit, PageSort, listed
from models import access, answers
from models.access import NewKey, OwnerName, Scope
from models.spec.component import SpecModel
from models.spec.job import Name
from models.tables import Key, now

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=JsonRoute)

MAX_OVERLAP_SECONDS = 30 * 24 * 3600


class WantedKey(SpecModel):
    """For whom a key is to act, and how far it is to reach."""

    owner: OwnerName
    """Whose jobs, sweeps and data sets it sees and makes. Nobody has to exist first; several keys may share one."""
    scope: Scope = Scope.SUBMIT
    note: Name = ""
    """What it is for."""
    expires_at: Moment | None = None
    """From when on it opens nothing. A time without a zone is in UTC."""


class Rotation(SpecModel):
    """How the secret is exchanged."""

    overlap_seconds: int = Field(0, strict=True, ge=0, le=MAX_OVERLAP_SECONDS)
    """For so long the old secret opens, too, so that whoever uses it can be told the new one."""


_AT_ONCE = Rotation()


@router.post("", status_code=201, summary="Create a key", responses=declared(TOO_LARGE, NOT_JSON))
def create_key(wanted: WantedKey, service: AdminService, response: Response) -> NewKey:
    """Make a key. Its secret is in this answer and nowhere else: of what is stored nobody can tell it."""
    moment = now()
    if wanted.expires_at is not None and wanted.expires_at <= moment:
        raise invalid("/expires_at", "in_the_past", "the key would have expired already: name a time to come")
    key_id = new_key_id()
    secret = new_key(key_id)
    row = Key(
        id=key_id,
        owner=wanted.owner,
        scope=wanted.scope.value,
        note=wanted.note,
        secret_sha256=digest_of(secret),
        created_at=moment,
        expires_at=wanted.expires_at,
    )
    with service.database.write() as session:
        session.add(row)
        record(session, service.principal, "created", row, scope=wanted.scope.value)
    response.headers["Location"] = f"/v1/keys/{key_id}"
    return NewKey(**_answer(row).model_dump(), key=secret)


@router.get("", summary="List keys", responses=declared())
def list_keys(
    service: AdminService,
    owner: Annotated[str | None, Query(max_length=64)] = None,
    sort: PageSort = "newest",
    limit: PageLimit = 50,
    after: PageAfter = "",
) -> answers.Page[access.Key]:
    """A page of the keys, revoked and expired ones too; never their secrets."""
    conditions = [] if owner is None else [Key.owner == owner]
    with service.database.read() as session:
        return listed(
            session,
            select(Key).where(*conditions),
            Key.created_at,
            Key.id,
            after=after,
            limit=limit,
            sort=sort,
            items=lambda rows: [_answer(row) for row in rows],
        )


@router.get("/{key_id}", summary="Get a key", responses=declared(NOT_FOUND))
def get_key(key_id: str, service: AdminService) -> access.Key:
    """For whom it acts, how far it reaches, and when it was used last."""
    with service.database.read() as session:
        return _answer(_find(session, key_id))


@router.post(
    "/{key_id}/rotate", summary="Rotate a key", responses=declared(NOT_FOUND, ILLEGAL_ACTION, TOO_LARGE, NOT_JSON)
)
def rotate_key(key_id: str, service: AdminService, rotation: Annotated[Rotation, Body()] = _AT_ONCE) -> NewKey:
    """Give a key a new secret, which is in this answer alone. Owner and scope stay."""
    secret = new_key(key_id)
    with service.database.write() as session:
        row = _find(session, key_id, for_update=True)
        if row.revoked_at is not None:
            raise Refusal(ILLEGAL_ACTION, "this key was revoked: create a new one")
        until = now() + timedelta(seconds=rotation.overlap_seconds)
        row.previous_sha256, row.previous_until = row.secret_sha256, until
        row.secret_sha256 = digest_of(secret)
        record(session, service.principal, "rotated", row, overlap_seconds=rotation.overlap_seconds)
    service.keyring.forget(key_id)
    return NewKey(**_answer(row).model_dump(), key=secret)


@router.delete("/{key_id}", status_code=204, summary="Revoke a key", responses=declared(NOT_FOUND))
def revoke_key(key_id: str, service: AdminService) -> None:
    """Let a key open nothing any more: here at once, in other API processes within two seconds. It stays listed."""
    with service.database.write() as session:
        row = _find(session, key_id, for_update=True)
        if row.revoked_at is None:
            row.revoked_at = now()
            record(session, service.principal, "revoked", row)
    service.keyring.forget(key_id)


def _find(session: Session, key_id: str, *, for_update: bool = False) -> Key:
    row = session.get(Key, key_id, with_for_update=for_update)
    if row is None:
        raise Refusal(NOT_FOUND, f"there is no key {key_id}")
    return row


def _answer(row: Key) -> access.Key:
    expired = row.expires_at is not None and row.expires_at <= now()
    return access.Key(
        id=row.id,
        owner=row.owner,
        scope=Scope(row.scope),
        note=row.note,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        is_valid=row.revoked_at is None and not expired,
    )
