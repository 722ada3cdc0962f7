"""Every job against the baseline, on the last value of the metric."""

from collections.abc import Mapping, Sequence

from api.comparison.contest import Contest, Side, match, run_outcomes
from api.comparison.estimate import Estimate
from api.comparison.history import JobHistory
from api.comparison.result import Method, PairedDifference, TableRow, Unpaired
from api.comparison.scores import Direction
from api.comparison.significance import SIGNIFICANCE, holm, seeds_needed
from api.comparison.wording import count, metric_words, number, p_equals

METHOD_WORDS: dict[Method, str] = {
    "sign_flip": "exact sign-flip test",
    "sign_flip_monte_carlo": "sign-flip test by 100,000 random flips",
    "sign_test": "exact sign test on who won each pair",
    "nadeau_bengio": "t-test corrected for the rows that folds share",
    "welch": "Welch's t, unpaired",
    "none": "no test",
}

UNPAIRED_WORDS: dict[Unpaired, str] = {
    "not_the_same_rows": "not the same rows",
    "too_few_common_seeds": "too few common seeds to pair",
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

    Runs are paired on their seed and fold, never on their position, and only where those stand for the same rows. Else,
    and with fewer than two common seeds, Welch's t compares the seeds as they are, and the sentence says so. A diverged
    run has no difference but it lost its pair, so with one the sign test decides.
    """
    sides = {job.job_id: Side(job, run_outcomes(job, rows[job.job_id], "last", better)) for job in jobs}
    others = [job for job in jobs if job.job_id != baseline]
    found = [match(sides[job.job_id], sides[baseline], confidence) for job in others]
    adjusted = holm([1.0 if one.p_value is None else one.p_value for one in found])
    needed = seeds_needed(max(1, len(others)))
    differences = []
    for job, one, holm_p in zip(others, found, adjusted, strict=True):
        difference = Estimate.of(one.difference.negated() if better == "higher" else one.difference)
        said = _difference_in_words(names[job.job_id], names[baseline], metric, one, difference)
        differences.append(
            PairedDifference(
                job_id=job.job_id,
                baseline_id=baseline,
                method=one.method,
                unpaired=one.unpaired,
                pairs=one.pairs,
                left_out=one.left_out,
                difference=difference,
                p_value=one.p_value,
                smallest_p=one.smallest_p,
                holm_p=None if one.p_value is None else holm_p,
                seeds_needed=needed,
                sentence=said + _test_in_words(one, holm_p, needed),
            )
        )
    return differences


def _difference_in_words(job: str, reference: str, metric: str, one: Contest, difference: Estimate) -> str:
    if difference.mean is None:
        said = f'"{job}" and "{reference}" have no finished pair in {metric_words(metric)}'
    else:
        where = "above" if difference.mean > 0 else "below"
        amount = f"{number(abs(difference.mean))} {where}" if difference.mean else "with no difference to"
        said = f'"{job}" ends {amount} "{reference}" in {metric_words(metric)} on average'
        if difference.lower is not None:
            said += f" (difference {number(difference.lower)} to {number(difference.upper)})"
    return f"{said}; {', '.join(_basis(one))}."


def _basis(one: Contest) -> list[str]:
    """What the difference rests on, and what it leaves out."""
    unit = "fold" if one.method == "nadeau_bengio" else "seed"
    if one.unpaired:
        basis = [f"{METHOD_WORDS['welch']}: {UNPAIRED_WORDS[one.unpaired]}"]
        if one.censored:
            basis.append(f"without {count(one.censored, 'diverged seed')}")
    else:
        basis = [f"{count(one.pairs, 'pair')} by seed{' and fold' if unit == 'fold' else ''}"]
        if one.censored:
            basis.append(f"{count(one.censored, 'pair')} decided by a diverged run, ahead on {one.wins}")
    if one.uninformative:
        basis.append(f"{count(one.uninformative, 'pair')} diverged on both sides")
    if one.left_out:
        basis.append(f"{count(one.left_out, unit)} left out")
    return basis


def _test_in_words(one: Contest, holm_p: float, needed: int) -> str:
    if one.p_value is None:
        if one.unpaired and one.censored:
            return " No test: a seed that diverged has no place in a mean."
        return " Too few finished runs for a test."
    how = "" if one.unpaired else f" ({METHOD_WORDS[one.method]})"
    said = f" p {p_equals(one.p_value)}, Holm-adjusted p {p_equals(holm_p)}{how}."
    if holm_p > SIGNIFICANCE and one.smallest_p is not None and one.pairs < needed:
        said += f" {count(one.pairs, 'pair')} cannot settle this at 5 %: it takes at least {needed} seeds."
    return said
