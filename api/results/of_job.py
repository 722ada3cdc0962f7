"""The results of a job, from what its runs left in SQL and in storage."""

from sqlalchemy import select

from api.results.collect import from_predictions, from_summaries
from api.results.stored import read_by_seed, stored
from models.answers import JobResults
from models.database import Database
from models.spec.evaluation import Holdout
from models.spec.job import JobSpec
from models.status import RunStatus
from models.storage import Storage
from models.tables import PREDICTIONS, Run


def job_results(database: Database, storage: Storage, job_id: str, spec: JobSpec) -> JobResults:
    """Of the runs that have succeeded so far. Files are read once the transaction is over."""
    with database.read() as session:
        if isinstance(spec.evaluation, Holdout):
            runs = session.scalars(
                select(Run).where(Run.job_id == job_id, Run.status == RunStatus.SUCCEEDED).order_by(Run.position)
            ).all()
            return from_summaries(job_id, spec, {run.seed: (run.id, run.summary or {}) for run in runs})
        files = stored(session, job_id, PREDICTIONS)
    in_order = spec.evaluation.one_after_another
    return from_predictions(job_id, spec, read_by_seed(files, storage, in_order=in_order))
