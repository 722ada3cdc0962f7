"""Performance profiles, worked out by hand."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import integrate

from api.comparison.compare import compare
from api.comparison.history import JobHistory
from api.comparison.profile import profile_score, ratios, share_within

Fabricate = Callable[..., JobHistory]


def reaching(at: Sequence[int | None]) -> dict[int, list[float]]:
    """One run a seed that reaches a loss of 1 at the given multiple of 10 steps, or never."""
    return {seed: [5.0] * 11 if k is None else [5.0] * k + [0.5] for seed, k in enumerate(at)}


def test_a_profile_by_hand(make_job: Fabricate) -> None:
    # Ratios of a: 1, 2, 1, miss; of b: 3, 1, miss, 1.
    jobs = [make_job("a", reaching([1, 4, 2, None])), make_job("b", reaching([3, 2, None, 6]), optimizer="adam")]
    found = compare(jobs, target=1.0).profile
    assert found is not None
    assert (found.score, found.problems, found.left_out) == ("steps_to_target", 4, 0)
    first, second = found.curves
    assert (first.label, first.job_ids, first.solved) == ("a", ["a"], 3)
    assert first.score == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert second.score == pytest.approx((1 / 3 + 1 + 0 + 1) / 4)
    share = dict(zip(first.tau, first.share, strict=True))
    assert (share[1.0], share[2.0], share[4.0]) == (0.5, 0.75, 0.75)
    assert {1.0, 2.0, 3.0, 4.0} <= {*first.tau, *second.tau}
    assert first.tau == sorted(first.tau)


def test_all_miss_and_nobody_is_credited(make_job: Fabricate) -> None:
    jobs = [make_job(name, reaching([None, None])) for name in ("a", "b")]
    found = compare(jobs, target=1.0).profile
    assert found is not None
    assert [(one.score, one.solved, max(one.share)) for one in found.curves] == [(0, 0, 0), (0, 0, 0)]


def test_a_target_met_before_the_first_step_is_no_division_by_zero(make_job: Fabricate) -> None:
    jobs = [make_job("a", reaching([0])), make_job("b", reaching([1]))]
    found = compare(jobs, target=1.0).profile
    assert found is not None
    assert [one.score for one in found.curves] == [1, 0]


def test_what_is_not_known_of_everyone_is_left_out(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", reaching([1, 2, None]), endings={2: ("running", None)}),
        make_job("b", reaching([1, 1, 1])),
    ]
    found = compare(jobs, target=1.0).profile
    assert found is not None
    assert (found.problems, found.left_out) == (2, 1)


def test_there_is_no_profile_without_target_partner_or_common_problem(make_job: Fabricate) -> None:
    a = make_job("a", reaching([1]))
    assert compare([a, make_job("b", reaching([1]))]).profile is None
    assert compare([a], target=1.0).profile is None
    elsewhere = make_job("b", reaching([1]), evaluation={"kind": "holdout", "validation": 0.3})
    assert compare([a, elsewhere], target=1.0).profile is None


def test_across_data_sets_each_data_set_and_seed_is_a_problem(make_job: Fabricate) -> None:
    times = {
        ("sgd", "moons"): [2, 2],
        ("adam", "moons"): [1, 1],
        ("sgd", "circles"): [3, 3],
        ("adam", "circles"): [6, 3],
    }
    jobs = [
        make_job(f"{name} on {dataset}", reaching(at), optimizer=name, dataset=dataset)
        for (name, dataset), at in times.items()
    ]
    found = compare(jobs, target=1.0).profile
    assert found is not None
    assert found.problems == 4
    assert [one.job_ids for one in found.curves] == [
        ["sgd on moons", "sgd on circles"],
        ["adam on moons", "adam on circles"],
    ]
    assert [one.score for one in found.curves] == pytest.approx([(2 / 3 + 2 / 3 + 1 + 1) / 4, (1 + 1 + 2 / 3 + 1) / 4])


def test_a_profile_in_seconds_goes_by_the_clock(make_job: Fabricate) -> None:
    def clocked(name: str, at: int, seconds: float) -> JobHistory:
        clock = [seconds * k for k in range(at + 1)]
        return make_job(name, reaching([at]), more={"train_seconds": clock})

    # b takes half as many steps, and each of them four times as long.
    jobs = [clocked("a", 4, 1.0), clocked("b", 2, 4.0)]
    question: dict[str, Any] = {"target": 1.0}
    in_steps, in_seconds = compare(jobs, **question), compare(jobs, **question, score="seconds_to_target")
    assert in_steps.profile is not None
    assert in_seconds.profile is not None
    assert [one.score for one in in_steps.profile.curves] == pytest.approx([2 / 3, 1])
    assert [one.score for one in in_seconds.profile.curves] == pytest.approx([1, 2 / 3])
    assert in_seconds.profile.score == "seconds_to_target"
    assert any("like company" in warning for warning in in_seconds.warnings)
    assert not any("like company" in warning for warning in in_steps.warnings)


times_of_any_kind = arrays.arrays(
    np.float64, st.tuples(st.integers(2, 5), st.integers(1, 8)), elements=st.sampled_from([0.0, 1, 2, 3, 7, 40, np.inf])
)


@given(times_of_any_kind)
def test_the_score_is_the_mean_of_the_profile_from_one_to_four(times: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    for one in ratios(times):
        steps = np.unique(np.concatenate(([1.0, 4.0], one[one <= 4])))
        area = sum(
            integrate.quad(lambda tau, row=one: share_within(row, np.array([tau]))[0], low, high)[0]
            for low, high in pairwise(steps)
        )
        assert profile_score(one) == pytest.approx(area / 3)


@given(times_of_any_kind)
def test_on_every_problem_that_is_solved_somebody_is_fastest(times: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    found = ratios(times)
    solved = np.isfinite(times).any(axis=0)
    assert np.all(found.min(axis=0)[solved] == 1)
    assert np.all(np.isinf(found[:, ~solved]))
