"""Student's interval and Welch's t against SciPy, by hand and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from api.comparison.intervals import mean_bands, mean_interval, welch

SAMPLE = [0.31, 0.29, 0.35, 0.28, 0.4]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_an_interval_equals_scipys(confidence: float) -> None:
    found = mean_interval(SAMPLE, confidence)
    lower, upper = stats.t.interval(confidence, len(SAMPLE) - 1, np.mean(SAMPLE), stats.sem(SAMPLE))
    assert found.mean == pytest.approx(np.mean(SAMPLE))
    assert (found.lower, found.upper) == pytest.approx((lower, upper))
    assert found.n == 5


def test_the_interval_of_differences_is_the_paired_t_interval() -> None:
    other = [0.2, 0.25, 0.31, 0.22, 0.33]
    expected = stats.ttest_rel(SAMPLE, other).confidence_interval(0.95)
    found = mean_interval(np.subtract(SAMPLE, other), 0.95)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("n", "quantile"), [(3, 4.303), (5, 2.776), (10, 2.262)])
def test_few_values_take_the_wide_quantiles_of_t(n: int, quantile: float) -> None:
    values = np.arange(n, dtype=np.float64)
    found = mean_interval(values, 0.95)
    assert (found.upper - found.mean) / stats.sem(values) == pytest.approx(quantile, abs=5e-4)


def test_one_value_has_a_mean_and_no_interval() -> None:
    found = mean_interval([2.0], 0.95)
    assert found.mean == 2.0
    assert np.isnan(found.lower)
    assert np.isnan(found.upper)


def test_no_value_has_no_mean() -> None:
    found = mean_interval([], 0.95)
    assert np.isnan(found.mean)
    assert found.n == 0


def test_bands_count_only_what_is_finite_at_each_point() -> None:
    nan, inf = np.nan, np.inf
    bands = mean_bands(np.array([[1.0, 1.0, nan], [2.0, nan, nan], [3.0, inf, nan]]), 0.95)
    assert bands.n.tolist() == [3, 1, 0]
    assert bands.mean[:2].tolist() == [2.0, 1.0]
    assert np.isnan(bands.mean[2])
    assert bands.upper[0] - 2.0 == pytest.approx(4.302653 / np.sqrt(3))
    assert np.isnan(bands.lower[1])


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(n: int) -> None:
    samples = np.random.default_rng(7).normal(1.0, 2.0, size=(n, 20_000))
    bands = mean_bands(samples, 0.95)
    coverage = np.mean((bands.lower <= 1.0) & (bands.upper >= 1.0))
    # Three standard errors of a share of 0.95 over 20,000 samples.
    assert coverage == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 20_000))


def test_welch_equals_scipys() -> None:
    other = [0.5, 0.9, 0.1]
    expected = stats.ttest_ind(SAMPLE, other, equal_var=False)
    found = welch(SAMPLE, other, 0.95)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.difference.lower, found.difference.upper) == pytest.approx((interval.low, interval.high))


def test_welch_of_samples_without_spread_is_certain() -> None:
    assert welch([1.0, 1.0], [1.0, 1.0], 0.95).p_value == 1.0
    assert welch([1.0, 1.0], [2.0, 2.0], 0.95).p_value == 0.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12), st.floats(-1e6, 1e6))
def test_shifting_the_values_shifts_the_interval(values: list[float], shift: float) -> None:
    plain, shifted = mean_interval(values, 0.95), mean_interval(np.add(values, shift), 0.95)
    assert shifted.lower == pytest.approx(plain.lower + shift, abs=1e-3)
    assert shifted.upper == pytest.approx(plain.upper + shift, abs=1e-3)
