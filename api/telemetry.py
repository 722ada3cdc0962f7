"""What operators see: a request id on everything, structured logs, and numbers for Prometheus."""

import re
import secrets
import time

import structlog
from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import render

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAMED = re.compile(r"/v1/(job|run|sweep|dataset)s/((?:job|run|sweep|dataset)_[0-9a-f]+)(?:/|$)")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LOGGED_CHARACTERS = 200
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of every answer that does not bring its own."""

log = structlog.get_logger()


class Meters:
    """Counts requests by route template, never by path: ids would make a series each."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("descent_requests", "Requests answered", labels, registry=self.registry)
        self.seconds = Histogram(
            "descent_request_seconds", "Time until an answer was complete", labels, registry=self.registry
        )

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        template = getattr(scope.get("route"), "path_format", "unmatched")
        # Others would make a series each, which is kept for good.
        method = scope["method"] if scope["method"] in _METHODS else "other"
        labels = (method, template, str(status))
        self.requests.labels(*labels).inc()
        self.seconds.labels(*labels).observe(seconds)


class RequestContext:
    """The outermost middleware: gives a request its id and an answer its headers, and catches what nobody caught."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id, **_named(scope["path"])):
            try:
                await self._app(scope, receive, send_with_headers)
            except Exception as error:
                if status:
                    raise
                await render(Request(scope), error)(scope, receive, send_with_headers)
            finally:
                seconds = time.perf_counter() - started
                self._meters.observe(scope, status, seconds)
                if scope["method"] not in ("GET", "HEAD"):
                    # The raw path is ASCII: decoded, it could hold escape sequences of a terminal.
                    path = scope["raw_path"].decode("ascii", "backslashreplace")[:_LOGGED_CHARACTERS]
                    about = {"method": scope["method"][:_LOGGED_CHARACTERS], "path": path, "status": status}
                    if principal := scope["state"].get("principal"):
                        about |= {"owner": principal.owner, "key_id": principal.key_id}
                    log.info("request", **about, seconds=round(seconds, 4))


def _named(path: str) -> dict[str, str]:
    """What a path names, for every line of the log: `run_id` and the like."""
    match = _NAMED.match(path)
    return {f"{match[1]}_id": match[2]} if match else {}


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(8)}"
