"""Problems: one exception that carries its own status, type and title, and one place that renders it (RFC 9457)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from typing import Any

import structlog
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from kombu.exceptions import OperationalError as BrokerAway
from redis import RedisError
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.routing import compile_path

from api.pointers import MOST_ERRORS, body_errors, parameter_errors
from models.answers import Problem, ProblemError
from models.owner import IllegalAction
from models.spec.plan import PlanError
from models.storage import NotStored

RETRY_AFTER_SECONDS = 2

log = structlog.get_logger()


@dataclass(frozen=True)
class ProblemKind:
    """One sort of refusal: its HTTP status, the last part of its `type`, and its title."""

    status: int
    name: str
    title: str
    example: str

    @property
    def type(self) -> str:
        return f"urn:descent:problem:{self.name}"


MALFORMED = ProblemKind(
    400, "malformed_request", "The request cannot be read", "the body is not JSON: line 3, column 9"
)
UNKNOWN_HOST = ProblemKind(400, "unknown_host", "This host name is not served", "the Host header names another host")
UNAUTHENTICATED = ProblemKind(
    401, "unauthenticated", "A key is needed", "this request has no key: send Authorization: Bearer <key>"
)
FORBIDDEN = ProblemKind(
    403,
    "forbidden",
    "The key does not reach that far",
    'this requires a key of scope "submit", but yours has scope "read"',
)
NOT_FOUND = ProblemKind(404, "not_found", "There is no such thing", "there is no job job_0123")
NOT_ALLOWED = ProblemKind(405, "method_not_allowed", "This path does not take that method", "POST is not allowed here")
ILLEGAL_ACTION = ProblemKind(
    409, "illegal_action", "The status does not allow this action", "this job is still under way: cancel it first"
)
CHANGED = ProblemKind(
    412, "changed_meanwhile", "Somebody changed it meanwhile", "the job is at version 3: fetch it again"
)
TOO_SLOW = ProblemKind(408, "too_slow", "The request arrived too slowly", "1,024 bytes came within 30 s: send it again")
TOO_LARGE = ProblemKind(413, "body_too_large", "The body is too large", "a body may have at most 262,144 bytes")
TOO_MANY_ROWS = ProblemKind(
    413,
    "too_many_rows",
    "The network takes fewer rows per request",
    "this network takes at most 980 rows per request, and these are 10,000: send fewer at once",
)
HEAD_TOO_LARGE = ProblemKind(
    431, "head_too_large", "The address and headers are too large", "they may have at most 65,536 bytes together"
)
NOT_JSON = ProblemKind(415, "not_json", "The body must be JSON", "send the body as application/json")
INVALID = ProblemKind(
    422, "invalid", "Something in the request is not valid", '"adamm" is no optimizer: did you mean "adam"?'
)
UNREADABLE = ProblemKind(
    422, "unreadable_dataset", "The file is no data set that can be read", 'row 7 has 3 cells and the header 4: "a;b;c"'
)
NAME_TAKEN = ProblemKind(
    409, "name_taken", "Another data set has this name", '"titanic" is dataset_0123: take another name'
)
STILL_NEEDED = ProblemKind(409, "still_needed", "Jobs need this data set", "2 jobs read it: delete them first")
KEY_REUSED = ProblemKind(
    422,
    "idempotency_key_reused",
    "The Idempotency-Key belongs to another body",
    "this key came with another body before",
)
RATE_LIMITED = ProblemKind(
    429, "rate_limited", "Too many requests", "an owner may change something 600 times a minute: wait 17 s"
)
OVER_QUOTA = ProblemKind(
    429,
    "over_quota",
    "Quota exceeded",
    "an owner may have at most 20,000 queued runs: nothing was queued",
)
INTERNAL = ProblemKind(500, "internal_error", "The service failed", "the log has more under this request_id")
DISK_FULL = ProblemKind(507, "disk_full", "There is no room to store it", "the disk of the service is full")
UNAVAILABLE = ProblemKind(503, "unavailable", "A part of the service does not answer", "the database does not answer")

_DATABASE_AWAY = (OperationalError, InterfaceError, InternalError)
"""Cut off, locked, out of time: not what a statement of ours did wrong."""

_BY_STATUS = {kind.status: kind for kind in (MALFORMED, NOT_FOUND, NOT_ALLOWED, TOO_LARGE, NOT_JSON)}


class Refusal(HTTPException):
    """A request that is not served, and why; `members` become members of the problem."""

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        errors: Sequence[ProblemError] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(kind.status, detail, dict(headers or {}))
        self.kind = kind
        self.errors = list(errors)
        self.members = members


def invalid(pointer: str, code: str, detail: str) -> Refusal:
    """One thing is wrong, at one place."""
    return Refusal(INVALID, detail, [ProblemError(pointer=pointer, code=code, detail=detail)])


def several(errors: Sequence[ProblemError]) -> Refusal:
    """Some things are wrong; of very many, the first are reported."""
    count = len(errors) if len(errors) < MOST_ERRORS else f"at least {MOST_ERRORS}"
    detail = errors[0].detail if len(errors) == 1 else f"the request has {count} errors"
    return Refusal(INVALID, detail, errors)


def as_refusal(error: Exception) -> Refusal:
    """What an exception means to the one who asked."""
    match error:
        case Refusal():
            return error
        case RequestValidationError():
            return several(_validation_errors(error))
        case PlanError():
            return invalid(error.pointer, error.code, str(error))
        case IllegalAction():
            return Refusal(ILLEGAL_ACTION, str(error), legal_actions=error.legal)
        case StarletteHTTPException():
            kind = _BY_STATUS.get(error.status_code, MALFORMED)
            return Refusal(kind, _plain_detail(error), headers=error.headers)
        case DBAPIError() | PoolTimeout() | RedisError() | BrokerAway() | OSError():
            return _as_outage(error)
        case _:
            return _failure(error)


def _failure(error: Exception) -> Refusal:
    log.error("request.failed", exc_info=error)
    return Refusal(INTERNAL, "this is our fault, not yours: the log has more under this request_id")


def _as_outage(error: Exception) -> Refusal:
    """What it means that a part behind the service did not do its work."""
    match error:
        case DBAPIError() if not (error.connection_invalidated or isinstance(error, _DATABASE_AWAY)):
            return _failure(error)
        case DBAPIError() | PoolTimeout():
            part = "the database"
        case RedisError() | BrokerAway():
            part = "Redis"
        case NotStored():
            log.error("storage.lacks_a_file", exc_info=error)
            return Refusal(NOT_FOUND, "a file that the answer rests on is gone from storage")
        case OSError() if error.errno in (ENOSPC, EDQUOT):
            log.warning("storage.full", error=_first_line(error))
            return Refusal(DISK_FULL, "the service has no room for it: nothing of it was kept")
        case _:
            part = "storage"
    log.warning("part.unavailable", part=part, error=_first_line(error))
    later = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return Refusal(UNAVAILABLE, f"{part} does not answer: try again", headers=later)


def _validation_errors(error: RequestValidationError) -> list[ProblemError]:
    found = error.errors()
    in_body = (one | {"loc": one["loc"][1:]} for one in found if one["loc"][0] == "body")
    return [*body_errors(in_body, error.body), *parameter_errors(one for one in found if one["loc"][0] != "body")]


def _plain_detail(error: StarletteHTTPException) -> str:
    match error.status_code:
        case 404:
            return "nothing lies under this path: /docs lists what there is"
        case 405:
            return f"this path takes {(error.headers or {}).get('Allow', 'other methods')}"
        case _:
            return str(error.detail)


def _first_line(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def render(request: Request, error: Exception) -> JSONResponse:
    """The problem document for an exception."""
    refusal = as_refusal(error)
    problem = Problem(
        type=refusal.kind.type,
        title=refusal.kind.title,
        status=refusal.kind.status,
        detail=str(refusal.detail),
        instance=request.url.path,
        request_id=request.state.request_id,
        errors=refusal.errors,
        **refusal.members,
    )
    return JSONResponse(
        problem.model_dump(mode="json"),
        status_code=problem.status,
        headers=refusal.headers,
        media_type="application/problem+json",
    )


async def _handle(request: Request, error: Exception) -> JSONResponse:
    if (
        isinstance(error, StarletteHTTPException)
        and error.status_code == NOT_ALLOWED.status
        and (methods := _methods_of(request))
    ):
        error.headers = {"Allow": ", ".join(methods)}
    return render(request, error)


def _methods_of(request: Request) -> list[str]:
    """Return the methods that a path takes: Starlette names only those of the first route of the path."""
    routes = [route for route in iter_route_contexts(request.app.routes) if route.methods]
    matching = [route for route in routes if compile_path(route.path or "")[0].fullmatch(request.scope["path"])]
    # "/jobs/validate" before "/jobs/{job_id}", which matches as well.
    nearest = min((str(route.path) for route in matching), key=lambda path: path.count("{"), default="")
    return sorted({method for route in matching if route.path == nearest for method in route.methods or ()})


def install(app: FastAPI) -> None:
    """Render every exception that a route lets out. What escapes even this, the outermost middleware catches."""
    for kind in (
        StarletteHTTPException,
        RequestValidationError,
        PlanError,
        IllegalAction,
        DBAPIError,
        PoolTimeout,
        RedisError,
        BrokerAway,
        OSError,
    ):
        app.add_exception_handler(kind, _handle)


def problem_bytes(kind: ProblemKind, detail: str, *, request_id: str) -> bytes:
    """Return the problem document for a request that never reached the application."""
    problem = Problem(
        type=kind.type, title=kind.title, status=kind.status, detail=detail, instance="", request_id=request_id
    )
    return problem.model_dump_json().encode()


def declared(
    *kinds: ProblemKind, also: Mapping[int | str, dict[str, Any]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route in OpenAPI: what it answers besides, its own problems, and those of every route."""
    by_status: dict[int | str, list[ProblemKind]] = {}
    if TOO_LARGE in kinds:
        kinds = (*kinds, TOO_SLOW)
    always = (UNKNOWN_HOST, MALFORMED, HEAD_TOO_LARGE, UNAUTHENTICATED, FORBIDDEN, INVALID, RATE_LIMITED)
    for kind in (*kinds, *always, INTERNAL, UNAVAILABLE):
        by_status.setdefault(kind.status, []).append(kind)
    problems: dict[int | str, dict[str, Any]] = {
        status: {
            "description": "; or: ".join(dict.fromkeys(kind.title for kind in group)),
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {kind.name: _example(kind) for kind in group},
                }
            },
        }
        for status, group in by_status.items()
    }
    return dict(also or {}) | problems


def _example(kind: ProblemKind) -> dict[str, Any]:
    problem = Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=kind.example,
        instance="/v1/jobs",
        request_id="req_5f2d9c1ab04e7783",
        errors=[ProblemError(pointer="/optimizer", code="unknown_kind", detail=kind.example)]
        if kind is INVALID
        else [],
    )
    return {"summary": kind.title, "value": problem.model_dump(mode="json")}


def add_schemas(document: dict[str, Any]) -> None:
    """Describe a problem in an OpenAPI document; routes refer to it."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"] |= schema.pop("$defs") | {"Problem": schema}
