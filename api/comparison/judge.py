"""Verdicts on claims about quantities: supported, refuted or undecided, with effect and interval, wherever the numbers
come from.

`less` takes the exact paired test (or Welch's t, where two jobs were judged on different rows), `diagnosed` an exact
binomial test against one half; both decide once their p, Holm-adjusted over all such claims of the family, does not
exceed 5 %. `between` and `close` claim equivalence. They are supported where the 95 % t interval lies inside the
bounds, which is two one-sided tests at 2.5 % each (Schuirmann 1987), and refuted where it lies outside. Their support
needs no adjustment: a family is supported if every claim is, and an intersection of tests has the level of each
(Berger 1982). A refutation by an interval stands at 2.5 % for itself, however many claims there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, nan
from statistics import fmean
from typing import Literal, NamedTuple

from api.comparison.contest import Contest, Outcomes, apart, contest
from api.comparison.estimate import finite
from api.comparison.history import ComparisonError
from api.comparison.intervals import MeanInterval, mean_interval
from api.comparison.pairing import same_rows
from api.comparison.significance import SIGNIFICANCE, holm, seeds_needed, sign_test, smallest_p
from api.comparison.wording import count, number, p_equals
from models.claims import Between, Claim, Close, Diagnosed, Effect, JudgedClaim, Judgement, Less, Method, Verdict
from models.spec.job import JobSpec

CONFIDENCE = 0.95

NOTHING = MeanInterval(nan, nan, nan, 0)


@dataclass(frozen=True)
class Sample:
    """One quantity of one job, seed by seed."""

    quantity: str
    """In words: "last validation loss"."""
    job: str
    """What the job is called."""
    spec: JobSpec
    outcomes: Outcomes
    """On a scale on which lower is better; None where nothing is known of a seed."""
    sign: Literal[1, -1] = 1
    """−1 where higher is better, so that the value is sign · outcome."""

    @property
    def words(self) -> str:
        return f'{self.quantity} of "{self.job}"'

    @property
    def values(self) -> dict[int, float]:
        """The seeds whose value is known."""
        known = self.outcomes.items()
        return {seed: self.sign * one.at_least for seed, one in known if one is not None and one.exact}

    @property
    def without_value(self) -> int:
        """Seeds that missed a target or diverged."""
        return sum(one is not None and not one.exact for one in self.outcomes.values())


@dataclass(frozen=True)
class Finding:
    """What the data say to one claim, before the family is known."""

    claim: Claim
    statement: str
    method: Method
    effect: MeanInterval
    leans: Literal[-1, 0, 1]
    """1 towards the claim, −1 against it. Of an interval that is the verdict."""
    seeds: int = 0
    left: float | None = None
    right: float | None = None
    wins: int = 0
    losses: int = 0
    ties: int = 0
    censored: int = 0
    left_out: int = 0
    p_value: float | None = None
    smallest_p: float | None = None
    remark: str = ""
    """Why it cannot be decided."""

    @property
    def is_tested(self) -> bool:
        """Whether a p decides."""
        return self.method != "interval"


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
        statement=f"{left.words} is lower than {_other(right, left)}",
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
        statement=f"{left.words} is within {number(claim.margin)} of {_other(right, left)}",
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
        remark=_without_value(result.censored),
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
        statement=f"{of.words} {_bounds_in_words(claim)}",
        method="interval",
        effect=effect,
        leans=_inside(effect, low, high),
        seeds=len(values),
        left=finite(effect.mean),
        wins=within,
        losses=len(values) - within,
        censored=of.without_value,
        left_out=sum(one is None for one in of.outcomes.values()),
        remark=_without_value(of.without_value),
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
    return Judgement(verdict=_overall({one.verdict for one in judged}), confidence=CONFIDENCE, claims=judged)


def _overall(verdicts: set[Verdict]) -> Verdict:
    if verdicts == {"supported"}:
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
        effect = MeanInterval(-effect.mean, -effect.upper, -effect.lower, effect.n)
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
        effect=Effect(
            mean=finite(one.effect.mean), lower=finite(one.effect.lower), upper=finite(one.effect.upper), n=one.effect.n
        ),
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
        sentence=_sentence(one, verdict, holm_p, family),
    )


# ── words ────────────────────────────────────────────────────────────────────────────────────────

_OPENINGS: Mapping[Verdict, str] = {
    "supported": "Supported: ",
    "refuted": "Refuted: it is not so that ",
    "undecided": "Undecided whether ",
}


def _sentence(one: Finding, verdict: Verdict, holm_p: float | None, family: int) -> str:
    evidence = "; ".join(filter(None, [_effect_in_words(one), _tally(one), _test_in_words(one, holm_p)]))
    return f"{_OPENINGS[verdict]}{one.statement} ({evidence}).{_way_out(one, verdict, family)}"


def _effect_in_words(one: Finding) -> str:
    if one.method == "binomial" or not isfinite(one.effect.mean):
        return ""
    effect = one.effect
    what = "mean" if isinstance(one.claim, Between) else f"{number(one.left)} against {number(one.right)}, difference"
    said = f"{what} {number(effect.mean)}"
    if isfinite(effect.lower):
        said += f", 95 % interval {number(effect.lower)} to {number(effect.upper)}"
    return said


def _tally(one: Finding) -> str:
    noun = "run" if one.method == "binomial" else "seed"
    decided = one.wins + one.losses + one.ties
    # Without pairs nobody wins.
    said = f"{one.wins} of {count(decided, noun)}" if decided else count(one.seeds, noun)
    if one.ties:
        said += f", {count(one.ties, 'tie')}"
    if one.censored:
        said += f", {one.censored} without a value on one side"
    if one.left_out:
        said += f", {count(one.left_out, noun)} left out"
    return said


def _test_in_words(one: Finding, holm_p: float | None) -> str:
    if not one.is_tested:
        return ""
    if one.p_value is None:
        return "no test"
    by = "by Welch's t, as they were judged on different rows, " if one.method == "welch" else ""
    return f"{by}p {p_equals(one.p_value)}, Holm-adjusted p {p_equals(holm_p)}"


def _way_out(one: Finding, verdict: Verdict, family: int) -> str:
    if verdict != "undecided":
        return ""
    if one.remark:
        return f" {one.remark}"
    if not one.is_tested:
        return (
            " The interval reaches across a bound: more seeds would narrow it."
            if one.effect.n > 1
            else (" An interval takes at least 2 seeds.")
        )
    needed = seeds_needed(family)
    if one.method != "welch" and one.wins + one.losses < needed:
        return f" It takes at least {needed} seeds to settle {_this(family)}."
    return " The seeds do not agree enough to tell."


def _this(family: int) -> str:
    return "this" if family == 1 else f"one of {family} claims"


def _without_value(missing: int) -> str:
    return (
        f"{count(missing, 'seed')} missed a target or diverged: there is no mean over all of them." if missing else ""
    )


def _other(right: Sample, left: Sample) -> str:
    return f'that of "{right.job}"' if right.quantity == left.quantity else f"{right.quantity} of {_same(right, left)}"


def _same(right: Sample, left: Sample) -> str:
    return "the same job" if right.job == left.job else f'"{right.job}"'


def _bounds_in_words(claim: Between) -> str:
    if claim.low is None:
        return f"is below {number(claim.high)}"
    if claim.high is None:
        return f"is above {number(claim.low)}"
    return f"is between {number(claim.low)} and {number(claim.high)}"
