"""Time to target: a miss is a miss."""

from collections.abc import Callable

import numpy as np
import pytest

from api.comparison.history import JobHistory, Series
from api.comparison.targets import first_reach, median_with_misses, steps_to_target

Fabricate = Callable[..., JobHistory]


def test_the_first_step_that_meets_the_target_counts() -> None:
    series = Series(np.array([0, 10, 20, 30]), np.array([4.0, 2, 3, 1]))
    assert first_reach(series, 2, "lower") == 10
    assert first_reach(series, 0.5, "lower") is None
    assert first_reach(series, 3.5, "higher") == 0
    assert first_reach(series, 5, "higher") is None


def test_an_infinite_value_meets_no_target() -> None:
    series = Series(np.array([0, 10, 20]), np.array([-np.inf, np.nan, 1.0]))
    assert first_reach(series, 2, "lower") == 20


@pytest.mark.parametrize(
    ("steps", "middle"),
    [
        ([10, 30, 20], 20),
        ([10, None, 20], 20),
        ([10, None, None], None),
        ([10, 20, None, None], None),
        ([10, 20, 30, None], 25),
        ([], None),
    ],
)
def test_the_median_treats_a_miss_as_later_than_any_time(steps: list[float | None], middle: float | None) -> None:
    assert median_with_misses(steps) == middle


def test_a_miss_is_censored_and_never_scored_as_the_budget(make_job: Fabricate) -> None:
    job = make_job("a", {0: [4, 1], 1: [4, 3, 3], 2: [4, 3, 2.5]})
    found = steps_to_target(job, "validation_loss", 1.5, "lower")
    assert [run.steps for run in found.runs] == [10, None, None]
    assert (found.reached, found.missed, found.unknown, found.budget) == (1, 2, 0, 100)
    assert found.median is None
    assert found.median_text == "> 100"


def test_a_diverged_run_has_missed_whatever_it_touched(make_job: Fabricate) -> None:
    job = make_job("a", {0: [4, 1, np.nan]}, endings={0: ("failed", "diverged")})
    found = steps_to_target(job, "validation_loss", 1.5, "lower")
    assert found.runs[0].outcome == "diverged"
    assert found.runs[0].steps is None
    assert found.missed == 1


def test_a_run_on_its_way_may_have_reached_but_has_not_missed(make_job: Fabricate) -> None:
    job = make_job("a", {0: [4, 1], 1: [4, 3], 2: []}, endings=dict.fromkeys((0, 1, 2), ("running", None)))
    found = steps_to_target(job, "validation_loss", 1.5, "lower")
    assert [run.outcome for run in found.runs] == ["reached", "unknown", "unknown"]
    assert found.median == 10
    assert found.median_text == "10"


def test_without_any_outcome_the_median_is_unknown(make_job: Fabricate) -> None:
    job = make_job("a", {0: [4]}, endings={0: ("running", None)})
    assert steps_to_target(job, "validation_loss", 1.5, "lower").median_text == "unknown"
