"""Compare jobs: the one function behind the comparison endpoint, the report and a lab's verdict."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from api.comparison.align import Axis
from api.comparison.cautions import cautions
from api.comparison.claims import check_claims, judge
from api.comparison.curves import curve
from api.comparison.difference import spec_difference, spec_fields
from api.comparison.groups import across_datasets
from api.comparison.history import ComparisonError, JobHistory, check_jobs, labels
from api.comparison.interquartile import interquartile
from api.comparison.judge import overall
from api.comparison.paired import paired_differences
from api.comparison.profile import profile
from api.comparison.ranking import ranking
from api.comparison.result import Claim, ComparedJob, Comparison, Score
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
    score: Score = "steps_to_target",
    rank_by: str | None = None,
    max_points: int = 300,
    confidence: float = 0.95,
) -> Comparison:
    """Put jobs side by side, paired by seed where a seed means the same rows.

    The baseline is the first job unless another is named; it and the claims may name a job by any id that a contender
    has. The profile takes seconds for time if `score` does, and the ranking is by the best value if `score` is, else
    by the last one. Curves keep at most `max_points` points each; `confidence` is that of every interval, while tests
    and verdicts are at 5 % over their family.

    Raises:
        ComparisonError: if the jobs, the metric, the target, the baseline, a claim or `rank_by` makes no sense.
        ValueError: if `max_points` is less than 5.

    """
    check_jobs(jobs)
    better = _direction(jobs, metric)
    if target is not None and better is None:
        raise ComparisonError(f"{metric_words(metric)} has no better direction, so no target can be reached")
    contender_of = {job_id: job.job_id for job in jobs for job_id in job.job_ids}
    claims = [_renamed(claim, contender_of) for claim in claims]
    check_claims(claims, jobs, better, target)
    reference = jobs[0].job_id if baseline is None else contender_of.get(baseline)
    if reference is None:
        raise ComparisonError(f"the baseline, job {baseline}, is not in the comparison")
    names = labels(jobs)
    rows = {job.job_id: table_row(job, metric, better, target, confidence) for job in jobs}
    curves = [curve(job, metric, x, max_points, confidence) for job in jobs]
    judged = judge(claims, jobs, rows, names, metric, better, target, confidence)
    fields = spec_fields(jobs)
    ranked = ranking(
        jobs, rows, names, fields, metric, better, "best" if score == "best" else "last", rank_by, confidence
    )
    contenders = across_datasets(jobs, names)
    time: Literal["steps_to_target", "seconds_to_target"] = (
        "seconds_to_target" if score == "seconds_to_target" else "steps_to_target"
    )
    by_the_clock = "seconds_to_target" in {score, *(claim.score for claim in claims)} or x == "seconds"
    return Comparison(
        metric=metric,
        better=better,
        x=x,
        target=target,
        score=score,
        baseline=reference,
        confidence=confidence,
        jobs=[_compared(job, names[job.job_id]) for job in jobs],
        curves=curves,
        table=list(rows.values()),
        paired=paired_differences(jobs, rows, names, reference, metric, better, confidence),
        claims=judged,
        verdict=overall([one.verdict for one in judged]) if judged else None,
        profile=None if target is None else profile(contenders, rows, time, better),
        interquartile=interquartile(contenders, rows, confidence),
        ranking=ranked,
        spec_diff=spec_difference(fields, len(jobs)),
        warnings=cautions(jobs, names, curves, metric, len(claims) or len(jobs) - 1, ranked, by_the_clock=by_the_clock),
    )


def _renamed(claim: Claim, contender_of: Mapping[str, str]) -> Claim:
    """The claim about contenders, each by the id of its first job."""
    better, worse = (contender_of.get(job_id, job_id) for job_id in (claim.better, claim.worse))
    return Claim(better=better, worse=worse, score=claim.score)


def _direction(jobs: Sequence[JobHistory], metric: str) -> Direction:
    if not any(metric in run.series for job in jobs for run in job.runs):
        recorded = sorted({name for job in jobs for run in job.runs for name in run.series})
        known = f"recorded are {', '.join(recorded)}" if recorded else "nothing is recorded yet"
        raise ComparisonError(f'no run has the metric "{metric}": {known}')
    return METRICS[metric].better if metric in METRICS else None


def _compared(job: JobHistory, label: str) -> ComparedJob:
    return ComparedJob(
        id=job.job_id,
        job_ids=job.job_ids,
        name=job.name,
        label=label,
        spec_hash=job.spec_hash,
        seeds=job.seeds,
        runs_by_status=dict(Counter(run.status for run in job.runs)),
        diverged=sum(run.diverged for run in job.runs),
    )
