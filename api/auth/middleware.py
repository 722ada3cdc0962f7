"""Authentication: determines the principal of a request. Authorization is up to the route (`api.auth.scopes`)."""

import re

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.auth.principals import ANONYMOUS, Principal
from api.auth.scopes import CHALLENGE, HOW_TO_AUTHENTICATE
from api.dependencies import Service
from api.errors import RATE_LIMITED, UNAUTHENTICATED, Refusal
from api.http.addresses import client_address
from api.quotas.addresses import AddressThrottle
from api.quotas.requests import CLOSE

_BEARER = re.compile(r"Bearer +(\S{1,200})", re.IGNORECASE)


class AuthMiddleware:
    """Set the principal of each request, and throttle addresses that send many unauthenticated requests.

    An invalid key makes the request anonymous and stores the error: public routes respond anyway, all others raise it.
    """

    def __init__(self, app: ASGIApp, throttle: AddressThrottle) -> None:
        self._app = app
        self._throttle = throttle

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
        if principal.is_anonymous:
            await self._throttle.wait(scope["client"])
        identity = {} if principal.is_anonymous else {"owner": principal.owner, "key_id": principal.key_id}
        with structlog.contextvars.bound_contextvars(**identity):
            await self._app(scope, receive, send)


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
    return service.keyring.remembered(match[1]) or await _look_up(service, match[1], scope["client"])


async def _look_up(service: Service, key: str, client: tuple[str, int] | None) -> Principal:
    """Look the key up in the database, unless too many invalid keys came from the client's address."""
    failures, most = f"failures:{client_address(client[0]) if client else ''}", service.settings.failures_a_minute
    if seconds := await service.rates.exceeded(failures, most):
        detail = f"too many invalid keys from your address (more than {most:,} per minute): wait {seconds} s"
        raise Refusal(RATE_LIMITED, detail, headers={"Retry-After": str(seconds), **CLOSE})
    principal = await service.keyring.look_up(key)
    if principal is None:
        await service.rates.count(failures, most)
        detail = f"this key is wrong, expired or revoked: {HOW_TO_AUTHENTICATE}"
        challenge = {"WWW-Authenticate": f'{CHALLENGE["WWW-Authenticate"]}, error="invalid_token"', **CLOSE}
        raise Refusal(UNAUTHENTICATED, detail, headers=challenge)
    return principal
