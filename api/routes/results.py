"""What the runs of a job come to together."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.dependencies import ServiceNeeded
from api.errors import NOT_FOUND, declared
from api.limits import JsonRoute
from api.results.collect import from_predictions, from_summaries
from api.results.predictions import Predictions
from api.routes.jobs import find_job
from models.answers import JobResults
from models.spec.evaluation import Holdout
from models.spec.job import JobSpec
from models.status import RunStatus
from models.storage import Storage
from models.tables import PREDICTIONS, Artifact, Run

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)


@router.get("/{job_id}/results", summary="Get a job's results", responses=declared(NOT_FOUND))
def get_results(job_id: str, service: ServiceNeeded) -> JobResults:
    """Folds, replicates, ensembles and rounds put together, of the runs that have succeeded so far.

    The sealed test rows have no part in it.
    """
    with service.database.read() as session:
        spec = JobSpec.model_validate(find_job(session, job_id).spec)
        if isinstance(spec.evaluation, Holdout):
            runs = session.scalars(
                select(Run).where(Run.job_id == job_id, Run.status == RunStatus.SUCCEEDED).order_by(Run.position)
            ).all()
            return from_summaries(job_id, spec, {run.seed: (run.id, run.summary or {}) for run in runs})
        stored = _stored(session, job_id)
    return from_predictions(job_id, spec, _read(stored, service.storage, in_order=spec.evaluation.one_after_another))


class Stored(NamedTuple):
    """Where the predictions of a run lie."""

    run_id: str
    seed: int
    member: int
    key: str


def _stored(session: Session, job_id: str) -> list[Stored]:
    rows = session.execute(
        select(Run.id, Run.seed, Run.member, Artifact.storage_key)
        .join(Artifact, Artifact.run_id == Run.id)
        .where(Run.job_id == job_id, Run.status == RunStatus.SUCCEEDED, Artifact.name == PREDICTIONS)
        .order_by(Run.position)
    )
    return [Stored(*row) for row in rows]


def _read(stored: Sequence[Stored], storage: Storage, *, in_order: bool) -> Iterator[tuple[int, list[Predictions]]]:
    """The predictions of one seed after the other, as all of them at once may be much."""
    for seed, rows in groupby(stored, key=lambda row: row.seed):
        members = []
        for place, row in enumerate(rows):
            if in_order and row.member != place:
                break  # without a round between them, those after it mean nothing
            with storage.open(row.key) as file:
                members.append(Predictions.read(row.run_id, row.member, file.read()))
        if members:
            yield seed, members
