"""What the runs of a job come to together."""

from fastapi import APIRouter

from api.dependencies import ReadService
from api.errors import NOT_FOUND, declared
from api.http.limits import JsonRoute
from api.results.of_job import job_results
from api.routes.jobs import find_job
from models.answers import JobResults
from models.spec.job import JobSpec

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)


@router.get("/{job_id}/results", summary="Get a job's results", responses=declared(NOT_FOUND))
def get_results(job_id: str, service: ReadService) -> JobResults:
    """Folds, replicates, ensembles and rounds put together, of the runs that have succeeded so far.

    The sealed test rows have no part in it.
    """
    with service.database.read() as session:
        spec = JobSpec.model_validate(find_job(session, job_id).spec)
    return job_results(service.database, service.storage, job_id, spec)
