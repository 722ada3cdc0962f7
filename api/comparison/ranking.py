"""Who is ahead, each by the best of the specs that it tried, and how many those were."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from api.comparison.contest import Side, match, run_outcomes
from api.comparison.difference import Fields
from api.comparison.estimate import Estimate
from api.comparison.exports import value_words
from api.comparison.history import ComparisonError, JobHistory
from api.comparison.result import TableRow
from api.comparison.scores import Direction
from api.comparison.standings import RankedContender, Ranking
from api.comparison.wording import metric_words

Selecting = Literal["last", "best"]

DEFAULT_FIELD = "optimizer.kind"

_NOTHING = Estimate(mean=None, lower=None, upper=None, n=0)


def ranking(
    jobs: Sequence[JobHistory],
    rows: Mapping[str, TableRow],
    names: Mapping[str, str],
    fields: Fields,
    metric: str,
    better: Direction,
    score: Selecting,
    field: str | None,
    confidence: float,
) -> Ranking | None:
    """Contenders are the values that the jobs have in a field of the spec: optimizer.kind where it differs, else every
    job contends for itself.

    Each stands for its spec of the best mean; a spec of which a run diverged cannot be the best, since the mean over
    the others would be one among survivors. Only a metric of validation rows selects anything.

    Raises:
        ComparisonError: if a field is asked for by which these jobs cannot be ranked.

    """
    if obstacle := _obstacle(jobs, metric, better):
        if field is not None:
            raise ComparisonError(f"there is no ranking: {obstacle}")
        return None
    if len(jobs) < 2 and field is None:
        return None
    by, entries = _entries(jobs, rows, names, fields, field, score, better)
    sign = -1 if better == "higher" else 1
    entries.sort(key=lambda one: (one.mean is None, sign * (one.mean or 0.0)))
    means, leader = [one.mean for one in entries], entries[0]
    return Ranking(
        by=by,
        score=score,
        even_budgets=len({len(one.specs) for one in entries}) == 1,
        contenders=[
            _ranked(
                one,
                None if one.mean is None else 1 + means.index(one.mean),
                _difference(one, leader, rows, score, better, confidence),
                rows,
                score,
            )
            for one in entries
        ],
    )


def _obstacle(jobs: Sequence[JobHistory], metric: str, better: Direction) -> str:
    if better is None:
        return f"neither direction of {metric_words(metric)} is better"
    if not metric.startswith("validation_"):
        return f"{metric_words(metric)} is not measured on validation rows, and nothing else may select"
    if any(job.spec.dataset != jobs[0].spec.dataset for job in jobs):
        return "the jobs differ in data set, and their scores are not on one scale"
    return ""


class _Entry(NamedTuple):
    """A contender with all of its specs, and the best of them, if any has a result."""

    label: str
    specs: list[JobHistory]
    diverged: int
    best: JobHistory | None
    mean: float | None


def _entries(
    jobs: Sequence[JobHistory],
    rows: Mapping[str, TableRow],
    names: Mapping[str, str],
    fields: Fields,
    field: str | None,
    score: Selecting,
    better: Direction,
) -> tuple[str, list[_Entry]]:
    """The field by which the jobs contend, and the contenders in the order of their first jobs."""
    if field is not None and field not in fields:
        raise ComparisonError(f'none of these specs has a field "{field[:100]}" to rank by')
    by = field or (DEFAULT_FIELD if len(set(fields[DEFAULT_FIELD].values())) > 1 else "")
    specs: dict[str, list[JobHistory]] = {}
    for job in jobs:
        # Two rates can look alike in words and still be two contenders.
        specs.setdefault(repr(fields[by].get(job.job_id)) if by else job.job_id, []).append(job)
    return by, [
        _entry(
            value_words(fields[by].get(tried[0].job_id)) if by else names[tried[0].job_id], tried, rows, score, better
        )
        for tried in specs.values()
    ]


def _entry(
    label: str, specs: list[JobHistory], rows: Mapping[str, TableRow], score: Selecting, better: Direction
) -> _Entry:
    whole = [job for job in specs if not any(run.diverged for run in job.runs)]
    means = [(mean, job) for job in whole if (mean := _estimate(rows[job.job_id], score).mean) is not None]
    diverged = len(specs) - len(whole)
    if not means:
        return _Entry(label, specs, diverged, None, None)
    mean, best = (max if better == "higher" else min)(means, key=lambda one: one[0])
    return _Entry(label, specs, diverged, best, mean)


def _estimate(row: TableRow, score: Selecting) -> Estimate:
    return row.last if score == "last" else row.best


def _difference(
    one: _Entry,
    leader: _Entry,
    rows: Mapping[str, TableRow],
    score: Selecting,
    better: Direction,
    confidence: float,
) -> Estimate:
    if one.best is None or leader.best is None or one is leader:
        return _NOTHING
    sides = [Side(job, run_outcomes(job, rows[job.job_id], score, better)) for job in (one.best, leader.best)]
    found = match(sides[0], sides[1], confidence).difference
    return Estimate.of(found.negated() if better == "higher" else found)


def _ranked(
    one: _Entry, rank: int | None, difference: Estimate, rows: Mapping[str, TableRow], score: Selecting
) -> RankedContender:
    tied = None
    if difference.lower is not None and difference.upper is not None:
        tied = difference.lower <= 0 <= difference.upper
    return RankedContender(
        rank=rank,
        label=one.label,
        job_id=None if one.best is None else one.best.job_id,
        job_ids=[job_id for job in one.specs for job_id in job.job_ids],
        tried=len(one.specs),
        diverged=one.diverged,
        estimate=_NOTHING if one.best is None else _estimate(rows[one.best.job_id], score),
        difference=difference,
        tied=tied,
    )
