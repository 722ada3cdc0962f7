"""What the runs of a job come to together."""

from fastapi import APIRouter
from sqlalchemy import select

from api.dependencies import ServiceNeeded
from api.errors import NOT_FOUND, declared
from api.limits import JsonRoute
from api.results.collect import from_predictions, from_summaries
from api.results.stored import read_by_seed, stored
from api.routes.jobs import find_job
from models.answers import JobResults
from models.spec.evaluation import Holdout
from models.spec.job import JobSpec
from models.status import RunStatus
from models.tables import PREDICTIONS, Run

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
        files = stored(session, job_id, PREDICTIONS)
    in_order = spec.evaluation.one_after_another
    return from_predictions(job_id, spec, read_by_seed(files, service.storage, in_order=in_order))
