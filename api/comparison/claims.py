"""Claims and their verdicts: supported, refuted or undecided. The verdict is computed, never stated."""

from collections.abc import Mapping, Sequence

from api.comparison.contest import Contest, Outcome, Side, match, run_outcomes
from api.comparison.estimate import Estimate
from api.comparison.history import ComparisonError, JobHistory
from api.comparison.paired import METHOD_WORDS, UNPAIRED_WORDS
from api.comparison.result import Claim, JudgedClaim, Score, TableRow
from api.comparison.scores import Direction
from api.comparison.significance import SIGNIFICANCE, holm, seeds_needed
from api.comparison.targets import median_with_misses
from api.comparison.wording import (
    count,
    metric_words,
    number,
    p_equals,
    seconds_in_words,
    step_count,
    target_words,
)
from models.claims import Verdict

TIMES: Mapping[Score, str] = {"steps_to_target": "steps", "seconds_to_target": "seconds"}
"""Scores for which a run has to meet a target, and in what they count."""


def check_claims(claims: Sequence[Claim], jobs: Sequence[JobHistory], better: Direction, target: float | None) -> None:
    """Refuse claims that cannot be judged.

    Raises:
        ComparisonError: if a claim names an unknown job or one job twice, needs a target and has none, or speaks of a
            metric of which neither direction is better.

    """
    known = {job.job_id for job in jobs}
    for claim in claims:
        for job_id in (claim.better, claim.worse):
            if job_id not in known:
                raise ComparisonError(f"a claim names job {job_id}, which is not in the comparison")
        if claim.better == claim.worse:
            raise ComparisonError(f"a claim compares job {claim.better} with itself")
        if better is None:
            raise ComparisonError("a claim needs a metric of which one direction is better")
        if claim.score in TIMES and target is None:
            raise ComparisonError(f"a claim about {TIMES[claim.score]} to a target needs the target: give one")


def judge(
    claims: Sequence[Claim],
    jobs: Sequence[JobHistory],
    rows: Mapping[str, TableRow],
    names: Mapping[str, str],
    metric: str,
    better: Direction,
    target: float | None,
    confidence: float,
) -> list[JudgedClaim]:
    """Judge each claim by a test paired by seed, or unpaired where the jobs make no pairs, Holm-adjusted over all."""
    by_id = {job.job_id: job for job in jobs}
    found = []
    for claim in claims:
        first, second = (
            Side(by_id[job_id], run_outcomes(by_id[job_id], rows[job_id], claim.score, better))
            for job_id in (claim.better, claim.worse)
        )
        found.append((claim, match(first, second, confidence)))
    adjusted = holm([1.0 if result.p_value is None else result.p_value for _, result in found])
    judged = []
    for (claim, result), holm_p in zip(found, adjusted, strict=True):
        statement = _statement(claim.better, claim.worse, claim, names, metric, better, target)
        reverse = _statement(claim.worse, claim.better, claim, names, metric, better, target)
        one = _judged(claim, result, holm_p, len(claims), statement, better)
        judged.append(one.model_copy(update={"sentence": _sentence(one, reverse)}))
    return judged


def _judged(
    claim: Claim, result: Contest, holm_p: float, family: int, statement: str, better: Direction
) -> JudgedClaim:
    upside_down = better == "higher" and claim.score not in TIMES
    # Where a pair is censored, the mean over the others would be a difference among the survivors.
    difference = None if result.censored else result.difference
    medians = [_median(side, -1 if upside_down else 1) for side in result.against]
    return JudgedClaim(
        claim=claim,
        statement=statement,
        verdict=_verdict(result, holm_p),
        method=result.method,
        unpaired=result.unpaired,
        pairs=result.pairs,
        wins=result.wins,
        losses=result.losses,
        ties=result.ties,
        censored=result.censored,
        uninformative=result.uninformative,
        left_out=result.left_out,
        difference=_NO_DIFFERENCE
        if difference is None
        else Estimate.of(difference.negated() if upside_down else difference),
        median_better=medians[0],
        median_worse=medians[1],
        ratio_of_medians=_ratio(*medians),
        p_value=result.p_value,
        smallest_p=result.smallest_p,
        holm_p=holm_p,
        seeds_needed=seeds_needed(family),
        sentence="",
    )


_NO_DIFFERENCE = Estimate(mean=None, lower=None, upper=None, n=0)


def _verdict(result: Contest, holm_p: float) -> Verdict:
    if holm_p > SIGNIFICANCE or result.leans == 0:
        return "undecided"
    return "supported" if result.leans < 0 else "refuted"


