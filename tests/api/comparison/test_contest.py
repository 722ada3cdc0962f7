"""Seed against seed: who won, by how much, and what may be said where one side is censored."""

import pytest
from scipy import stats

from api.comparison.contest import WORSE_THAN_ANY, Outcome, contest


def exact(*values: float) -> dict[int, Outcome]:
    return {seed: Outcome(value, exact=True) for seed, value in enumerate(values)}


def beyond(value: float) -> Outcome:
    return Outcome(value, exact=False)


def test_known_scores_are_tested_on_their_differences() -> None:
    found = contest(exact(1, 2, 3, 9), exact(2, 4, 6, 8))
    assert found.method == "sign_flip"
    assert found.differences == [-1, -2, -3, 1]
    assert (found.wins, found.losses, found.ties) == (3, 1, 0)
    # Σ = −5; of the sums ±1 ±2 ±3 ±1 the sixteen, |Σ| ≥ 5 holds for ±7 and twice for ±5.
    assert found.p_value == 6 / 16
    assert found.leans == -1


def test_one_censored_side_leaves_only_directions() -> None:
    found = contest(exact(10, 10, 10), exact(20, 20) | {2: beyond(100)})
    assert found.method == "sign_test"
    assert (found.wins, found.losses, found.censored) == (3, 0, 1)
    assert found.p_value == stats.binomtest(3, 3).pvalue
    assert found.smallest_p == 0.25


def test_pairs_in_which_both_missed_carry_no_information() -> None:
    found = contest(exact(10, 10) | {2: beyond(100)}, exact(20, 5) | {2: beyond(100)})
    assert found.method == "sign_flip"
    assert (found.uninformative, found.pairs, found.censored) == (1, 2, 0)


def test_a_run_that_reached_late_does_not_beat_one_that_had_less_budget() -> None:
    found = contest({0: Outcome(500, exact=True)}, {0: beyond(100)})
    assert found.uninformative == 1
    assert found.p_value is None


@pytest.mark.parametrize("score", [5.0, 1e9])
def test_a_diverged_run_loses_to_any_that_did_not(score: float) -> None:
    assert contest(exact(score), {0: WORSE_THAN_ANY}).wins == 1
    assert contest({0: WORSE_THAN_ANY}, exact(score)).losses == 1


def test_two_diverged_runs_have_no_winner() -> None:
    assert contest({0: WORSE_THAN_ANY}, {0: WORSE_THAN_ANY}).uninformative == 1


def test_seeds_without_a_usable_run_on_both_sides_are_counted() -> None:
    found = contest({0: Outcome(1, exact=True), 1: None, 2: None}, {0: Outcome(2, exact=True), 2: None, 3: None})
    assert found.pairs == 1
    assert found.left_out == 3


def test_ties_are_in_neither_direction() -> None:
    found = contest(exact(5, 5) | {2: beyond(9)}, exact(5, 5, 1))
    assert (found.wins, found.losses, found.ties) == (0, 1, 2)
    assert found.smallest_p == 1
    assert contest(exact(5, 5), exact(5, 5)).leans == 0
