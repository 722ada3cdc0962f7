"""Predictions: raw rows in, what a trained network says of them out; a worker answers."""

import asyncio
import csv
import io
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from kombu.exceptions import OperationalError
from pydantic import Field, ValidationError
from redis import RedisError
from sqlalchemy import select

from api.auth.scopes import ScopedRoute
from api.dependencies import Service, SubmitService
from api.errors import ILLEGAL_ACTION, NOT_FOUND, NOT_JSON, TOO_LARGE, UNAVAILABLE, Refusal, declared, invalid, several
from api.http.limits import strict_json
from api.pointers import body_errors
from models import answers
from models.queue import ask
from models.reply import announce, wait_for_reply
from models.spec.component import SpecModel
from models.spec.job import JobSpec
from models.status import RunStatus
from models.tables import WEIGHTS, Artifact, Job, Run, new_id

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=ScopedRoute)

ANNOUNCE_SECONDS = 1.0
"""A Redis that takes longer will not carry the answer either."""

EXAMPLE = {"rows": [{"age": 29, "class": "first", "sex": "female"}]}


class RowsToPredict(SpecModel):
    """Raw rows: of a table, objects of column name to value, null for an empty cell; else lists of numbers."""

    rows: list[dict[str, Any] | list[Any]] = Field(min_length=1)


@router.post(
    "/{run_id}/predictions",
    summary="Predict with a run's network",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, TOO_LARGE, NOT_JSON),
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
async def predict(run_id: str, request: Request, service: SubmitService) -> answers.Predictions:
    """Feed raw rows, in JSON or as CSV with a header, to a network that was trained: they are transformed as its
    training rows were. A class that no training row had counts as unseen; columns that it does not know are ignored.
    """
    rows = _rows(request.headers.get("content-type", ""), await request.body())
    if len(rows) > service.settings.max_prediction_rows:
        most = service.settings.max_prediction_rows
        raise invalid("/rows", "too_many", f"{len(rows):,} rows exceed the {most:,} of one request: send fewer at once")
    spec = await run_in_threadpool(_spec_of, service, run_id)
    answer = await _asked(service, run_id, rows)
    if "refused" in answer:
        raise invalid(answer["pointer"], "does_not_fit_data", answer["refused"])
    if "gone" in answer:
        raise Refusal(NOT_FOUND, answer["gone"])
    outputs, classes = answer["outputs"], answer["classes"]
    return answers.Predictions(
        task=spec.dataset.shape.task,
        target=answer["target"],
        classes=classes,
        predictions=[classes[row.index(max(row))] for row in outputs] if classes else [row[0] for row in outputs],
        probabilities=outputs if classes else None,
    )


def _rows(content_type: str, content: bytes) -> list[Any]:
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            body = strict_json(content)
            try:
                return list(RowsToPredict.model_validate(body).rows)
            except ValidationError as error:
                raise several(body_errors(error.errors(include_url=False), body)) from None
        case "text/csv":
            return _csv_rows(content)
        case _:
            raise Refusal(NOT_JSON, "send the rows with Content-Type: application/json, or text/csv with a header")


def _csv_rows(content: bytes) -> list[Any]:
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
    except UnicodeDecodeError as error:
        raise invalid("", "not_text", f"the CSV is not UTF-8: byte {error.start:,}") from None
    except csv.Error as error:
        raise invalid("", "not_csv", f"this is no CSV: {error}") from None
    for index, row in enumerate(rows):
        if None in row or None in row.values():
            columns = len(reader.fieldnames or ())
            raise invalid(f"/rows/{index}", "not_csv", f"this row has not the {columns} cells that the header has")
    if not rows:
        raise invalid("/rows", "too_short", "there is no row below the header")
    return rows


def _spec_of(service: Service, run_id: str) -> JobSpec:
    with service.database.read() as session:
        row = session.execute(select(Run.status, Job.spec).join(Job).where(Run.id == run_id)).one_or_none()
        if row is None:
            raise Refusal(NOT_FOUND, f"there is no run {run_id}")
        kept = session.scalar(select(Artifact.id).where(Artifact.run_id == run_id, Artifact.name == WEIGHTS))
    if row.status != RunStatus.SUCCEEDED or kept is None:
        raise Refusal(ILLEGAL_ACTION, f"the run is {row.status} and has no weights: it predicts once it has succeeded")
    return JobSpec.model_validate(row.spec)


async def _asked(service: Service, run_id: str, rows: list[Any]) -> dict[str, Any]:
    request_id, seconds = new_id("question"), service.settings.prediction_seconds
    later = {"Retry-After": str(round(seconds))}
    try:
        await asyncio.wait_for(announce(service.metrics_async, request_id, seconds), ANNOUNCE_SECONDS)
        await run_in_threadpool(ask, request_id, run_id, rows)
        answer = await wait_for_reply(service.metrics_async, request_id, seconds)
    except (OperationalError, RedisError, OSError):
        raise Refusal(UNAVAILABLE, "Redis, which carries the question, does not answer", headers=later) from None
    if answer is None:
        detail = (
            f"no worker has answered within {seconds:g} s: one that predicts has to run "
            "(celery -A worker.predicting worker; `descent up` starts one)"
        )
        raise Refusal(UNAVAILABLE, detail, headers=later)
    return answer
