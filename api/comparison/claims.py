"""Claims and their verdicts: supported, refuted or undecided. The verdict is computed, never stated."""

from collections.abc import Mapping, Sequence

from api.comparison.contest import Contest, Outcomes, contest, outcomes
from api.comparison.history import ComparisonError, JobHistory
from api.comparison.intervals import mean_interval
from api.comparison.result import Claim, Estimate, JudgedClaim, TableRow, Verdict
from api.comparison.scores import Direction
from api.comparison.significance import SIGNIFICANCE, holm, seeds_needed
from api.comparison.targets import median_with_misses
from api.comparison.wording import count, metric_words, number, p_equals, step_count, target_words


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
        if claim.score == "steps_to_target" and target is None:
            raise ComparisonError("a claim about steps to a target needs the target: give one")


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
    """Judge each claim by an exact test paired by seed, Holm-adjusted over all claims."""
    by_id = {job.job_id: job for job in jobs}
    sides = []
    for claim in claims:
        first, second = (
            outcomes(by_id[job_id], rows[job_id], claim.score, better) for job_id in (claim.better, claim.worse)
        )
        sides.append((claim, first, second, contest(first, second)))
    adjusted = holm([1.0 if result.p_value is None else result.p_value for *_, result in sides])
    judged = []
    for (claim, first, second, result), holm_p in zip(sides, adjusted, strict=True):
        statement = _statement(claim.better, claim.worse, claim, names, metric, better, target)
        reverse = _statement(claim.worse, claim.better, claim, names, metric, better, target)
        one = _judged(claim, first, second, result, holm_p, len(claims), statement, better, confidence)
        judged.append(one.model_copy(update={"sentence": _sentence(one, reverse)}))
    return judged


def overall(judged: Sequence[JudgedClaim]) -> Verdict | None:
    """Supported if every claim is, refuted if any is, else undecided; None without claims."""
    verdicts = {one.verdict for one in judged}
    if not verdicts:
        return None
    if verdicts == {"supported"}:
        return "supported"
    return "refuted" if "refuted" in verdicts else "undecided"


def _judged(
    claim: Claim,
    first: Outcomes,
    second: Outcomes,
    result: Contest,
    holm_p: float,
    family: int,
    statement: str,
    better: Direction,
    confidence: float,
) -> JudgedClaim:
    sign = -1 if better == "higher" and claim.score != "steps_to_target" else 1
    # Where a pair is censored, the mean over the others would be a difference among the survivors.
    whole = [] if result.censored else [sign * difference for difference in result.differences]
    medians = [_paired_median(mine, other, sign) for mine, other in ((first, second), (second, first))]
    return JudgedClaim(
        claim=claim,
        statement=statement,
        verdict=_verdict(result, holm_p),
        method=result.method,
        pairs=result.pairs,
        wins=result.wins,
        losses=result.losses,
        ties=result.ties,
        censored=result.censored,
        uninformative=result.uninformative,
        left_out=result.left_out,
        difference=Estimate.of(mean_interval(whole, confidence)),
        median_better=medians[0],
        median_worse=medians[1],
        ratio_of_medians=_ratio(*medians),
        p_value=result.p_value,
        smallest_p=result.smallest_p,
        holm_p=holm_p,
        seeds_needed=seeds_needed(family),
        sentence="",
    )


def _verdict(result: Contest, holm_p: float) -> Verdict:
    if holm_p > SIGNIFICANCE or result.leans == 0:
        return "undecided"
    return "supported" if result.leans < 0 else "refuted"


def _paired_median(mine: Outcomes, other: Outcomes, sign: int) -> float | None:
    paired = [one for seed, one in mine.items() if one is not None and other.get(seed) is not None]
    middle = median_with_misses([one.at_least if one.exact else None for one in paired])
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
        case "best":
            return f"{first} gets to a {better} best {metric_words(metric)} than {second}"
        case "last":
            return f"{first} ends at a {better} {metric_words(metric)} than {second}"


def _sentence(one: JudgedClaim, reverse: str) -> str:
    """The verdict and what it rests on, told from the side that is ahead once the claim is refuted."""
    tested = f"p {p_equals(one.p_value)}, Holm-adjusted p {p_equals(one.holm_p)}" if one.pairs else "no test"
    upside_down = one.verdict == "refuted"
    ahead = f"ahead on {one.losses if upside_down else one.wins} of {count(one.pairs, 'paired seed')}"
    evidence = f"{_medians(one, upside_down)}{ahead}{_set_aside(one)}; {tested}"
    match one.verdict:
        case "supported":
            return f"Supported: {one.statement} ({evidence})."
        case "refuted":
            return f"Refuted: it is the other way round, {reverse} ({evidence})."
        case "undecided":
            return f"Undecided whether {one.statement} ({evidence}).{_way_out(one)}"


def _medians(one: JudgedClaim, upside_down: bool) -> str:
    if one.pairs == 0 or (one.median_better is None and one.median_worse is None):
        return ""
    medians = [one.median_better, one.median_worse]
    if upside_down:
        medians.reverse()
    first, second = (median_words(one, middle) for middle in medians)
    what = "median steps" if one.claim.score == "steps_to_target" else "median"
    ratio = _ratio(*medians)
    times = f", {ratio:.2g} ×" if ratio is not None else ""
    return f"{what} {first} against {second}{times}; "


def median_words(one: JudgedClaim, middle: float | None) -> str:
    """The median of one side; in words when the median run has no value because it missed or diverged."""
    if middle is not None:
        return step_count(middle) if one.claim.score == "steps_to_target" else number(middle)
    if one.pairs == 0:
        return "–"
    return "a miss" if one.claim.score == "steps_to_target" else "diverged"


def _set_aside(one: JudgedClaim) -> str:
    aside = []
    if one.ties:
        aside.append(f"{count(one.ties, 'tie')}")
    if one.uninformative:
        aside.append(f"{count(one.uninformative, 'pair')} without a known winner")
    if one.left_out:
        aside.append(f"{count(one.left_out, 'seed')} left out")
    return "".join(f", {part}" for part in aside)


def _way_out(one: JudgedClaim) -> str:
    if one.wins + one.losses + one.ties == 0:
        return " No pair has a winner yet."
    if one.pairs < one.seeds_needed:
        pairs = count(one.pairs, "pair")
        return f" {pairs} cannot settle this whatever they show: it takes at least {one.seeds_needed} seeds."
    return " The seeds do not agree enough to tell."
