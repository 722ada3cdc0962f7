"""Diagnoses: what ails a run, or a job, told from its losses."""

from fastapi import APIRouter
from sqlalchemy.orm import Session

from api.auth.scopes import ScopedRoute
from api.comparison.diagnose import LOSSES, Diagnosis, diagnose, diagnose_job
from api.comparison.history import JobHistory, RunHistory
from api.contenders import job_histories
from api.dependencies import ReadService
from api.errors import NOT_FOUND, Refusal, declared
from api.routes.jobs import find_job
from models import answers
from models.tables import Run

router = APIRouter(prefix="/v1", tags=["comparisons"], route_class=ScopedRoute)


@router.get("/runs/{run_id}/diagnosis", summary="Diagnose a run", responses=declared(NOT_FOUND))
def get_run_diagnosis(run_id: str, service: ReadService) -> answers.Diagnosis:
    """Diverged, unstable, overfitting, underfitting or a good fit: by which numbers, and what to change in the spec."""
    with service.database.read() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise Refusal(NOT_FOUND, f"there is no run {run_id}")
        job = _history(session, run.job_id)
    history = next(one for one in job.runs if one.run_id == run_id)
    return _answer(history, diagnose(history, job.spec))


@router.get("/jobs/{job_id}/diagnosis", summary="Diagnose a job", responses=declared(NOT_FOUND))
def get_job_diagnosis(job_id: str, service: ReadService) -> answers.JobDiagnosis:
    """The verdict of most of its runs, and the verdict of each. What is still in training is judged as it stands."""
    with service.database.read() as session:
        job = _history(session, job_id)
    found = diagnose_job(job)
    return answers.JobDiagnosis(
        job_id=job_id,
        verdict=found.verdict,
        advice=found.advice,
        field=found.field,
        runs=[_answer(run, found.runs[run.run_id]) for run in job.runs],
    )


def _history(session: Session, job_id: str) -> JobHistory:
    (history,) = job_histories(session, [find_job(session, job_id)], LOSSES)
    return history


def _answer(run: RunHistory, found: Diagnosis) -> answers.Diagnosis:
    return answers.Diagnosis(
        run_id=run.run_id,
        seed=run.seed,
        verdict=found.verdict,
        since_epoch=found.since_epoch,
        numbers=dict(found.numbers),
        advice=found.advice,
        field=found.field,
    )
