"""What the data say to a claim, in sentences."""

from collections.abc import Mapping
from math import isfinite

from api.comparison.finding import Finding, Sample
from api.comparison.significance import seeds_needed
from api.comparison.wording import count, number, p_equals
from models.claims import Between, Verdict

_OPENINGS: Mapping[Verdict, str] = {
    "supported": "Supported: ",
    "refuted": "Refuted: it is not so that ",
    "undecided": "Undecided whether ",
}


def sentence(one: Finding, verdict: Verdict, holm_p: float | None, family: int) -> str:
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


def without_value_in_words(missing: int) -> str:
    return (
        f"{count(missing, 'seed')} missed a target or diverged: there is no mean over all of them." if missing else ""
    )


def other(right: Sample, left: Sample) -> str:
    return f'that of "{right.job}"' if right.quantity == left.quantity else f"{right.quantity} of {_same(right, left)}"


def _same(right: Sample, left: Sample) -> str:
    return "the same job" if right.job == left.job else f'"{right.job}"'


def bounds_in_words(claim: Between) -> str:
    if claim.low is None:
        return f"is below {number(claim.high)}"
    if claim.high is None:
        return f"is above {number(claim.low)}"
    return f"is between {number(claim.low)} and {number(claim.high)}"
