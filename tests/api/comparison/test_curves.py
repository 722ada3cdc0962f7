"""Runs on one grid, along every axis."""

from collections.abc import Callable

import numpy as np
import pytest

from api.comparison.align import MAX_GRID, Line, align
from api.comparison.curves import curve
from api.comparison.history import JobHistory, RunHistory, Series
from models.spec.job import JobSpec

Fabricate = Callable[..., JobHistory]


def line(x: list[float], y: list[float]) -> Line:
    return np.array(x, dtype=np.float64), np.array(y, dtype=np.float64)


def test_runs_that_share_a_grid_are_not_interpolated() -> None:
    found = align([line([0, 1, 2], [1, 2, 3]), line([0, 1], [5, 6])])
    assert not found.interpolated
    assert found.values[0].tolist() == [1, 2, 3]
    assert found.values[1, :2].tolist() == [5, 6]
    assert np.isnan(found.values[1, 2])


def test_runs_on_different_grids_meet_on_the_union_and_never_beyond_their_ends() -> None:
    found = align([line([0, 2, 4], [0, 2, 4]), line([1, 3], [10, 30])])
    assert found.interpolated
    assert found.x.tolist() == [0, 1, 2, 3, 4]
    assert found.values[0].tolist() == [0, 1, 2, 3, 4]
    assert found.values[1, 1:4].tolist() == [10, 20, 30]
    assert np.isnan(found.values[1, [0, 4]]).all()


def test_a_gap_in_a_run_is_not_bridged() -> None:
    found = align([line([0, 2, 4, 6], [0, np.nan, 4, 6]), line([1, 3, 5], [0, 0, 0])])
    assert np.isnan(found.values[0, [1, 2, 3]]).all()
    assert found.values[0, 5] == 5


def test_a_union_of_many_grids_is_bounded_and_keeps_its_ends() -> None:
    x = np.linspace(0, 1, MAX_GRID)
    found = align([(x, x), (x + 1e-9, x)])
    assert len(found.x) == MAX_GRID
    assert (found.x[0], found.x[-1]) == (0, 1 + 1e-9)


def test_nothing_recorded_is_an_empty_curve(make_job: Fabricate) -> None:
    found = curve(make_job("a", {0: []}), "validation_loss", "step", 100, 0.95)
    assert (found.x, found.mean, found.n, found.total) == ([], [], [], 0)


def test_the_mean_says_how_many_runs_stand_behind_it(make_job: Fabricate) -> None:
    job = make_job("a", {0: [4, 3, 2], 1: [2, 1]}, endings={1: ("succeeded", "stopped_early")})
    found = curve(job, "validation_loss", "step", 100, 0.95)
    assert found.x == [0, 10, 20]
    assert found.mean == [3, 2, 2]
    assert found.n == [2, 2, 1]
    assert found.lower[0] == pytest.approx(3 - 12.7062, abs=1e-3)
    assert found.lower[2] is None


def test_a_diverged_run_stands_beside_the_mean_and_not_in_it(make_job: Fabricate) -> None:
    job = make_job("a", {0: [4, 3, 2], 1: [4, 900, np.inf]}, endings={1: ("failed", "diverged")})
    found = curve(job, "validation_loss", "step", 100, 0.95)
    assert found.mean == [4, 3, 2]
    assert [(run.seed, run.x, run.value) for run in found.diverged] == [(1, 10, 900)]


def test_a_run_that_diverged_at_once_is_still_counted(make_job: Fabricate) -> None:
    job = make_job("a", {0: [4, 3], 1: [np.nan]}, endings={1: ("failed", "diverged")})
    found = curve(job, "validation_loss", "step", 100, 0.95)
    assert [(run.x, run.value) for run in found.diverged] == [(None, None)]


def test_epochs_and_samples_follow_from_the_plan(make_job: Fabricate) -> None:
    # 600 of 1,000 rows train; a batch of 64 makes 9 steps an epoch.
    job = make_job("a", {0: [4, 3, 2]}, every=9)
    assert curve(job, "validation_loss", "epoch", 100, 0.95).x == [0, 1, 2]
    assert curve(job, "validation_loss", "samples", 100, 0.95).x == [0, 9 * 64, 18 * 64]


def test_seconds_are_read_off_the_runs_own_clock(make_job: Fabricate) -> None:
    job = make_job("a", {0: [4, 3, 2], 1: [4, 3, 2]}, more={"train_seconds": [0, 2, 6]})
    assert curve(job, "validation_loss", "seconds", 100, 0.95).x == [0, 2, 6]


def test_a_clock_that_starts_late_is_anchored_at_second_zero_and_never_extrapolated() -> None:
    spec = JobSpec.model_validate({"dataset": "sine", "optimizer": "sgd", "budget": {"steps": 100}})
    loss = Series(np.array([0, 5, 10, 20]), np.array([4.0, 3, 2, 1]))
    clock = Series(np.array([10]), np.array([3.0]))
    run = RunHistory("r", "a", 0, "running", None, {"validation_loss": loss, "train_seconds": clock})
    found = curve(JobHistory("a", "a", spec, (run,)), "validation_loss", "seconds", 100, 0.95)
    assert found.x == [0, 1.5, 3]
    assert found.mean == [4, 3, 2]


def test_without_a_clock_there_is_no_curve_along_seconds(make_job: Fabricate) -> None:
    assert curve(make_job("a", {0: [4, 3]}), "validation_loss", "seconds", 100, 0.95).x == []


def test_a_long_curve_is_thinned_and_keeps_the_extremes_of_the_mean(make_job: Fabricate) -> None:
    values = np.random.default_rng(0).normal(size=5_000)
    found = curve(make_job("a", {0: values}), "validation_loss", "step", 100, 0.95)
    assert found.total == 5_000
    assert len(found.x) <= 100
    assert {min(values), max(values), values[0], values[-1]} <= set(found.mean)
