"""Predictions: raw rows in, what a trained network says of them out; a worker answers."""

import asyncio
import csv
import io
import json
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from fastapi import APIRouter, Request, Response
from kombu.exceptions import OperationalError
from pydantic import Field, ValidationError
from redis import RedisError
from sqlalchemy import select

from api.auth.scopes import ScopedRoute
from api.dependencies import Service, SubmitService
from api.errors import (
    ILLEGAL_ACTION,
    NOT_FOUND,
    NOT_JSON,
    TOO_LARGE,
    TOO_MANY_ROWS,
    UNAVAILABLE,
    Refusal,
    declared,
    invalid,
    several,
)
from api.http.limits import strict_json
from api.pointers import body_errors
from api.quotas.predictions import REDIS_SECONDS, check_rows, question_slot
from api.quotas.requests import run_in_turn
from models import answers
from models.questions import Reply, ReplyKind, put_rows, wait_for_reply
from models.queue import ask
from models.spec.component import SpecModel
from models.spec.job import JobSpec
from models.status import RunStatus
from models.tables import WEIGHTS, Artifact, Job, Run

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=ScopedRoute)

SMALL_BODY_BYTES = 4 * 1024
"""A larger body is parsed in a thread: the event loop serves other requests meanwhile."""
CANCEL_SECONDS = 1.0
CLIENT_CLOSED_REQUEST = 499
"""Status in logs and meters of a request whose client left before the answer, as nginx has it."""

EXAMPLE = {"rows": [{"age": 29, "class": "first", "sex": "female"}]}

T = TypeVar("T")


class RowsToPredict(SpecModel):
    """Raw rows: of a table, objects of column name to value, null for an empty cell; else lists of numbers."""

    rows: list[dict[str, Any] | list[Any]] = Field(min_length=1, fail_fast=True)


class _Rows(NamedTuple):
    """The rows of a request."""

    number: int
    content: bytes
    """JSON for the predictor: `{"rows": [row, …]}`, or of a CSV file `{"columns": [name, …], "rows": [cells, …]}`."""


@router.post(
    "/{run_id}/predictions",
    summary="Predict with a run's network",
    response_model=answers.Predictions,
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, TOO_LARGE, TOO_MANY_ROWS, NOT_JSON),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": RowsToPredict.model_json_schema(), "example": EXAMPLE},
                "text/csv": {"schema": {"type": "string"}, "example": "age,class,sex\n29,first,female\n"},
            },
        }
    },
)
async def predict(run_id: str, request: Request, service: SubmitService) -> Response:
    """Feed raw rows, in JSON or as CSV with a header, to a network that was trained: they are transformed as its
    training rows were. A class that no training row had counts as unseen; columns that it does not know are ignored.

    At most two requests of one owner are answered at once; a third gets 429. A large network takes fewer rows per
    request than a small one: with more it answers 413, and `max_rows` says how many it takes.
    """
    content_type, content = request.headers.get("content-type", ""), await request.body()
    owner, seconds = service.principal.owner, service.settings.prediction_seconds
    try:
        async with question_slot(service.metrics_async, owner, seconds) as request_id:
            is_small = len(content) <= SMALL_BODY_BYTES
            rows = _parsed(content_type, content) if is_small else await run_in_turn(_parsed, content_type, content)
            check_rows(await run_in_turn(_spec_of, service, run_id), rows.number, service.settings)
            async with asyncio.timeout(REDIS_SECONDS):
                await put_rows(service.metrics_async, request_id, rows.content, seconds)
            await run_in_turn(ask, request_id, run_id)
            return await _while_connected(request, _answer(service, request_id))
    except (OperationalError, RedisError, OSError):
        raise _unavailable("Redis, which carries the question, does not answer", seconds) from None
    except _Disconnected:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


def _parsed(content_type: str, content: bytes) -> _Rows:
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            body = strict_json(content)
            try:
                return _Rows(len(RowsToPredict.model_validate(body).rows), content)
            except ValidationError as error:
                raise several(body_errors(error.errors(include_url=False), body)) from None
        case "text/csv":
            return _csv_rows(content)
        case _:
            raise Refusal(NOT_JSON, "send the rows with Content-Type: application/json, or text/csv with a header")


def _csv_rows(content: bytes) -> _Rows:
    try:
        lines = [line for line in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True) if line]
    except UnicodeDecodeError as error:
        raise invalid("", "not_text", f"the CSV is not UTF-8: byte {error.start:,}") from None
    except csv.Error as error:
        raise invalid("", "not_csv", f"this is no CSV: {error}") from None
    columns, rows = lines[:1], lines[1:]
    for index, row in enumerate(rows):
        if len(row) != len(columns[0]):
            raise invalid(
                f"/rows/{index}", "not_csv", f"this row has not the {len(columns[0])} cells that the header has"
            )
    if not rows:
        raise invalid("/rows", "too_short", "there is no row below the header")
    return _Rows(len(rows), json.dumps({"columns": columns[0], "rows": rows}).encode())


def _spec_of(service: Service, run_id: str) -> JobSpec:
    with service.database.read() as session:
        row = session.execute(select(Run.status, Job.spec).join(Job).where(Run.id == run_id)).one_or_none()
        if row is None:
            raise Refusal(NOT_FOUND, f"there is no run {run_id}")
        kept = session.scalar(select(Artifact.id).where(Artifact.run_id == run_id, Artifact.name == WEIGHTS))
    if row.status != RunStatus.SUCCEEDED or kept is None:
        raise Refusal(ILLEGAL_ACTION, f"the run is {row.status} and has no weights: it predicts once it has succeeded")
    return JobSpec.model_validate(row.spec)


class _Disconnected(Exception):
    """The client has left."""


async def _while_connected(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """Wait for an answer.

    Raises:
        _Disconnected: if the client leaves first; nothing waits for the answer then.

    """
    tasks = asyncio.ensure_future(answer), asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise _Disconnected
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        # Not for as long as it takes: redis-py sometimes goes on waiting after it was cancelled.
        await asyncio.wait(tasks, timeout=CANCEL_SECONDS)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _answer(service: Service, request_id: str) -> Response:
    seconds = service.settings.prediction_seconds
    match await wait_for_reply(service.metrics_async, request_id, seconds):
        case Reply(ReplyKind.PREDICTIONS, content):
            return Response(content, media_type="application/json")
        case Reply(ReplyKind.REFUSED, content):
            error = json.loads(content)
            raise invalid(error["pointer"], "does_not_fit_data", error["detail"])
        case Reply(ReplyKind.GONE, content):
            raise Refusal(NOT_FOUND, content.decode())
        case _:
            detail = (
                f"no worker has answered within {seconds:g} s: one that predicts has to run "
                "(celery -A worker.predicting worker; `descent up` starts one)"
            )
            raise _unavailable(detail, seconds)


def _unavailable(detail: str, seconds: float) -> Refusal:
    return Refusal(UNAVAILABLE, detail, headers={"Retry-After": str(round(seconds))})
