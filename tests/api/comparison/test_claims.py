"""The judge: supported, refuted or undecided, and never on invented numbers."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pytest

from api.comparison.compare import compare
from api.comparison.history import ComparisonError, JobHistory
from api.comparison.result import Claim

Fabricate = Callable[..., JobHistory]


def reaching(at: Sequence[int | None]) -> dict[int, list[float]]:
    """One run a seed that reaches a loss of 1 at the given multiple of 10 steps, or never."""
    return {seed: [5.0] * 10 + [5.0] if k is None else [5.0] * k + [0.5] for seed, k in enumerate(at)}


def ending_at(values: Sequence[float]) -> dict[int, list[float]]:
    return {seed: [9.0, value] for seed, value in enumerate(values)}


CLAIM = Claim(better="a", worse="b")
LAST = Claim(better="a", worse="b", score="last")


def test_a_claim_that_every_seed_bears_out_is_supported(make_job: Fabricate) -> None:
    jobs = [make_job("a", reaching([1, 2, 1, 2, 1, 2])), make_job("b", reaching([5, 6, 5, 7, 4, 8]))]
    found = compare(jobs, target=1.0, claims=[CLAIM])
    claim = found.claims[0]
    assert found.verdict == claim.verdict == "supported"
    assert claim.method == "sign_flip"
    assert claim.p_value == claim.holm_p == 2 / 64
    assert claim.wins == claim.pairs == 6
    assert claim.difference.mean == pytest.approx(np.mean([10, 20, 10, 20, 10, 20]) - np.mean([50, 60, 50, 70, 40, 80]))
    assert (claim.median_better, claim.median_worse) == (15, 55)
    assert claim.ratio_of_medians == pytest.approx(15 / 55)
    assert claim.sentence.startswith('Supported: "a" reaches validation loss ≤ 1 in fewer steps than "b"')


def test_the_same_runs_refute_the_reverse_claim(make_job: Fabricate) -> None:
    jobs = [make_job("a", reaching([1, 2, 1, 2, 1, 2])), make_job("b", reaching([5, 6, 5, 7, 4, 8]))]
    found = compare(jobs, target=1.0, claims=[Claim(better="b", worse="a")])
    assert found.verdict == "refuted"
    assert found.claims[0].sentence.startswith('Refuted: it is the other way round, "a" reaches')
    assert "median steps 15 against 55, 0.27 ×; ahead on 6 of 6 paired seeds" in found.claims[0].sentence
    assert (found.claims[0].wins, found.claims[0].losses) == (0, 6)


def test_too_few_seeds_leave_it_undecided_and_say_how_many_would_do(make_job: Fabricate) -> None:
    jobs = [make_job("a", reaching([1, 2, 1])), make_job("b", reaching([5, 6, 5]))]
    found = compare(jobs, target=1.0, claims=[CLAIM])
    claim = found.claims[0]
    assert found.verdict == "undecided"
    assert claim.smallest_p == 0.25
    assert claim.seeds_needed == 6
    assert "3 pairs cannot settle this whatever they show: it takes at least 6 seeds." in claim.sentence


def test_seeds_that_disagree_leave_it_undecided(make_job: Fabricate) -> None:
    jobs = [make_job("a", ending_at([1, 3, 1, 3, 1, 3, 2])), make_job("b", ending_at([2] * 7))]
    found = compare(jobs, claims=[LAST])
    assert found.verdict == "undecided"
    assert found.claims[0].sentence.endswith("The seeds do not agree enough to tell.")


def test_a_miss_on_one_side_is_judged_by_who_got_there(make_job: Fabricate) -> None:
    jobs = [make_job("a", reaching([9] * 6)), make_job("b", reaching([None] * 6))]
    claim = compare(jobs, target=1.0, claims=[CLAIM]).claims[0]
    assert claim.verdict == "supported"
    assert claim.method == "sign_test"
    assert claim.censored == 6
    assert claim.difference.mean is None
    assert claim.median_worse is None
    assert claim.ratio_of_medians is None
    assert "median steps 90 against a miss" in claim.sentence


def test_when_both_sides_miss_there_is_nothing_to_judge(make_job: Fabricate) -> None:
    jobs = [make_job("a", reaching([None] * 6)), make_job("b", reaching([None] * 6))]
    claim = compare(jobs, target=1.0, claims=[CLAIM]).claims[0]
    assert claim.verdict == "undecided"
    assert claim.p_value is None
    assert claim.uninformative == 6
    assert claim.sentence.endswith("No pair has a winner yet.")


def test_a_target_missed_by_early_stopping_is_missed_for_good(make_job: Fabricate) -> None:
    stopped = {seed: [5.0, 4.0] for seed in range(6)}
    jobs = [
        make_job("a", {seed: [5.0] * 15 + [0.5] for seed in range(6)}, budget={"steps": 200}),
        make_job("b", stopped, endings=dict.fromkeys(range(6), ("succeeded", "stopped_early"))),
    ]
    assert compare(jobs, target=1.0, claims=[CLAIM]).verdict == "supported"


def test_a_run_with_a_larger_budget_does_not_win_by_it(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", {seed: [5.0] * 15 + [0.5] for seed in range(6)}, budget={"steps": 200}),
        make_job("b", reaching([None] * 6)),
    ]
    claim = compare(jobs, target=1.0, claims=[CLAIM]).claims[0]
    assert claim.verdict == "undecided"
    assert claim.uninformative == 6


def test_diverged_runs_lose_their_pairs_on_every_score(make_job: Fabricate) -> None:
    failed = dict.fromkeys(range(6), ("failed", "diverged"))
    jobs = [make_job("a", ending_at([3] * 6)), make_job("b", {s: [9, 1, np.nan] for s in range(6)}, endings=failed)]
    scores: list[Literal["steps_to_target", "best", "last"]] = ["steps_to_target", "best", "last"]
    claims = [Claim(better="a", worse="b", score=score) for score in scores]
    for claim in compare(jobs, target=4.0, claims=claims).claims:
        assert claim.method == "sign_test"
        assert (claim.wins, claim.losses) == (6, 0)


def test_higher_is_better_where_the_metric_says_so(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", ending_at([0.9, 0.91, 0.92, 0.93, 0.94, 0.95]), metric="validation_accuracy", dataset="digits"),
        make_job("b", ending_at([0.5, 0.51, 0.52, 0.53, 0.54, 0.55]), metric="validation_accuracy", dataset="digits"),
    ]
    found = compare(jobs, metric="validation_accuracy", claims=[LAST]).claims[0]
    assert found.verdict == "supported"
    assert found.difference.mean == pytest.approx(0.4)
    assert (found.median_better, found.median_worse) == pytest.approx((0.925, 0.525))
    assert "ends at a higher validation accuracy" in found.statement


def test_holm_adjusts_over_all_claims(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", ending_at([1, 1.1, 1.2, 1.3, 1.4, 1.5])),
        make_job("b", ending_at([2, 2.1, 2.2, 2.3, 2.4, 2.5])),
        make_job("c", ending_at([3, 3.1, 3.2, 3.3, 3.4, 3.5])),
    ]
    claims = [LAST, Claim(better="b", worse="c", score="last")]
    found = compare(jobs, claims=claims)
    # Alone each p of 2/64 would do; two of them need seven seeds.
    assert [claim.holm_p for claim in found.claims] == [4 / 64, 4 / 64]
    assert found.verdict == "undecided"
    assert found.claims[0].seeds_needed == 7


def test_one_refuted_claim_refutes_the_whole(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", ending_at([1 + s / 10 for s in range(8)])),
        make_job("b", ending_at([3 + s / 10 for s in range(8)])),
    ]
    both = [LAST, Claim(better="b", worse="a", score="best")]
    found = compare(jobs, claims=both)
    assert [claim.verdict for claim in found.claims] == ["supported", "refuted"]
    assert found.verdict == "refuted"


def test_a_run_that_has_not_ended_has_not_missed(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", reaching([1] * 7)),
        make_job("b", reaching([5, 6, 5, 7, 4, 8, None]), endings={6: ("running", None)}),
    ]
    claim = compare(jobs, target=1.0, claims=[CLAIM]).claims[0]
    assert (claim.pairs, claim.censored, claim.left_out) == (6, 0, 1)
    assert claim.method == "sign_flip"


def test_ties_count_for_nobody(make_job: Fabricate) -> None:
    jobs = [make_job("a", ending_at([1, 1, 1])), make_job("b", ending_at([1, 1, 2]))]
    claim = compare(jobs, claims=[LAST]).claims[0]
    assert (claim.wins, claim.ties) == (1, 2)
    assert "2 ties" in claim.sentence


def test_unfinished_and_unmatched_seeds_are_left_out_and_counted(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", ending_at([1] * 8), endings={7: ("running", None)}),
        make_job("b", ending_at([2, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8])),
    ]
    claim = compare(jobs, claims=[LAST]).claims[0]
    assert (claim.pairs, claim.left_out) == (7, 2)
    assert "2 seeds left out" in claim.sentence


def by_the_clock(name: str, at: Sequence[int | None], pace: float, make_job: Fabricate) -> JobHistory:
    """The same runs with a clock of so many seconds for 10 steps."""
    return make_job(name, reaching(at), more={"train_seconds": [pace * k for k in range(11)]})


def test_fewer_steps_can_take_more_seconds(make_job: Fabricate) -> None:
    jobs = [by_the_clock("a", [2, 3, 2, 3, 2, 4], 4.0, make_job), by_the_clock("b", [4, 6, 5, 6, 4, 7], 1.0, make_job)]
    in_seconds = Claim(better="b", worse="a", score="seconds_to_target")
    found = compare(jobs, target=1.0, claims=[CLAIM, in_seconds]).claims
    assert [claim.method for claim in found] == ["sign_flip", "sign_flip"]
    assert found[1].wins == 6
    assert found[1].difference.mean == pytest.approx(np.mean([4, 6, 5, 6, 4, 7]) - 4 * np.mean([2, 3, 2, 3, 2, 4]))
    assert "in fewer seconds of training" in found[1].statement
    assert "median seconds 5.5 s against 10 s" in found[1].sentence


def test_a_miss_in_seconds_is_decided_only_against_what_was_reached_sooner(make_job: Fabricate) -> None:
    jobs = [by_the_clock("a", [9] * 6, 1.0, make_job), by_the_clock("b", [None] * 6, 0.5, make_job)]
    claim = Claim(better="a", worse="b", score="seconds_to_target")
    found = compare(jobs, target=1.0, claims=[CLAIM, claim]).claims
    # a took 9 seconds, and b had 5: nobody knows whether it would have needed more than 9.
    assert [one.uninformative for one in found] == [0, 6]
    assert found[0].wins == 6


def test_without_a_clock_nothing_can_be_said_of_seconds(make_job: Fabricate) -> None:
    jobs = [make_job("a", reaching([1] * 6)), make_job("b", reaching([5] * 6))]
    found = compare(jobs, target=1.0, claims=[Claim(better="a", worse="b", score="seconds_to_target")])
    assert (found.verdict, found.claims[0].left_out) == ("undecided", 6)
    assert any("have no clock" in warning for warning in found.warnings)


@pytest.mark.parametrize("sides", [("a", "b"), ("b", "a")])
def test_welchs_verdict_goes_by_the_difference_of_the_means(make_job: Fabricate, sides: tuple[str, str]) -> None:
    jobs = [
        make_job("a", {s: [9, 1 + s / 50] for s in range(5)}),
        make_job("b", {s: [9, 2 + s / 50] for s in range(20, 25)}),
    ]
    found = compare(jobs, claims=[Claim(better=sides[0], worse=sides[1], score="last")]).claims[0]
    assert found.method == "welch"
    assert found.verdict == ("supported" if sides[0] == "a" else "refuted")
    assert found.seeds_needed == 6
    assert "Welch's t, unpaired: too few common seeds to pair" in found.sentence
    assert "median 1.04 against 2.44" in found.sentence


@pytest.mark.parametrize(
    ("claim", "options", "message"),
    [
        (Claim(better="a", worse="z"), {"target": 1.0}, "job z, which is not in the comparison"),
        (Claim(better="a", worse="a"), {"target": 1.0}, "with itself"),
        (Claim(better="a", worse="b"), {}, "needs the target"),
        (LAST, {"metric": "gradient_norm"}, "one direction is better"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(
    make_job: Fabricate, claim: Claim, options: dict[str, float | str], message: str
) -> None:
    more = {"gradient_norm": [1.0, 2.0]}
    jobs = [make_job("a", ending_at([1]), more=more), make_job("b", ending_at([2]), more=more)]
    with pytest.raises(ComparisonError, match=message):
        compare(jobs, claims=[claim], **options)  # type: ignore[arg-type]
