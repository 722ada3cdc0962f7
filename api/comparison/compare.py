"""Compare jobs: the one function behind the comparison endpoint, the report and a lab's verdict."""

from collections import Counter
from collections.abc import Sequence

from api.comparison.align import Axis
from api.comparison.cautions import cautions
from api.comparison.claims import check_claims, judge, overall
from api.comparison.curves import curve
from api.comparison.difference import spec_difference
from api.comparison.history import ComparisonError, JobHistory, check_jobs, labels
from api.comparison.paired import paired_differences
from api.comparison.result import Claim, ComparedJob, Comparison
from api.comparison.scores import Direction, table_row
from api.comparison.wording import metric_words
from models.metrics import DEFAULT_METRIC, METRICS


def compare(
    jobs: Sequence[JobHistory],
    *,
    metric: str = DEFAULT_METRIC,
    x: Axis = "step",
    target: float | None = None,
    baseline: str | None = None,
    claims: Sequence[Claim] = (),
    max_points: int = 300,
    confidence: float = 0.95,
) -> Comparison:
    """Put jobs side by side, paired by seed.

    The baseline is the first job unless another is named. Curves keep at most `max_points` points each; `confidence`
    is that of every interval, while tests and verdicts are at 5 % over their family.

    Raises:
        ComparisonError: if the jobs, the metric, the target, the baseline or a claim cannot be compared.
        ValueError: if `max_points` is less than 5.

    """
    check_jobs(jobs)
    better = _direction(jobs, metric)
    if target is not None and better is None:
        raise ComparisonError(f"{metric_words(metric)} has no better direction, so no target can be reached")
    check_claims(claims, jobs, better, target)
    reference = jobs[0].job_id if baseline is None else baseline
    if reference not in {job.job_id for job in jobs}:
        raise ComparisonError(f"the baseline, job {reference}, is not in the comparison")
    names = labels(jobs)
    rows = {job.job_id: table_row(job, metric, better, target, confidence) for job in jobs}
    curves = [curve(job, metric, x, max_points, confidence) for job in jobs]
    judged = judge(claims, jobs, rows, names, metric, better, target, confidence)
    return Comparison(
        metric=metric,
        better=better,
        x=x,
        target=target,
        baseline=reference,
        confidence=confidence,
        jobs=[_compared(job, names[job.job_id]) for job in jobs],
        curves=curves,
        table=list(rows.values()),
        paired=paired_differences(jobs, rows, names, reference, metric, better, confidence),
        claims=judged,
        verdict=overall(judged),
        spec_diff=spec_difference(jobs),
        warnings=cautions(jobs, names, curves, metric, family=len(claims) or len(jobs) - 1),
    )


def _direction(jobs: Sequence[JobHistory], metric: str) -> Direction:
    if not any(metric in run.series for job in jobs for run in job.runs):
        recorded = sorted({name for job in jobs for run in job.runs for name in run.series})
        known = f"recorded are {', '.join(recorded)}" if recorded else "nothing is recorded yet"
        raise ComparisonError(f'no run has the metric "{metric}": {known}')
    return METRICS[metric].better if metric in METRICS else None


def _compared(job: JobHistory, label: str) -> ComparedJob:
    return ComparedJob(
        id=job.job_id,
        name=job.name,
        label=label,
        spec_hash=job.spec.spec_hash,
        seeds=job.seeds,
        runs_by_status=dict(Counter(run.status for run in job.runs)),
        diverged=sum(run.diverged for run in job.runs),
    )
