"""Verdicts on claims about quantities: supported, refuted or undecided, with effect and interval, wherever the numbers
come from.

`less` takes the exact paired test (or Welch's t, where two jobs were judged on different rows), `diagnosed` an exact
binomial test against one half; both decide once their p, Holm-adjusted over all such claims of the family, does not
exceed 5 %. `between` and `close` claim equivalence. They are supported where the 95 % t interval lies inside the
bounds, which is two one-sided tests at 2.5 % each (Schuirmann 1987), and refuted where it lies outside. Their support
needs no adjustment: a family is supported if every claim is, and an intersection of tests has the level of each
(Berger 1982). A refutation by an interval stands at 2.5 % for itself, however many claims there are.
"""

from collections.abc import Sequence
from math import inf, isfinite, nan
from statistics import fmean
from typing import Literal, NamedTuple

from api.comparison.contest import Contest, apart, contest
from api.comparison.estimate import Estimate, finite
from api.comparison.finding import Finding, Sample
from api.comparison.finding_words import bounds_in_words, other, sentence, without_value_in_words
from api.comparison.history import ComparisonError
from api.comparison.intervals import MeanInterval, mean_interval
from api.comparison.pairing import same_rows
from api.comparison.significance import SIGNIFICANCE, holm, sign_test, smallest_p
from api.comparison.wording import number
from models.claims import Between, Close, Diagnosed, JudgedClaim, Judgement, Less, Verdict

CONFIDENCE = 0.95

NOTHING = MeanInterval(nan, nan, nan, 0)


def less(claim: Less, left: Sample, right: Sample) -> Finding:
    """Whether left is lower than right, seed against seed.

    Raises:
        ComparisonError: if of one of them lower is better and of the other higher.

    """
    sides = _against(left, right)
    result = sides.contest
    # Of numbers that are better when higher, the winner of a pair is the one that is not lower.
    ahead = (result.wins, result.losses) if left.sign > 0 else (result.losses, result.wins)
    return Finding(
        claim=claim,
        statement=f"{left.words} is lower than {other(right, left)}",
        method=result.method,
        seeds=sides.seeds,
        effect=sides.effect,
        leans=_sign(-result.leans * left.sign),
        left=sides.left,
        right=sides.right,
        wins=ahead[0],
        losses=ahead[1],
        ties=result.ties,
        censored=result.censored,
        left_out=result.left_out + result.uninformative,
        p_value=result.p_value,
        smallest_p=result.smallest_p,
    )


def close(claim: Close, left: Sample, right: Sample) -> Finding:
    """Whether the mean paired difference is known to lie within ± margin.

    Raises:
        ComparisonError: as of `less`.

    """
    sides = _against(left, right)
    result = sides.contest
    differences = _differences(left, right) if result.unpaired is None else []
    within = sum(abs(difference) < claim.margin for difference in differences)
    return Finding(
        claim=claim,
        statement=f"{left.words} is within {number(claim.margin)} of {other(right, left)}",
        method="interval",
        effect=sides.effect,
        leans=_inside(sides.effect, -claim.margin, claim.margin),
        seeds=sides.effect.n,
        left=sides.left,
        right=sides.right,
        wins=within,
        losses=len(differences) - within,
        censored=result.censored,
        left_out=result.left_out + result.uninformative,
        remark=without_value_in_words(result.censored),
    )


def between(claim: Between, of: Sample) -> Finding:
    """Whether the mean over seeds is known to lie between the bounds."""
    values = list(of.values.values())
    effect = NOTHING if of.without_value else mean_interval(values, CONFIDENCE)
    low = -inf if claim.low is None else claim.low
    high = inf if claim.high is None else claim.high
    within = sum(low < value < high for value in values)
    return Finding(
        claim=claim,
        statement=f"{of.words} {bounds_in_words(claim)}",
        method="interval",
        effect=effect,
        leans=_inside(effect, low, high),
        seeds=len(values),
        left=finite(effect.mean),
        wins=within,
        losses=len(values) - within,
        censored=of.without_value,
        left_out=sum(one is None for one in of.outcomes.values()),
        remark=without_value_in_words(of.without_value),
    )


