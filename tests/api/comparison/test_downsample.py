"""Thinning a series keeps what a reader must not miss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from api.comparison.downsample import downsample, kept_points
from api.comparison.history import Series

values_of_any_kind = arrays.arrays(np.float64, st.integers(1, 400), elements=st.floats(width=32))
sizes = st.integers(5, 60)


@given(values_of_any_kind, sizes)
def test_first_last_and_every_extreme_stay(values: np.ndarray[tuple[int], np.dtype[np.float64]], size: int) -> None:
    kept = kept_points(values, size)
    assert len(kept) <= size
    assert np.all(np.diff(kept) > 0)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    finite = values[np.isfinite(values)]
    if len(finite):
        left = values[kept][np.isfinite(values[kept])]
        assert left.min() == finite.min()
        assert left.max() == finite.max()


@given(values_of_any_kind, sizes)
def test_the_first_value_that_is_not_finite_stays(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], size: int
) -> None:
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        assert wrong[0] in kept_points(values, size)


def test_every_bin_keeps_its_own_spike() -> None:
    values = np.zeros(1_000)
    spikes = [105, 333, 507, 901]
    values[spikes] = [1, -1, 2, -2]
    assert set(spikes) <= set(kept_points(values, 22).tolist())


def test_a_short_series_stays_whole() -> None:
    series = Series(np.arange(5), np.array([3.0, 1, np.nan, 2, 0]))
    found = downsample(series, 5)
    assert found.steps.tolist() == [0, 1, 2, 3, 4]


def test_steps_and_values_stay_together() -> None:
    steps = np.arange(0, 2_000, 2)
    found = downsample(Series(steps, np.sin(steps / 50)), 100)
    assert np.array_equal(found.values, np.sin(found.steps / 50))


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5"):
        kept_points(np.zeros(10), 4)
