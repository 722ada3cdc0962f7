"""What a request may be, checked before anything is made of it: its host, its size, and JSON without surprises."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from itertools import islice
from math import isinf
from time import monotonic
from typing import Any

from fastapi import Request, Response
from fastapi._compat import ModelField
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.scopes import ScopedRoute
from api.errors import (
    HEAD_TOO_LARGE,
    INVALID,
    MALFORMED,
    NOT_JSON,
    RATE_LIMITED,
    TOO_LARGE,
    TOO_SLOW,
    UNKNOWN_HOST,
    Refusal,
    as_refusal,
    render,
    several,
)
from api.http.addresses import client_address
from api.http.connections import RETRY_AFTER_SECONDS
from api.http.paths import path_flaw
from api.pointers import MOST_ERRORS, pointer_to
from api.quotas.addresses import AddressThrottle
from api.quotas.requests import CLOSE, run_in_turn
from models.answers import ProblemError
from models.settings import Settings

MAX_HEAD_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 16 * 1024**2
MAX_PARAMETERS = 256
"""Parameters of a query, which are parsed on the event loop."""
MAX_JSON_DEPTH = 16
PARSED_AT_ONCE = 8 * 1024
"""Bytes of a body that is parsed on the event loop: about a millisecond."""
UPLOADS = "/v1/datasets"
"""The one path that takes large bodies."""
MAX_WHOLE_NUMBER = 2**63 - 1

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")


class RequestLimits:
    """Refuse ambiguous paths, foreign hosts, and bodies that are large or slow: they are measured as they stream in."""

    def __init__(self, app: ASGIApp, config: Settings, throttle: AddressThrottle) -> None:
        self._app = app
        self._throttle = throttle
        self._config = config
        self._upload_bytes = config.max_upload_bytes
        self._in_flight: Counter[str] = Counter()
        """Requests by client address: behind a trusted proxy, connections tell nothing of it."""
        self._hosts = [host.lower() for host in config.allowed_hosts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await self._throttle.wait(scope["client"])
            await render(Request(scope), refusal)(scope, receive, send)
            return
        is_upload = scope["path"] == UPLOADS and scope["method"] == "POST"
        body = _Body(receive, self._upload_bytes if is_upload else self._config.max_body_bytes, self._config)
        address = client_address(scope["client"][0]) if scope["client"] else ""
        self._in_flight[address] += 1
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._in_flight[address] -= 1
            if not self._in_flight[address]:
                del self._in_flight[address]

    def _refusal(self, scope: Scope) -> Refusal | None:
        flaw = path_flaw(scope["raw_path"])
        if flaw is not None:
            return Refusal(MALFORMED, flaw, headers=CLOSE)
        address = client_address(scope["client"][0]) if scope["client"] else ""
        if self._in_flight[address] >= self._config.max_address_connections:
            detail = f"your address has {self._in_flight[address]:,} requests in flight: wait until one was answered"
            return Refusal(RATE_LIMITED, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS), **CLOSE})
        headers = Headers(scope=scope)
        lines = [scope["raw_path"], scope["query_string"], *(part for line in headers.raw for part in line)]
        if sum(map(len, lines)) > MAX_HEAD_BYTES:
            detail = f"the address and headers may have at most {MAX_HEAD_BYTES:,} bytes together"
            return Refusal(HEAD_TOO_LARGE, detail, headers=CLOSE)
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy in front may have gone by the other one, and taken the rest for somebody else's request.
            return Refusal(MALFORMED, "Content-Length and Transfer-Encoding contradict each other", headers=CLOSE)
        if not self._serves(headers.get("host", "")):
            detail = "the Host header names a host that this server is not: see DESCENT_ALLOWED_HOSTS"
            return Refusal(UNKNOWN_HOST, detail, headers=CLOSE)
        if scope["query_string"].count(b"&") >= MAX_PARAMETERS:
            return Refusal(MALFORMED, f"the query has more than {MAX_PARAMETERS} parameters", headers=CLOSE)
        # PostgreSQL cannot store NUL, so no name or id contains it.
        if b"%00" in scope["query_string"]:
            return Refusal(MALFORMED, "the query holds NUL")
        return None

    def _serves(self, header: str) -> bool:
        match = _HOST.fullmatch(header)
        if match is None:
            return False
        name = match["name"].strip("[]").lower()
        return any(host in ("*", name) or (host.startswith("*.") and name.endswith(host[1:])) for host in self._hosts)


class _Body:
    """A request's body on its way in, whatever its Content-Length says."""

    def __init__(self, receive: Receive, most: int, config: Settings) -> None:
        self._receive = receive
        self._most = most
        self._config = config
        self._seen = 0
        self._waited = 0.0
        """Seconds; what the application takes to ask for more is not the client's."""
        self._is_whole = False

    async def receive(self) -> Message:
        message = await self._next()
        if self._seen <= self._most:
            return message
        # Read on and keep nothing: who is still sending does not hear the answer.
        while not self._is_whole and self._seen < self._most + MAX_DISCARDED_BYTES:
            await self._next()
        raise Refusal(TOO_LARGE, f"a body may have at most {self._most:,} bytes", headers=CLOSE)

    async def _next(self) -> Message:
        if self._is_whole:
            # What comes now is that the client has left, whenever it does.
            return await self._receive()
        most = self._config.body_seconds + self._seen / self._config.body_bytes_a_second
        began = monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), most - self._waited)
        except TimeoutError:
            detail = f"{self._seen:,} bytes came within {most:.0f} s: send it again, over a faster line"
            raise Refusal(TOO_SLOW, detail, headers=CLOSE) from None
        self._waited += monotonic() - began
        self._seen += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        return message


