"""The interquartile mean against SciPy, and its interval by simulation."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from api.comparison.compare import compare
from api.comparison.history import JobHistory
from api.comparison.interquartile import interquartile_interval, interquartile_mean

Fabricate = Callable[..., JobHistory]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_it_is_scipys_mean_with_a_quarter_trimmed_from_either_end(values: list[float]) -> None:
    assert interquartile_mean(np.array(values)) == pytest.approx(stats.trim_mean(values, 0.25))


def test_few_values_have_no_interval() -> None:
    found = interquartile_interval([[1.0, 2, 3, 100], [2.0, 2]], 0.95)
    # Sorted 1 2 2 2 3 100, one off at either end.
    assert (found.mean, found.n) == (2.25, 6)
    assert np.isnan(found.lower)
    assert interquartile_interval([[]], 0.95).n == 0


def test_the_interval_is_that_of_a_bootstrap_within_strata() -> None:
    generator = np.random.default_rng(0)
    strata = [generator.normal(0, 1, 30).tolist(), generator.normal(5, 1, 30).tolist()]
    found = interquartile_interval(strata, 0.95)
    assert found == interquartile_interval(strata, 0.95)
    expected = stats.bootstrap(
        strata,
        lambda a, b, axis: stats.trim_mean(np.concatenate((a, b), axis=axis), 0.25, axis=axis),
        method="percentile",
        n_resamples=2_000,
        rng=1,
    ).confidence_interval
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=0.06)


def test_the_interval_of_twenty_values_covers_the_truth_nearly_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    intervals = [interquartile_interval([generator.normal(size=20).tolist()], 0.95) for _ in range(500)]
    assert np.mean([one.lower <= 0 <= one.upper for one in intervals]) > 0.88


def test_each_contender_has_one_over_its_seeds_and_data_sets(make_job: Fabricate) -> None:
    values = {"moons": [1.0, 2, 3, 40], "circles": [5.0, 6, 7, 8]}
    jobs = [
        make_job(f"a {dataset}", {s: [9, v] for s, v in enumerate(column)}, name="a", dataset=dataset)
        for dataset, column in values.items()
    ]
    found = compare(jobs).interquartile
    assert len(found) == 1
    assert (found[0].label, found[0].datasets, found[0].estimate.n) == ("a", 2, 8)
    assert found[0].estimate.mean == stats.trim_mean([1, 2, 3, 40, 5, 6, 7, 8], 0.25)
    alone = compare(jobs[:1]).interquartile[0]
    assert (alone.job_ids, alone.estimate.mean) == (["a moons"], 2.5)
    assert alone.estimate.lower is None
