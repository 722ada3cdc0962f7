"""Comparisons: jobs side by side, the same as a document, and one job's mean curves."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from api.auth.scopes import ScopedRoute
from api.comparison.align import Axis
from api.comparison.compare import compare
from api.comparison.curves import curve
from api.comparison.exports import report_csv, report_markdown
from api.comparison.groups import grouped
from api.comparison.history import CLOCK, ComparisonError, JobHistory
from api.comparison.report import report_html
from api.comparison.report.policy import content_security_policy
from api.comparison.result import Comparison, Score
from api.contenders import Chosen, chosen_jobs, fingerprint, job_histories, read_baseline, read_claim
from api.dependencies import ReadService
from api.errors import NOT_FOUND, declared, invalid
from api.measurements import Measurements, measurements
from api.responses import UNCHANGED, IfNoneMatch, not_modified, strong_etag
from api.routes.jobs import find_job
from models.answers import AggregatedSeries, JobMetrics
from models.metrics import DEFAULT_METRIC

router = APIRouter(prefix="/v1", tags=["comparisons"], route_class=ScopedRoute)

CONFIDENCE = 0.95
_VERSION = "2"
"""Part of every ETag: raise it when the same histories come to be told differently."""
_DOCUMENT = {"description": "The document", "content": {"text/html": {}, "text/markdown": {}, "text/csv": {}}}


class Question(BaseModel):
    """What to compare, in one of three ways, and how."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    job: list[str] = Field([], max_length=1_000)
    """A job's id, once for each job."""
    experiment: str | None = Field(None, max_length=200)
    """All jobs of an experiment."""
    sweep: str | None = Field(None, max_length=40)
    """All jobs of a sweep, by its id."""
    metric: str = Field(DEFAULT_METRIC, max_length=64)
    x: Axis = "step"
    target: float | None = None
    """A value of the metric; the answer tells how soon each run met it."""
    baseline: str | None = Field(None, max_length=200)
    """Id or unique name of the job that the others are paired with; the first, if left out."""
    claim: list[str] = Field([], max_length=50)
    """`A<B`: job A does better than job B, each by id or unique name."""
    score: Score = "steps_to_target"
    """What the claims are about. With seconds_to_target the profile is in seconds, and with best the ranking is by the
    best value of each run instead of the last."""
    rank_by: str | None = Field(None, max_length=200)
    """Field of the spec, as a dotted path, whose values contend in the ranking, each by the best of its specs; left
    out: optimizer.kind where it differs, else every job for itself."""
    group: Literal["auto", "spec", "job"] = "auto"
    """Whether jobs that differ in seeds alone are one contender: "auto" puts those of an experiment or a sweep
    together, and lets jobs that are named stand for themselves."""
    max_points: int = Field(300, ge=5, le=5_000)
    """Points of one curve."""


class ReportQuestion(Question):
    """The same, and as what."""

    format: Literal["html", "markdown", "csv"] = "html"


def _compared(question: Question, jobs: list[JobHistory], measured: Measurements) -> Comparison:
    try:
        comparison = compare(
            jobs,
            metric=question.metric,
            x=question.x,
            target=question.target,
            baseline=None if question.baseline is None else read_baseline(question.baseline, jobs),
            claims=[read_claim(text, jobs, question.score) for text in question.claim],
            score=question.score,
            rank_by=question.rank_by,
            max_points=question.max_points,
            confidence=CONFIDENCE,
        )
    except ComparisonError as error:
        raise invalid("", "not_comparable", str(error)) from None
    return comparison.model_copy(update=measured._asdict())


def _histories(session: Session, question: Question, jobs: list[Chosen]) -> list[JobHistory]:
    """What the comparison itself looks at, by contender."""
    histories = job_histories(session, jobs, {question.metric, CLOCK})
    if not any(question.metric in run.series for job in histories for run in job.runs):
        # Nothing to compare: the refusal lists what there is.
        histories = job_histories(session, jobs)
    return _contenders(question, histories)


def _contenders(question: Question, jobs: list[JobHistory]) -> list[JobHistory]:
    apart = question.group == "job" or (question.group == "auto" and question.job)
    return jobs if apart else grouped(jobs)


@router.get(
    "/comparisons",
    summary="Compare jobs",
    responses=declared(NOT_FOUND, also=UNCHANGED),
    response_model=Comparison,
)
def get_comparison(
    question: Annotated[Question, Query()],
    service: ReadService,
    request: Request,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Comparison | Response:
    """Aligned curves, scores, paired tests, time to target, verdicts on claims. Live runs lag by two seconds."""
    with service.database.read() as session:
        jobs = chosen_jobs(session, question.job, question.experiment, question.sweep)
        etag = strong_etag(_VERSION, request.url.query, fingerprint(session, jobs))
        if unchanged := not_modified(if_none_match, etag):
            return unchanged
        histories = _histories(session, question, jobs)
        measured = measurements(session, [job.id for job in jobs])
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "no-cache"
    return _compared(question, histories, measured)


@router.get(
    "/comparisons/report",
    summary="Compare jobs, as a document",
    response_class=Response,
    responses=declared(NOT_FOUND, also=UNCHANGED | {200: _DOCUMENT}),
)
def get_report(
    question: Annotated[ReportQuestion, Query()],
    service: ReadService,
    request: Request,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One page that needs no network, Markdown for a README, or a CSV with a row a run."""
    with service.database.read() as session:
        jobs = chosen_jobs(session, question.job, question.experiment, question.sweep)
        etag = strong_etag(_VERSION, request.url.query, fingerprint(session, jobs))
        if unchanged := not_modified(if_none_match, etag):
            return unchanged
        if question.format == "html":
            histories = _contenders(question, job_histories(session, jobs, with_snapshots=True))
        else:
            histories = _histories(session, question, jobs)
        measured = measurements(session, [job.id for job in jobs])
    comparison = _compared(question, histories, measured)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    match question.format:
        case "html":
            html = report_html(comparison, histories, title=question.experiment or "Comparison")
            return Response(
                html,
                media_type="text/html",
                headers=headers | {"Content-Security-Policy": content_security_policy(html)},
            )
        case "markdown":
            return Response(report_markdown(comparison), media_type="text/markdown", headers=headers)
        case "csv":
            return Response(report_csv(comparison), media_type="text/csv", headers=headers)


@router.get("/jobs/{job_id}/metrics", summary="Get a job's mean curves", responses=declared(NOT_FOUND))
def get_job_metrics(
    job_id: str,
    service: ReadService,
    name: Annotated[list[str], Query(max_length=32, description="Metrics; all, if none is named.")] = [],  # noqa: B006
    max_points: Annotated[int, Query(ge=5, le=5_000, description="Points of one curve.")] = 1_000,
) -> JobMetrics:
    """Mean and 95 % t interval over the runs that did not diverge, point by point. From SQL: live runs lag 2 s."""
    with service.database.read() as session:
        history = job_histories(session, [find_job(session, job_id)], set(name) or None)[0]
    names = sorted({metric for run in history.runs for metric in run.series})
    return JobMetrics(
        series={metric: _aggregated(history, metric, max_points) for metric in names}, confidence=CONFIDENCE
    )


def _aggregated(history: JobHistory, metric: str, max_points: int) -> AggregatedSeries:
    mean = curve(history, metric, "step", max_points, CONFIDENCE)
    return AggregatedSeries(
        step=[int(step) for step in mean.x], mean=mean.mean, lower=mean.lower, upper=mean.upper, runs=mean.n
    )
