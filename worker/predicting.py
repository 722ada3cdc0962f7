"""The Celery task that answers requests for predictions, in a process beside those that train.

`celery -A worker.predicting worker` runs it. A network that does not answer in time takes its process with it.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import structlog
from celery.signals import setup_logging
from safetensors import SafetensorError
from sqlalchemy import select

from models.database import Database
from models.logs import configure_logging
from models.metric_stream import connect
from models.queue import PREDICT
from models.queue import predictions as app
from models.reply import is_awaited, reply
from models.settings import settings
from models.spec.job import JobSpec
from models.storage import Storage
from models.tables import DATASET, WEIGHTS, Artifact, Job, Run
from worker import artifacts

if TYPE_CHECKING:
    from worker.training.predictor import Predictor

KEPT_NETWORKS = 8

log = structlog.get_logger()

app.conf.task_time_limit = settings().prediction_seconds


class _Gone(Exception):
    """The run has no weights any more."""


@app.task(name=PREDICT)
def predict(request_id: str, run_id: str, rows: list[Any]) -> None:
    """Answer with predictions, or with what is wrong with the rows, if somebody still waits for it."""
    if not is_awaited(_redis(), request_id):
        return
    # torch is imported by the first question: a service that nobody asks does without it.
    from worker.training.raw_rows import RefusedRow

    try:
        said = _predictor(run_id, _weights_of(run_id)).predict(rows)
        answer: dict[str, Any] = {"target": said.target, "classes": said.classes, "outputs": said.outputs.tolist()}
    except RefusedRow as error:
        answer = {"refused": str(error), "pointer": error.pointer}
    except (_Gone, FileNotFoundError):
        answer = {"gone": f"the weights of run {run_id} are gone from storage"}
    except SafetensorError as error:
        log.error("weights.unreadable", run_id=run_id, error=str(error))
        answer = {"gone": f"the weights of run {run_id} cannot be read"}
    reply(_redis(), request_id, answer)


def _weights_of(run_id: str) -> str:
    """Their storage key; asked each time, as a run that was extended has left other weights."""
    statement = select(Artifact.storage_key).where(Artifact.run_id == run_id, Artifact.name == WEIGHTS)
    with _database().read() as session:
        storage_key = session.scalar(statement)
    if storage_key is None:
        raise _Gone
    return storage_key


@lru_cache(maxsize=KEPT_NETWORKS)
def _predictor(run_id: str, storage_key: str) -> "Predictor":
    from worker.training.predictor import Predictor

    with _database().read() as session:
        spec = session.scalars(select(Job.spec).join(Run, Run.job_id == Job.id).where(Run.id == run_id)).one()
    tensors, header = artifacts.read(Storage(settings().storage_url), storage_key)
    return Predictor(JobSpec.model_validate(spec), tensors, header.get(DATASET))


@lru_cache
def _database() -> Database:
    return Database(settings().database(), pool_size=1)


@lru_cache
def _redis() -> Any:
    return connect(settings().metrics())


@setup_logging.connect
def _log(**_: Any) -> None:
    configure_logging(settings().log_format)
