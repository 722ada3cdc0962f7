"""Every job against the baseline, on the last value of the metric."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from api.comparison.contest import Contest, contest, outcomes
from api.comparison.history import JobHistory
from api.comparison.intervals import mean_interval, welch
from api.comparison.result import Estimate, Method, PairedDifference, TableRow
from api.comparison.scores import Direction
from api.comparison.significance import SIGNIFICANCE, holm, seeds_needed
from api.comparison.wording import count, metric_words, number, p_equals

METHOD_WORDS: dict[Method, str] = {
    "sign_flip": "exact sign-flip test",
    "sign_flip_monte_carlo": "sign-flip test by 100,000 random flips",
    "sign_test": "exact sign test on who won each pair",
    "welch": "Welch's t, unpaired",
    "none": "no test",
}


def paired_differences(
    jobs: Sequence[JobHistory],
    rows: Mapping[str, TableRow],
    names: Mapping[str, str],
    baseline: str,
    metric: str,
    better: Direction,
    confidence: float,
) -> list[PairedDifference]:
    """One difference for each job but the baseline, Holm-adjusted over all of them.

    Runs are paired on their seed, never on their position. Fewer than two common seeds cannot be paired: then Welch's t
    compares the runs as they are, and the sentence says so. A diverged run has no difference but it lost its pair, so
    with one the sign test decides.
    """
    reference = next(job for job in jobs if job.job_id == baseline)
    others = [job for job in jobs if job is not reference]
    tested = [_test(job, reference, rows, better, confidence) for job in others]
    adjusted = holm([1.0 if one.p_value is None else one.p_value for one in tested])
    needed = seeds_needed(max(1, len(others)))
    return [
        PairedDifference(
            job_id=job.job_id,
            baseline_id=baseline,
            method=one.method,
            pairs=one.result.pairs,
            left_out=one.result.left_out,
            difference=one.difference,
            p_value=one.p_value,
            smallest_p=one.smallest_p,
            holm_p=None if one.p_value is None else holm_p,
            seeds_needed=needed,
            sentence=_difference_in_words(names[job.job_id], names[baseline], metric, one)
            + _test_in_words(one, holm_p, needed),
        )
        for job, one, holm_p in zip(others, tested, adjusted, strict=True)
    ]


class _Tested(NamedTuple):
    """One job against the baseline, before the family is known."""

    method: Method
    result: Contest
    difference: Estimate
    p_value: float | None
    smallest_p: float | None


def _test(
    job: JobHistory, reference: JobHistory, rows: Mapping[str, TableRow], better: Direction, confidence: float
) -> _Tested:
    mine, theirs = rows[job.job_id], rows[reference.job_id]
    result = contest(outcomes(job, mine, "last", better), outcomes(reference, theirs, "last", better))
    sign = -1 if better == "higher" else 1
    paired = Estimate.of(mean_interval([sign * difference for difference in result.differences], confidence))
    if result.pairs >= 2:
        return _Tested(result.method, result, paired, result.p_value, result.smallest_p)
    first, second = ([run.last for run in row.runs if run.counted and run.last is not None] for row in (mine, theirs))
    if min(len(first), len(second)) < 2:
        return _Tested("none", result, paired, None, None)
    difference, p_value = welch(first, second, confidence)
    return _Tested("welch", result, Estimate.of(difference), p_value, None)


def _difference_in_words(job: str, reference: str, metric: str, one: _Tested) -> str:
    result, difference = one.result, one.difference
    if difference.mean is None:
        said = f'"{job}" and "{reference}" have no finished pair in {metric_words(metric)}'
    else:
        where = "above" if difference.mean > 0 else "below"
        amount = f"{number(abs(difference.mean))} {where}" if difference.mean else "level with"
        said = f'"{job}" ends {amount} "{reference}" in {metric_words(metric)} on average'
        if difference.lower is not None:
            said += f" (difference {number(difference.lower)} to {number(difference.upper)})"
    if one.method == "welch":
        basis = [f"{METHOD_WORDS['welch']}, too few common seeds to pair: {result.pairs}"]
    else:
        basis = [f"{count(result.pairs, 'pair')} by seed"]
    if result.censored:
        basis.append(f"{count(result.censored, 'pair')} decided by a diverged run, ahead on {result.wins}")
    if result.uninformative:
        basis.append(f"{count(result.uninformative, 'pair')} diverged on both sides")
    if result.left_out:
        basis.append(f"{count(result.left_out, 'seed')} left out")
    return f"{said}; {', '.join(basis)}."


def _test_in_words(one: _Tested, holm_p: float, needed: int) -> str:
    if one.p_value is None:
        return " Too few finished runs for a test."
    said = f" p {p_equals(one.p_value)}, Holm-adjusted p {p_equals(holm_p)} ({METHOD_WORDS[one.method]})."
    if holm_p > SIGNIFICANCE and one.method != "welch" and one.result.pairs < needed:
        said += f" {count(one.result.pairs, 'pair')} cannot settle this at 5 %: it takes at least {needed} seeds."
    return said
