"""Analyses: what is measured of trained networks, asked for by a spec or later."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import RootModel
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, undefer

from api.auth.audit import record
from api.dependencies import ReadService, SubmitService
from api.errors import ILLEGAL_ACTION, NOT_FOUND, NOT_JSON, TOO_LARGE, Refusal, declared, invalid
from api.http.limits import JsonRoute
from api.pages import single_page
from api.routes.jobs import find_job
from api.routes.runs import demand_run
from models import analysing, answers
from models.analysing import SEALED_TEST
from models.spec.analyses import LaterAnalysis, Line
from models.spec.job import JobSpec
from models.status import RunStatus
from models.tables import Analysis, Job, Run

router = APIRouter(prefix="/v1", tags=["analyses"], route_class=JsonRoute)


class WantedAnalysis(RootModel[LaterAnalysis]):
    """An analysis, or its bare name."""


Details = Annotated[bool, Query(description="With curves, grids and eigenvalues, too.")]


@router.get("/runs/{run_id}/analyses", summary="List a run's analyses", responses=declared(NOT_FOUND))
def list_run_analyses(run_id: str, service: ReadService, details: Details = True) -> answers.Page[answers.Analysis]:
    """What was measured of the run, or waits to be, by age; all on one page."""
    with service.database.read() as session:
        demand_run(session, run_id)
        return single_page(_answers(session, Run.id == run_id, details=details))


@router.get("/jobs/{job_id}/analyses", summary="List a job's analyses", responses=declared(NOT_FOUND))
def list_job_analyses(job_id: str, service: ReadService, details: Details = False) -> answers.Page[answers.Analysis]:
    """Those of all its runs, by position and age; all on one page, and without details unless they are asked for."""
    with service.database.read() as session:
        find_job(session, job_id)
        return single_page(_answers(session, Run.job_id == job_id, details=details))


@router.post(
    "/runs/{run_id}/analyses",
    status_code=202,
    summary="Analyse a run",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, TOO_LARGE, NOT_JSON),
)
def analyse_run(run_id: str, wanted: WantedAnalysis, service: SubmitService) -> answers.Analysis:
    """Have a worker measure the network of a succeeded run. The same measurement is made once, unless it failed."""
    with service.database.write() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise Refusal(NOT_FOUND, f"there is no run {run_id}")
        if run.status != RunStatus.SUCCEEDED:
            raise Refusal(ILLEGAL_ACTION, f"the run is {run.status}: it is analysed once it has succeeded")
        job = session.get_one(Job, run.job_id)
        _ask(session, job, [run_id], wanted.root)
        record(session, service.principal, "analysed", job, run_id=run_id, kind=wanted.root.kind)
        (answer,) = (one for one in _answers(session, Run.id == run_id) if one.options == _options(wanted.root))
    service.relay.nudge()
    return answer


@router.post(
    "/jobs/{job_id}/analyses",
    status_code=202,
    summary="Analyse a job",
    responses=declared(NOT_FOUND, ILLEGAL_ACTION, TOO_LARGE, NOT_JSON),
)
def analyse_job(job_id: str, wanted: WantedAnalysis, service: SubmitService) -> answers.Page[answers.Analysis]:
    """The same for all runs of a job that have succeeded: they are measured together."""
    with service.database.write() as session:
        job = find_job(session, job_id)
        succeeded = session.scalars(
            select(Run.id).where(Run.job_id == job_id, Run.status == RunStatus.SUCCEEDED).order_by(Run.position)
        ).all()
        if not succeeded:
            raise Refusal(ILLEGAL_ACTION, "no run of this job has succeeded yet: there is nothing to analyse")
        _ask(session, job, succeeded, wanted.root)
        record(session, service.principal, "analysed", job, kind=wanted.root.kind)
        asked = [one for one in _answers(session, Run.job_id == job_id) if one.options == _options(wanted.root)]
    service.relay.nudge()
    return single_page(asked)


def _options(analysis: LaterAnalysis) -> dict[str, Any]:
    return analysis.model_dump(mode="json")


def _ask(session: Session, job: Job, run_ids: Sequence[str], analysis: LaterAnalysis) -> None:
    spec = JobSpec.model_validate(job.spec)
    if misfit := analysis.misfit(spec.dataset.shape):
        raise invalid("", "does_not_fit_data", misfit)
    if isinstance(analysis, Line):
        _demand_same_network(session, spec, analysis.to)
    analysing.ask(session, run_ids, _options(analysis), job.priority)


def _demand_same_network(session: Session, spec: JobSpec, other_id: str) -> None:
    row = session.execute(select(Run.status, Job.spec).join(Job).where(Run.id == other_id)).one_or_none()
    if row is None:
        raise invalid("/to", "no_such_run", f"there is no run {other_id}")
    if row.status != RunStatus.SUCCEEDED:
        raise invalid("/to", "not_succeeded", f"run {other_id} is {row.status}: a line needs its weights")
    other = JobSpec.model_validate(row.spec)
    if (other.network, other.dataset.shape) != (spec.network, spec.dataset.shape):
        raise invalid("/to", "another_network", f"run {other_id} has another network: no line joins their weights")


def _answers(session: Session, of_runs: ColumnElement[bool], *, details: bool = False) -> list[answers.Analysis]:
    statement = (
        select(Analysis, Run.job_id, Run.seed, Run.member)
        .join(Run, Run.id == Analysis.run_id)
        .where(of_runs, Analysis.kind != SEALED_TEST)
        .order_by(Run.position, Analysis.queued_at, Analysis.id)
    )
    if details:
        statement = statement.options(undefer(Analysis.details))
    return [
        answers.Analysis(
            id=row.id,
            run_id=row.run_id,
            job_id=job_id,
            seed=seed,
            member=member,
            kind=row.kind,
            options=row.options,
            status=row.status,
            is_terminal=RunStatus(row.status).is_terminal,
            status_detail=row.status_detail,
            values=row.values or {},
            details=(row.details or {}) if details else {},
            queued_at=row.queued_at,
            finished_at=row.finished_at,
        )
        for row, job_id, seed, member in session.execute(statement)
    ]