def diagnosed(claim: Diagnosed, job: str, verdicts: Sequence[str | None]) -> Finding:
    """Whether more than half of all such runs would be diagnosed so, by an exact binomial test against one half.

    `verdicts` has an element a run, None where it is too early for one.
    """
    known = [verdict for verdict in verdicts if verdict is not None]
    agreeing = sum(verdict == claim.verdict for verdict in known)
    against = len(known) - agreeing
    share = agreeing / len(known) if known else nan
    return Finding(
        claim=claim,
        statement=f'most runs of "{job}" are diagnosed as {claim.verdict.replace("_", " ")}',
        method="binomial" if known else "none",
        effect=MeanInterval(share, nan, nan, len(known)),
        leans=_sign(agreeing - against),
        seeds=len(known),
        left=finite(share),
        wins=agreeing,
        losses=against,
        left_out=len(verdicts) - len(known),
        p_value=sign_test(agreeing, against) if known else None,
        smallest_p=smallest_p(len(known)) if known else None,
    )


def judgement(findings: Sequence[Finding]) -> Judgement:
    """The verdicts on a family of claims, and the one on all of them."""
    tested = [one for one in findings if one.is_tested]
    adjusted = holm([1.0 if one.p_value is None else one.p_value for one in tested])
    by_claim = {id(one): p for one, p in zip(tested, adjusted, strict=True)}
    judged = [_judged(one, by_claim.get(id(one)), len(tested)) for one in findings]
    return Judgement(verdict=overall([one.verdict for one in judged]), confidence=CONFIDENCE, claims=judged)


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Supported if every claim is, refuted if any is, else undecided."""
    if set(verdicts) == {"supported"}:
        return "supported"
    return "refuted" if "refuted" in verdicts else "undecided"


class _Sides(NamedTuple):
    """Two samples against each other, in their own sign."""

    contest: Contest
    effect: MeanInterval
    """Left minus right. Nothing where a pair is censored: the others would be a difference among the survivors."""
    left: float | None
    right: float | None
    seeds: int
    """That stand behind the effect, or the winners."""


def _against(left: Sample, right: Sample) -> _Sides:
    if left.sign != right.sign:
        raise ComparisonError(
            f"of {left.words} {'lower' if left.sign > 0 else 'higher'} is better, and of {right.words} the opposite: "
            "compare numbers of one kind"
        )
    if same_rows(left.spec, right.spec):
        result = contest(left.outcomes, right.outcomes, CONFIDENCE)
    else:
        result = apart(left.outcomes, right.outcomes, "not_the_same_rows", CONFIDENCE)
    if result.censored or not isfinite(result.difference.mean):
        return _Sides(result, NOTHING, None, None, result.pairs)
    mine, theirs, effect = left.values, right.values, result.difference
    if result.unpaired is None:
        both = mine.keys() & theirs.keys()
        mine, theirs = ({seed: side[seed] for seed in both} for side in (mine, theirs))
    if left.sign < 0:
        effect = effect.negated()
    return _Sides(result, effect, fmean(mine.values()), fmean(theirs.values()), result.pairs or effect.n)


def _differences(left: Sample, right: Sample) -> list[float]:
    mine, theirs = left.values, right.values
    return [mine[seed] - theirs[seed] for seed in mine.keys() & theirs.keys()]


def _sign(value: float) -> Literal[-1, 0, 1]:
    return 0 if value == 0 else 1 if value > 0 else -1


def _inside(interval: MeanInterval, low: float, high: float) -> Literal[-1, 0, 1]:
    """1 where the interval lies within the bounds, −1 where without, 0 where on both sides of one, or unknown."""
    if not isfinite(interval.lower) or not isfinite(interval.upper):
        return 0
    if low < interval.lower and interval.upper < high:
        return 1
    return -1 if interval.upper < low or high < interval.lower else 0


def _verdict(one: Finding, holm_p: float | None) -> Verdict:
    decided = not one.is_tested or (holm_p is not None and holm_p <= SIGNIFICANCE)
    if not decided or one.leans == 0:
        return "undecided"
    return "supported" if one.leans > 0 else "refuted"


def _judged(one: Finding, holm_p: float | None, family: int) -> JudgedClaim:
    verdict = _verdict(one, holm_p)
    return JudgedClaim(
        claim=one.claim,
        statement=one.statement,
        verdict=verdict,
        method=one.method,
        effect=Estimate.of(one.effect),
        left=one.left,
        right=one.right,
        seeds=one.seeds,
        wins=one.wins,
        losses=one.losses,
        ties=one.ties,
        censored=one.censored,
        left_out=one.left_out,
        p_value=one.p_value,
        smallest_p=one.smallest_p,
        holm_p=holm_p if one.p_value is not None else None,
        sentence=sentence(one, verdict, holm_p, family),
    )
