"""Verdicts on claims about quantities, against SciPy and by hand."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from api.comparison import judge
from api.comparison.contest import WORSE_THAN_ANY, Outcome
from api.comparison.finding import Finding, Sample
from api.comparison.history import ComparisonError
from models.claims import Between, Close, Diagnosed, JudgedClaim, Less, TestScore
from models.spec.job import JobSpec

SPEC = JobSpec.model_validate({"dataset": "sine", "optimizer": "adam"})
OTHER_ROWS = JobSpec.model_validate({"dataset": {"kind": "sine", "samples": 50}, "optimizer": "adam"})
LEFT, RIGHT = TestScore(job="a"), TestScore(job="b")
LESS = Less(left=LEFT, right=RIGHT)
LOW = [0.31, 0.29, 0.35, 0.28, 0.4, 0.33]
HIGH = [0.51, 0.5, 0.58, 0.47, 0.62, 0.5]


def sample(
    values: Sequence[float | Outcome | None],
    job: str = "a",
    *,
    sign: Literal[1, -1] = 1,
    spec: JobSpec = SPEC,
    quantity: str = "loss",
) -> Sample:
    """One value a seed; `Outcome` for what is not known exactly."""
    found = {
        seed: Outcome(sign * one, exact=True) if isinstance(one, float | int) else one
        for seed, one in enumerate(values)
    }
    return Sample(quantity, job, spec, found, sign)


def alone(finding: Finding) -> JudgedClaim:
    (judged,) = judge.judgement([finding]).claims
    return judged


def less(left: Sample, right: Sample) -> JudgedClaim:
    return alone(judge.less(LESS, left, right))


def test_what_every_seed_bears_out_is_supported_with_the_paired_interval() -> None:
    found = less(sample(LOW), sample(HIGH, "b"))
    assert found.verdict == "supported"
    assert found.method == "sign_flip"
    assert found.p_value == found.holm_p == found.smallest_p == 2 / 64
    assert (found.wins, found.losses, found.seeds) == (6, 0, 6)
    expected = stats.ttest_rel(LOW, HIGH).confidence_interval(0.95)
    assert found.effect.mean == pytest.approx(np.mean(LOW) - np.mean(HIGH))
    assert (found.effect.lower, found.effect.upper) == pytest.approx((expected.low, expected.high))
    assert (found.left, found.right) == pytest.approx((np.mean(LOW), np.mean(HIGH)))
    assert found.sentence == (
        'Supported: loss of "a" is lower than that of "b" (0.3267 against 0.53, difference −0.2033, 95 % interval '
        "−0.226 to −0.1807; 6 of 6 seeds; p = 0.0312, Holm-adjusted p = 0.0312)."
    )


def test_the_same_numbers_refute_the_reverse() -> None:
    found = less(sample(HIGH), sample(LOW, "b"))
    assert found.verdict == "refuted"
    assert (found.wins, found.losses) == (0, 6)
    assert found.sentence.startswith("Refuted: it is not so that")


def test_too_few_seeds_leave_it_undecided_and_say_how_many_it_takes() -> None:
    found = less(sample(LOW[:5]), sample(HIGH[:5], "b"))
    assert (found.verdict, found.p_value) == ("undecided", 2 / 32)
    assert found.sentence.endswith("It takes at least 6 seeds to settle this.")


def test_seeds_that_disagree_leave_it_undecided() -> None:
    found = less(sample([1.0, 3.0, 1.0, 3.0, 1.0, 3.0]), sample([2.0] * 6, "b"))
    assert found.verdict == "undecided"
    assert found.sentence.endswith("The seeds do not agree enough to tell.")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_is_better_when_higher_is_compared_as_a_number_all_the_same(sign: Literal[1, -1]) -> None:
    found = less(sample(LOW, sign=sign), sample(HIGH, "b", sign=sign))
    assert (found.verdict, found.wins, found.losses) == ("supported", 6, 0)
    assert found.effect.mean == pytest.approx(-0.20333333)
    assert found.effect.lower is not None
    assert found.effect.upper is not None
    assert found.effect.lower < -0.20333333 < found.effect.upper


def test_a_diverged_accuracy_is_lower_than_any_other() -> None:
    found = less(sample([WORSE_THAN_ANY] * 6, sign=-1), sample(HIGH, "b", sign=-1))
    assert (found.verdict, found.method, found.censored) == ("supported", "sign_test", 6)
    assert found.effect.mean is None
    assert found.left is None


def test_a_miss_decides_its_pair_and_no_difference_is_invented_for_it() -> None:
    missed: list[float | Outcome | None] = [Outcome(100, exact=False)] * 6
    found = less(sample([50.0] * 6), sample([*missed[:5], 70.0], "b"))
    assert (found.verdict, found.method, found.censored, found.wins) == ("supported", "sign_test", 5, 6)
    assert (found.effect.mean, found.left, found.right) == (None, None, None)
    assert "5 without a value on one side" in found.sentence
    nobody = less(sample(missed), sample(missed, "b"))
    assert (nobody.verdict, nobody.seeds, nobody.left_out) == ("undecided", 0, 6)


def test_numbers_of_opposite_kinds_are_not_compared() -> None:
    with pytest.raises(ComparisonError, match="the opposite"):
        judge.less(LESS, sample(LOW), sample(HIGH, "b", sign=-1))


def test_jobs_that_were_judged_on_different_rows_are_compared_by_welch() -> None:
    found = less(sample(LOW), sample(HIGH, "b", spec=OTHER_ROWS))
    expected = stats.ttest_ind(LOW, HIGH, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.verdict, found.method, found.seeds, found.wins) == ("supported", "welch", 12, 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.effect.lower, found.effect.upper) == pytest.approx((interval.low, interval.high))


def test_two_quantities_of_one_job_are_paired() -> None:
    found = less(sample(LOW, quantity="ensemble"), sample(HIGH, quantity="members"))
    assert found.method == "sign_flip"
    assert found.statement == 'ensemble of "a" is lower than members of the same job'


# ── equivalence ──────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=12).filter(lambda values: np.std(values) > 1e-6),
    st.floats(0.01, 1),
)
def test_an_interval_inside_the_bounds_is_two_one_sided_tests_at_two_and_a_half_percent(
    values: list[float], margin: float
) -> None:
    found = alone(judge.between(Between(of=LEFT, low=-margin, high=margin), sample(values)))
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    assert (found.verdict == "supported") == (max(above, below) < 0.025)
    outside = min(
        stats.ttest_1samp(values, -margin, alternative="less").pvalue,
        stats.ttest_1samp(values, margin, alternative="greater").pvalue,
    )
    assert (found.verdict == "refuted") == (outside < 0.025)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (0.2, 0.5, "supported", "is between 0.2 and 0.5"),
        (None, 0.5, "supported", "is below 0.5"),
        (0.2, None, "supported", "is above 0.2"),
        (0.5, 0.6, "refuted", "is between 0.5 and 0.6"),
        (0.33, 0.5, "undecided", "is between 0.33 and 0.5"),
    ],
)
def test_a_mean_lies_between_bounds_or_not(low: float | None, high: float | None, verdict: str, words: str) -> None:
    found = alone(judge.between(Between(of=LEFT, low=low, high=high), sample(LOW)))
    assert (found.verdict, found.statement) == (verdict, f'loss of "a" {words}')
    assert (found.p_value, found.holm_p, found.method) == (None, None, "interval")
    assert found.left == pytest.approx(np.mean(LOW))


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "supported"), (0.05, "undecided"), (0.2, "refuted")])
def test_two_quantities_are_close_or_not(shift: float, verdict: str) -> None:
    other = [value + shift + wiggle for value, wiggle in zip(LOW, [0.01, -0.01] * 3, strict=True)]
    found = alone(judge.close(Close(left=LEFT, right=RIGHT, margin=0.05), sample(LOW), sample(other, "b")))
    assert found.verdict == verdict
    expected = stats.ttest_rel(LOW, other).confidence_interval(0.95)
    assert (found.effect.lower, found.effect.upper) == pytest.approx((expected.low, expected.high))
    assert found.wins == {0.0: 6, 0.05: 3, 0.2: 0}[shift]


def test_a_mean_over_the_survivors_decides_nothing() -> None:
    found = alone(judge.between(Between(of=LEFT, high=1.0), sample([*LOW, WORSE_THAN_ANY])))
    assert (found.verdict, found.effect.mean, found.censored) == ("undecided", None, 1)
    assert found.sentence.endswith("1 seed missed a target or diverged: there is no mean over all of them.")
    pair = alone(
        judge.close(Close(left=LEFT, right=RIGHT, margin=9.0), sample([1.0, WORSE_THAN_ANY]), sample([1.0, 2.0]))
    )
    assert (pair.verdict, pair.effect.mean) == ("undecided", None)


def test_one_seed_has_no_interval() -> None:
    found = alone(judge.between(Between(of=LEFT, high=1.0), sample([0.5])))
    assert (found.verdict, found.effect.mean, found.effect.lower) == ("undecided", 0.5, None)
    assert found.sentence.endswith("An interval takes at least 2 seeds.")


# ── diagnoses and families ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("agreeing", "against", "verdict"),
    [(6, 0, "supported"), (8, 1, "supported"), (5, 3, "undecided"), (0, 7, "refuted")],
)
def test_most_runs_are_diagnosed_so_by_an_exact_binomial_test(agreeing: int, against: int, verdict: str) -> None:
    runs = ["overfitting"] * agreeing + ["good_fit"] * against + [None]
    found = alone(judge.diagnosed(Diagnosed(job="a", verdict="overfitting"), "a", runs))
    assert found.verdict == verdict
    assert found.p_value == pytest.approx(stats.binomtest(agreeing, agreeing + against).pvalue)
    assert (found.effect.mean, found.effect.n) == (agreeing / (agreeing + against), agreeing + against)
    assert (found.left_out, found.method) == (1, "binomial")


def test_runs_without_any_diagnosis_decide_nothing() -> None:
    found = alone(judge.diagnosed(Diagnosed(job="a", verdict="good_fit"), "a", [None, None]))
    assert (found.verdict, found.p_value, found.holm_p, found.method) == ("undecided", None, None, "none")


def test_a_family_is_adjusted_after_holm_over_those_claims_that_have_a_p() -> None:
    first = judge.less(LESS, sample(LOW), sample(HIGH, "b"))
    second = judge.diagnosed(Diagnosed(job="a", verdict="good_fit"), "a", ["good_fit"] * 8)
    third = judge.between(Between(of=LEFT, high=1.0), sample(LOW))
    found = judge.judgement([first, second, third])
    assert [one.holm_p for one in found.claims] == [2 / 64, 2 * 2 / 256, None]
    assert found.verdict == "supported"
    crowded = judge.judgement([first, first, third])
    assert [one.holm_p for one in crowded.claims] == [4 / 64, 4 / 64, None]
    assert [one.verdict for one in crowded.claims] == ["undecided", "undecided", "supported"]
    assert crowded.claims[0].sentence.endswith("It takes at least 7 seeds to settle one of 2 claims.")


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [("ss", "supported"), ("su", "undecided"), ("sr", "refuted"), ("ur", "refuted")],
)
def test_a_family_is_supported_if_all_are_and_refuted_if_any_is(verdicts: str, whole: str) -> None:
    bounds: dict[str, dict[str, Any]] = {"s": {"high": 1.0}, "u": {"high": 0.33}, "r": {"high": 0.1}}
    findings = [judge.between(Between(of=LEFT, **bounds[one]), sample(LOW)) for one in verdicts]
    assert judge.judgement(findings).verdict == whole