def _median(side: Sequence[Outcome], sign: int) -> float | None:
    middle = median_with_misses([one.at_least if one.exact else None for one in side])
    return None if middle is None else sign * middle


def _ratio(first: float | None, second: float | None) -> float | None:
    return first / second if first is not None and second is not None and min(first, second) > 0 else None


def _statement(
    ahead: str,
    behind: str,
    claim: Claim,
    names: Mapping[str, str],
    metric: str,
    better: Direction,
    target: float | None,
) -> str:
    first, second = f'"{names[ahead]}"', f'"{names[behind]}"'
    match claim.score:
        case "steps_to_target":
            assert target is not None
            return f"{first} reaches {target_words(metric, better, target)} in fewer steps than {second}"
        case "seconds_to_target":
            assert target is not None
            words = target_words(metric, better, target)
            return f"{first} reaches {words} in fewer seconds of training than {second}"
        case "best":
            return f"{first} gets to a {better} best {metric_words(metric)} than {second}"
        case "last":
            return f"{first} ends at a {better} {metric_words(metric)} than {second}"


def _sentence(one: JudgedClaim, reverse: str) -> str:
    """The verdict and what it rests on, told from the side that is ahead once the claim is refuted."""
    tested = "no test"
    if one.p_value is not None:
        tested = f"p {p_equals(one.p_value)}, Holm-adjusted p {p_equals(one.holm_p)}"
    upside_down = one.verdict == "refuted"
    evidence = f"{_medians(one, upside_down)}{_tally(one, upside_down)}{_set_aside(one)}; {tested}"
    match one.verdict:
        case "supported":
            return f"Supported: {one.statement} ({evidence})."
        case "refuted":
            return f"Refuted: it is the other way round, {reverse} ({evidence})."
        case "undecided":
            return f"Undecided whether {one.statement} ({evidence}).{_way_out(one)}"


def _tally(one: JudgedClaim, upside_down: bool) -> str:
    if one.unpaired:
        return f"{METHOD_WORDS['welch']}: {UNPAIRED_WORDS[one.unpaired]}"
    unit = "fold" if one.method == "nadeau_bengio" else "seed"
    said = f"ahead on {one.losses if upside_down else one.wins} of {count(one.pairs, f'paired {unit}')}"
    return f"{said}, {METHOD_WORDS['nadeau_bengio']}" if unit == "fold" else said


def _medians(one: JudgedClaim, upside_down: bool) -> str:
    if one.median_better is None and one.median_worse is None:
        return ""
    medians = [one.median_better, one.median_worse]
    if upside_down:
        medians.reverse()
    first, second = (median_words(one, middle) for middle in medians)
    what = f"median {TIMES[one.claim.score]}" if one.claim.score in TIMES else "median"
    ratio = _ratio(*medians)
    times = f", {ratio:.2g} ×" if ratio is not None else ""
    return f"{what} {first} against {second}{times}; "


def median_words(one: JudgedClaim, middle: float | None) -> str:
    """The median of one side; in words when the median run has no value because it missed or diverged."""
    if middle is not None:
        match one.claim.score:
            case "steps_to_target":
                return step_count(middle)
            case "seconds_to_target":
                return seconds_in_words(middle)
            case _:
                return number(middle)
    if one.pairs == 0 and not one.unpaired:
        return "–"
    return "a miss" if one.claim.score in TIMES else "diverged"


def _set_aside(one: JudgedClaim) -> str:
    aside = []
    if one.ties:
        aside.append(f"{count(one.ties, 'tie')}")
    if one.uninformative:
        aside.append(f"{count(one.uninformative, 'pair')} without a known winner")
    if one.left_out:
        aside.append(f"{count(one.left_out, 'fold' if one.method == 'nadeau_bengio' else 'seed')} left out")
    return "".join(f", {part}" for part in aside)


def _way_out(one: JudgedClaim) -> str:
    if one.unpaired:
        if one.censored:
            return " Seeds that missed or diverged have no place in a mean, so nothing can be tested without pairs."
        return " Too few seeds for a test." if one.p_value is None else " The seeds do not agree enough to tell."
    if one.wins + one.losses + one.ties == 0:
        return " No pair has a winner yet."
    if one.ties == one.pairs:
        return " All pairs are ties: there is no difference."
    if one.smallest_p is not None and one.pairs < one.seeds_needed:
        pairs = count(one.pairs, "pair")
        return f" {pairs} cannot settle this whatever they show: it takes at least {one.seeds_needed} seeds."
    if one.p_value is None:
        return " Too few common seeds for a test."
    return " The seeds do not agree enough to tell."
