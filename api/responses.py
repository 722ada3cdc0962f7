"""ETags, and answers to a POST that are given once and repeated."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, NamedTuple

from fastapi import Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.dependencies import Service
from api.errors import CHANGED, KEY_REUSED, Refusal
from models.database import Database
from models.spec.job import digest
from models.tables import IdempotentAnswer, now

KEPT_FOR = timedelta(hours=24)
"""How long an answer is repeated; clients that retry do so within minutes."""

UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "Nothing has changed since that ETag"}}

IfMatch = Annotated[str | None, Header(max_length=1_000, description="Change it only while it has this ETag.")]
IfNoneMatch = Annotated[str | None, Header(max_length=1_000, description="Answer 304 while it has this ETag.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1, max_length=200, description="The same key and body bring the same answer, not a second effect."
    ),
]


def strong_etag(*parts: str) -> str:
    """A strong ETag that changes with any of the parts."""
    return f'"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"'


def matches(header: str, etag: str, *, weakly: bool) -> bool:
    """Whether a list of ETags names this one (RFC 9110, 8.8.3.2)."""
    listed = [part.strip() for part in header.split(",")]
    return "*" in listed or etag in listed or (weakly and f"W/{etag}" in listed)


def demand(header: str | None, etag: str) -> None:
    """Let an If-Match pass.

    Raises:
        Refusal: if it names another version.

    """
    if header is not None and not matches(header, etag, weakly=False):
        raise Refusal(CHANGED, f"it is {etag} now: fetch it again", headers={"ETag": etag})


def not_modified(header: str | None, etag: str) -> Response | None:
    """The 304 that an If-None-Match asks for, if it does."""
    if header is not None and matches(header, etag, weakly=True):
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "no-cache"})
    return None


class Effect(NamedTuple):
    """What a POST did, and where the result lies."""

    answer: BaseModel
    location: str
    status_code: int = 202


class _AnsweredBefore(Exception):
    """Another request with this key was first."""


def answer_once(
    request: Request,
    service: Service,
    key: str | None,
    body: Any,
    act: Callable[[Session], Effect],
) -> JSONResponse:
    """Act, and answer with what came of it; with a key, at most once.

    The answer is stored in the transaction of the effect. Of two requests at once the second waits at the key's row
    until the first has committed, and then gets the stored answer.

    Raises:
        Refusal: if the key came with another body before.

    """
    route, body_hash = f"{request.method} {request.url.path}?{request.url.query}"[:200], digest(body)
    if key is not None and (stored := _stored(service, key, route, body_hash)):
        return stored
    try:
        with service.database.write() as session:
            row = _claim_key(session, service.principal.owner, key, route, body_hash) if key is not None else None
            effect = act(session)
            content = effect.answer.model_dump(mode="json")
            if row is not None:
                row.status_code, row.location, row.body = effect.status_code, effect.location, content
    except _AnsweredBefore:
        assert key is not None
        stored = _stored(service, key, route, body_hash)
        assert stored is not None, "whoever holds the key's row has committed"
        return stored
    return JSONResponse(content, effect.status_code, {"Location": effect.location})


def _claim_key(session: Session, owner: str, key: str, route: str, body_hash: str) -> IdempotentAnswer:
    row = IdempotentAnswer(
        owner=owner,
        key=key,
        route=route,
        body_hash=body_hash,
        status_code=202,
        location="",
        body={},
        created_at=now(),
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError:
        raise _AnsweredBefore from None
    return row


def _stored(service: Service, key: str, route: str, body_hash: str) -> JSONResponse | None:
    with service.database.read() as session:
        row = session.get(IdempotentAnswer, (service.principal.owner, key, route))
    if row is None:
        return None
    if row.body_hash != body_hash:
        raise Refusal(KEY_REUSED, "this Idempotency-Key came with another body before: take a new one")
    return JSONResponse(row.body, row.status_code, {"Location": row.location, "Idempotency-Replayed": "true"})


def forget_old_answers(database: Database) -> None:
    with database.write() as session:
        session.execute(delete(IdempotentAnswer).where(IdempotentAnswer.created_at < now() - KEPT_FOR))
