"""Time to target: a miss is a miss."""

from collections.abc import Callable

import numpy as np
import pytest

from api.comparison.history import JobHistory, RunHistory, Series
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


def clocked(make_job: Fabricate, values: dict[int, list[float]], clock: list[float], **changes: object) -> JobHistory:
    return make_job("a", values, more={"train_seconds": clock}, **changes)


def test_seconds_are_read_off_the_runs_own_clock_between_its_readings(make_job: Fabricate) -> None:
    job = clocked(make_job, {0: [4, 1, 1]}, [0, 2, 6])
    found = steps_to_target(job, "validation_loss", 1.5, "lower")
    assert (found.runs[0].seconds, found.runs[0].total_seconds) == (2, 6)
    spec = job.spec
    loss = Series(np.array([0, 5, 10]), np.array([4.0, 1, 1]))
    clock = Series(np.array([10, 20]), np.array([3.0, 5.0]))
    run = RunHistory("r", "a", 0, "succeeded", None, {"validation_loss": loss, "train_seconds": clock})
    assert steps_to_target(JobHistory("a", "a", spec, (run,)), "validation_loss", 1.5, "lower").runs[0].seconds == 1.5


def test_seconds_without_a_clock_and_past_its_last_reading_are_unknown(make_job: Fabricate) -> None:
    found = steps_to_target(make_job("a", {0: [4, 1]}), "validation_loss", 1.5, "lower")
    assert (found.runs[0].seconds, found.median_seconds, found.median_seconds_text) == (None, None, "unknown")
    late = steps_to_target(clocked(make_job, {0: [4, 4, 1]}, [0, 2]), "validation_loss", 1.5, "lower")
    assert (late.runs[0].steps, late.runs[0].seconds) == (20, None)


def test_a_miss_in_seconds_is_censored_at_what_the_run_trained(make_job: Fabricate) -> None:
    job = clocked(make_job, {0: [4, 1, 1], 1: [4, 3, 3], 2: [4, 3, 3]}, [0, 2, 6])
    found = steps_to_target(job, "validation_loss", 1.5, "lower")
    assert [run.seconds for run in found.runs] == [2, None, None]
    assert (found.median_seconds, found.median_seconds_text) == (None, "> 6 s")
    most = steps_to_target(job, "validation_loss", 3.5, "lower")
    assert (most.median_seconds, most.median_seconds_text) == (2, "2 s")
