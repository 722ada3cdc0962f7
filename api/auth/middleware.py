"""The gate: nobody comes to a route without a key, and with one only to what its scope includes.

It stands before all routes, so that a new one is closed until somebody opens it here.
"""

import re

import structlog
from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth.principals import Principal
from api.dependencies import Service
from api.errors import FORBIDDEN, RATE_LIMITED, UNAUTHENTICATED, Refusal, render
from models.access import Scope as KeyScope
from models.settings import Settings

OPEN = re.compile(r"/|/healthz|/readyz|/docs|/docs/files/.+|/dashboard/.+")
"""What answers without a key: whether the service lives, and pages that hold nothing of anybody's."""
_FOR_ADMINS = re.compile(r"/v1/(keys|workers|housekeeping)(/.*)?")
_METRICS = "/metrics"
_LOOKS = frozenset({"/v1/jobs/validate", "/v1/verdicts"})
"""What is asked by POST, as it takes a body, and changes nothing."""
_BEARER = re.compile(r"Bearer +(\S{1,200})", re.IGNORECASE)

_HANG_UP = {"Connection": "close"}
"""Whoever is not let in may be sending a body that nobody reads."""
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="descent"', **_HANG_UP}
_HOW = "send Authorization: Bearer <key> (descent takes the key from DESCENT_KEY)"


class AuthMiddleware:
    """Finds out who asks, and what they may."""

    def __init__(self, app: ASGIApp, config: Settings) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or OPEN.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        service: Service = scope["app"].state.service
        wanted = demanded(scope["method"], scope["path"])
        try:
            principal = await self._caller(service, scope)
            if not principal.scope.includes(wanted):
                detail = f'this takes a key of scope "{wanted}", and yours is of scope "{principal.scope}"'
                raise Refusal(FORBIDDEN, detail, headers=_HANG_UP)
            await self._count(service, principal, wanted)
        except Refusal as refusal:
            await render(Request(scope), refusal)(scope, receive, send)
            return
        scope["state"]["principal"] = principal.within(scope["state"]["request_id"])
        with structlog.contextvars.bound_contextvars(owner=principal.owner, key_id=principal.key_id):
            await self._app(scope, receive, send)

    async def _caller(self, service: Service, scope: Scope) -> Principal:
        sent = Headers(scope=scope).getlist("authorization")
        if not sent:
            raise Refusal(UNAUTHENTICATED, f"there is no key with this request: {_HOW}", headers=_CHALLENGE)
        match = _BEARER.fullmatch(sent[0]) if len(sent) == 1 else None
        if match is None:
            raise Refusal(UNAUTHENTICATED, f"the Authorization header cannot be read: {_HOW}", headers=_CHALLENGE)
        principal = service.keyring.remembered(match[1])
        return principal or await self._looked_up(service, match[1], scope["client"])

    async def _looked_up(self, service: Service, key: str, client: tuple[str, int] | None) -> Principal:
        """Ask the database, unless too many wrong keys have come from there."""
        failures, most = f"failures:{client[0] if client else ''}", self._config.failures_a_minute
        if seconds := await service.rates.exceeded(failures, most):
            detail = f"more than {most:,} wrong keys came from your address within a minute: wait {seconds} s"
            raise Refusal(RATE_LIMITED, detail, headers={"Retry-After": str(seconds), **_HANG_UP})
        principal = await service.keyring.look_up(key)
        if principal is None:
            await service.rates.count(failures, most)
            detail = f"this key opens nothing: it is wrong, expired or revoked. To ask with another, {_HOW}"
            challenge = {"WWW-Authenticate": f'{_CHALLENGE["WWW-Authenticate"]}, error="invalid_token"', **_HANG_UP}
            raise Refusal(UNAUTHENTICATED, detail, headers=challenge)
        return principal

    async def _count(self, service: Service, principal: Principal, wanted: KeyScope) -> None:
        if principal.is_admin or wanted is KeyScope.METRICS:
            return
        writes = wanted is KeyScope.SUBMIT
        most = self._config.writes_a_minute if writes else self._config.reads_a_minute
        if seconds := await service.rates.count(f"{'writes' if writes else 'reads'}:{principal.owner}", most):
            what = "change" if writes else "look at"
            detail = f"an owner may {what} something {most:,} times a minute: wait {seconds} s"
            raise Refusal(RATE_LIMITED, detail, headers={"Retry-After": str(seconds), **_HANG_UP})


def demanded(method: str, path: str) -> KeyScope:
    """The scope that a request takes."""
    if path == _METRICS:
        return KeyScope.METRICS
    if _FOR_ADMINS.fullmatch(path):
        return KeyScope.ADMIN
    if method in ("GET", "HEAD") or path in _LOOKS:
        return KeyScope.READ
    return KeyScope.SUBMIT
