"""Authentication: finds the principal of a request. What it may do is decided by the route (`api.auth.scopes`)."""

import asyncio
import re

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth.principals import ANONYMOUS, Principal
from api.auth.scopes import CHALLENGE, HOW_TO_AUTHENTICATE
from api.dependencies import Service
from api.errors import RATE_LIMITED, UNAUTHENTICATED, Refusal
from api.http.addresses import client_address
from api.quotas.requests import CLOSE
from api.quotas.token_bucket import TokenBucket
from models.settings import Settings

DELAY_SECONDS = 1.0
MOST_REMEMBERED = 10_000
"""Addresses."""
_BEARER = re.compile(r"Bearer +(\S{1,200})", re.IGNORECASE)


class AuthMiddleware:
    """Put the principal into the state of each request, and slow down addresses that send many without a valid key.

    A key that is not valid leaves the request anonymous, with the error beside it: public routes are answered
    nevertheless, and all others raise the error.
    """

    def __init__(self, app: ASGIApp, config: Settings) -> None:
        self._app = app
        self._a_minute = config.anonymous_a_minute
        self._addresses: dict[str, TokenBucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope["state"]
        try:
            principal = await _authenticate(scope)
        except Refusal as error:
            state["authentication_error"], principal = error, ANONYMOUS
        state["principal"] = principal.within(state["request_id"])
        if principal.is_anonymous and not self._of_address(scope["client"]).take(1):
            await asyncio.sleep(DELAY_SECONDS)
        identity = {} if principal.is_anonymous else {"owner": principal.owner, "key_id": principal.key_id}
        with structlog.contextvars.bound_contextvars(**identity):
            await self._app(scope, receive, send)

    def _of_address(self, client: tuple[str, int] | None) -> TokenBucket:
        """Return the anonymous requests of an address that are served without delay."""
        if len(self._addresses) >= MOST_REMEMBERED:
            self._addresses.clear()
        address = client_address(client[0]) if client else ""
        return self._addresses.setdefault(address, TokenBucket(self._a_minute / 2, self._a_minute / 60))


async def _authenticate(scope: Scope) -> Principal:
    """Return the principal of the request's key, or ANONYMOUS without one.

    Raises:
        Refusal: if the header is malformed, the key is not valid, or too many invalid keys came from the address.

    """
    service: Service = scope["app"].state.service
    sent = Headers(scope=scope).getlist("authorization")
    if not sent:
        return ANONYMOUS
    match = _BEARER.fullmatch(sent[0]) if len(sent) == 1 else None
    if match is None:
        raise Refusal(
            UNAUTHENTICATED, f"the Authorization header is malformed: {HOW_TO_AUTHENTICATE}", headers=CHALLENGE
        )
    return service.keyring.remembered(match[1]) or await _looked_up(service, match[1], scope["client"])


async def _looked_up(service: Service, key: str, client: tuple[str, int] | None) -> Principal:
    """Look the key up in the database, unless too many invalid keys came from the client's address."""
    failures, most = f"failures:{client[0] if client else ''}", service.settings.failures_a_minute
    if seconds := await service.rates.exceeded(failures, most):
        detail = f"more than {most:,} invalid keys came from your address within a minute: wait {seconds} s"
        raise Refusal(RATE_LIMITED, detail, headers={"Retry-After": str(seconds), **CLOSE})
    principal = await service.keyring.look_up(key)
    if principal is None:
        await service.rates.count(failures, most)
        detail = f"this key is not valid: it is wrong, expired or revoked. To use another one, {HOW_TO_AUTHENTICATE}"
        challenge = {"WWW-Authenticate": f'{CHALLENGE["WWW-Authenticate"]}, error="invalid_token"', **CLOSE}
        raise Refusal(UNAUTHENTICATED, detail, headers=challenge)
    return principal
