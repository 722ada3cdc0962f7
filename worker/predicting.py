"""The Celery task that answers requests for predictions, in a process beside those that train.

`celery -A worker.predicting worker` runs it. A network that does not answer in time takes its process with it.
"""

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import structlog
from celery.signals import setup_logging
from safetensors import SafetensorError
from sqlalchemy import select

from models.answers import Predictions
from models.database import Database
from models.logs import configure_logging
from models.metric_stream import connect
from models.questions import Reply, ReplyKind, send_reply, take_rows
from models.queue import PREDICT
from models.queue import predictions as app
from models.settings import settings
from models.spec.job import JobSpec
from models.storage import Storage
from models.tables import DATASET, WEIGHTS, Artifact, Job, Run
from worker import artifacts
from worker.predictor_cache import PredictorCache

if TYPE_CHECKING:
    from worker.training.predictor import Predictor, Said

KEPT_NETWORKS = 8
KEPT_BYTES = 512 * 1024**2
"""Bytes of the parameters of all networks that are kept, the latest one aside."""

log = structlog.get_logger()

app.conf.task_time_limit = settings().prediction_seconds


class _Gone(Exception):
    """The run has no weights any more."""


@app.task(name=PREDICT)
def predict(request_id: str, run_id: str) -> None:
    """Reply with predictions, or with what is wrong with the rows, if the client still waits."""
    rows = take_rows(_redis(), request_id)
    if rows is not None:
        send_reply(_redis(), request_id, _reply(run_id, rows))


def _reply(run_id: str, rows: bytes) -> Reply:
    # torch is imported by the first question: a service that nobody asks does without it.
    from worker.training.raw_rows import RefusedRow
    from worker.training.threads import threads

    try:
        predictor = _predictors.get(run_id, _weights_of(run_id))
        # Workers train on the same cores: threads that wait for each other would take several times as long there.
        with threads(1):
            said = predictor.predict(_raw_rows(json.loads(rows)))
        return Reply(ReplyKind.PREDICTIONS, _answer(said))
    except RefusedRow as error:
        return Reply(ReplyKind.REFUSED, json.dumps({"pointer": error.pointer, "detail": str(error)}).encode())
    except (_Gone, FileNotFoundError):
        return Reply(ReplyKind.GONE, f"the weights of run {run_id} are gone from storage".encode())
    except SafetensorError as error:
        log.error("weights.unreadable", run_id=run_id, error=str(error))
        return Reply(ReplyKind.GONE, f"the weights of run {run_id} cannot be read".encode())


def _raw_rows(question: dict[str, Any]) -> list[Any]:
    """Return the rows of JSON as they are, and those of a CSV file under the names of its columns."""
    rows: list[Any] = question["rows"]
    return [dict(zip(question["columns"], row, strict=True)) for row in rows] if "columns" in question else rows


def _answer(said: "Said") -> bytes:
    outputs, classes = said.outputs, said.classes
    answer = Predictions(
        task="classification" if classes else "regression",
        target=said.target,
        classes=classes,
        predictions=[classes[place] for place in outputs.argmax(1)] if classes else outputs[:, 0].tolist(),
        probabilities=outputs.tolist() if classes else None,
    )
    return answer.model_dump_json().encode()


def _weights_of(run_id: str) -> str:
    """Their storage key; asked each time, as a run that was extended has left other weights."""
    statement = select(Artifact.storage_key).where(Artifact.run_id == run_id, Artifact.name == WEIGHTS)
    with _database().read() as session:
        storage_key = session.scalar(statement)
    if storage_key is None:
        raise _Gone
    return storage_key


def _load(run_id: str, storage_key: str) -> "Predictor":
    from worker.training.predictor import Predictor

    with _database().read() as session:
        spec = session.scalars(select(Job.spec).join(Run, Run.job_id == Job.id).where(Run.id == run_id)).one()
    tensors, header = artifacts.read(Storage(settings().storage_url), storage_key)
    return Predictor(JobSpec.model_validate(spec), tensors, header.get(DATASET))


_predictors = PredictorCache(_load, most=KEPT_NETWORKS, most_bytes=KEPT_BYTES)


@lru_cache
def _database() -> Database:
    return Database(settings().database(), pool_size=1)


@lru_cache
def _redis() -> Any:
    return connect(settings().metrics())


@setup_logging.connect
def _log(**_: Any) -> None:
    configure_logging(settings().log_format)