class JsonRoute(ScopedRoute):
    """A route whose body is read by `strict_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        field = self.body_field

        async def strict(request: Request) -> Response:
            may_be_left_out = field is not None and not field.field_info.is_required() and not _has_body(request)
            if field is not None and not may_be_left_out and not _says_json(request):
                raise Refusal(NOT_JSON, "send the body with Content-Type: application/json")
            return await handle(_StrictRequest(request.scope, request.receive, field))

        return strict


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def _says_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


class _StrictRequest(Request):
    """A request with strict JSON parsing; large bodies are parsed in a thread."""

    def __init__(self, scope: Scope, receive: Receive, field: ModelField | None) -> None:
        super().__init__(scope, receive)
        self._field = field

    async def json(self) -> Any:
        content = await self.body()
        if len(content) <= PARSED_AT_ONCE:
            return strict_json(content)
        return await run_in_turn(_validated, self._field, content)


def _validated(field: ModelField | None, content: bytes) -> Any:
    """Parse and validate a body: FastAPI would do the latter on the event loop, and takes a model as it is."""
    value = strict_json(content)
    if field is None:
        return value
    model, errors = field.validate(value, {}, loc=("body",))
    if errors:
        # As a refusal: FastAPI takes other exceptions of a body for JSON that it could not parse.
        raise as_refusal(RequestValidationError(errors, body=value))
    return model


@dataclass(frozen=True)
class _Flaw:
    """Stands in the parsed body where something is that JSON or a database cannot hold."""

    code: str
    detail: str


def strict_json(content: bytes) -> Any:
    """Parse JSON, and refuse what parsers disagree about.

    Raises:
        Refusal: for broken JSON, NaN and infinities, numbers beyond 64 bits, keys that stand twice, text with NUL or
            half a character, and anything nested deeper than 16.

    """
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_object,
            parse_int=_whole_number,
            parse_float=_number,
            parse_constant=lambda word: _Flaw("not_finite", f"{word} is not a number in JSON"),
        )
    except UnicodeDecodeError as error:
        raise Refusal(MALFORMED, f"the body is not UTF-8: byte {error.start:,}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno:,}, column {error.colno:,}"
        raise Refusal(MALFORMED, f"the body is not JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise Refusal(INVALID, _TOO_DEEP.detail, [ProblemError(pointer="", **vars(_TOO_DEEP))]) from None
    if flaws := list(islice(_flaws(value, ()), MOST_ERRORS)):
        raise several(flaws)
    return value


_TOO_DEEP = _Flaw("too_deep", f"this is nested deeper than {MAX_JSON_DEPTH}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, inner in pairs:
        value[key] = _Flaw("duplicate_key", "this key stands twice") if key in value else inner
    return value


def _whole_number(digits: str) -> int | _Flaw:
    if len(digits) <= 20 and abs(value := int(digits)) <= MAX_WHOLE_NUMBER:
        return value
    return _Flaw("number_too_large", f"a whole number may be at most {MAX_WHOLE_NUMBER}")


def _number(digits: str) -> float | _Flaw:
    value = float(digits)
    return _Flaw("number_too_large", "this number is too large") if isinf(value) else value


def _flaws(value: Any, place: tuple[str | int, ...]) -> Iterator[ProblemError]:
    if len(place) > MAX_JSON_DEPTH:
        yield ProblemError(pointer=pointer_to(place), **vars(_TOO_DEEP))
        return
    match value:
        case _Flaw():
            yield ProblemError(pointer=pointer_to(place), **vars(value))
        case str() if not _is_text(value):
            yield ProblemError(
                pointer=pointer_to(place), code="not_text", detail="this text holds NUL or half a character"
            )
        case dict():
            for key, inner in value.items():
                if _is_text(key):
                    yield from _flaws(inner, (*place, key))
                else:
                    yield ProblemError(
                        pointer=pointer_to(place), code="not_text", detail="a key here holds NUL or half a character"
                    )
        case list():
            for index, inner in enumerate(value):
                yield from _flaws(inner, (*place, index))


def _is_text(text: str) -> bool:
    """Whether UTF-8 and every database can hold it."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text))
