"""The exact tests and Holm's adjustment against SciPy and by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from api.comparison import significance
from api.comparison.significance import holm, seeds_needed, sign_flip, sign_test, smallest_p

finite_values = st.floats(-1e6, 1e6, allow_subnormal=False)


@pytest.mark.parametrize("n", [2, 5, 8, 12])
def test_sign_flip_equals_scipys_permutation_test(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.4, 1, size=n)
    expected = stats.permutation_test(
        (differences,),
        lambda d, axis: np.sum(d, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    found = sign_flip(differences)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.exact


def test_sign_flip_by_hand() -> None:
    # The eight sums ±1 ±2 ±3 are −6, −4, −2, 0, 0, 2, 4, 6.
    assert sign_flip([1, 2, 3]).p_value == 2 / 8
    assert sign_flip([-1, 2, 3]).p_value == 4 / 8
    assert sign_flip([1, 2, -3]).p_value == 8 / 8
    assert sign_flip([5]).p_value == 1


def test_flips_that_tie_in_exact_arithmetic_count_as_ties() -> None:
    # 0.1 + 0.2 − 0.3 is not zero in floating point; each sum of that kind ties with the observed one.
    assert sign_flip([0.1, 0.2, -0.3]).p_value == 1


@given(st.lists(finite_values, min_size=1, max_size=12))
def test_sign_flip_never_goes_below_its_smallest_p(differences: list[float]) -> None:
    found = sign_flip(differences)
    assert 2 / 2 ** len(differences) <= found.p_value <= 1
    assert found.smallest_p == 2 / 2 ** len(differences)


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=12))
def test_full_agreement_reaches_the_smallest_p(differences: list[float]) -> None:
    assert sign_flip(differences).p_value == 2 / 2 ** len(differences)


@given(st.lists(finite_values, min_size=1, max_size=10))
def test_sign_flip_does_not_care_which_side_is_subtracted(differences: list[float]) -> None:
    assert sign_flip(differences).p_value == sign_flip(np.negative(differences)).p_value


def test_thirty_pairs_are_still_counted_one_by_one() -> None:
    found = sign_flip(np.ones(30))
    assert found.exact
    assert found.p_value == 2 / 2**30


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=11))
def test_counting_by_halves_counts_every_flip(differences: list[int]) -> None:
    sums = [abs(np.dot(signs, differences)) for signs in product((1, -1), repeat=len(differences))]
    assert sign_flip(differences).p_value == np.mean(np.array(sums) >= abs(sum(differences)))


def test_more_pairs_are_flipped_at_random_and_repeatably() -> None:
    differences = np.random.default_rng(1).normal(0.35, 1, size=32)
    found = sign_flip(differences)
    assert not found.exact
    assert found == sign_flip(differences)
    assert found.smallest_p == 1 / 100_001
    normal = 2 * stats.norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum()))
    assert found.p_value == pytest.approx(normal, abs=0.01)


def test_random_flips_agree_with_counting_all(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(2).normal(0.4, 1, size=15)
    exact = sign_flip(differences).p_value
    monkeypatch.setattr(significance, "MAX_EXACT_PAIRS", 14)
    assert sign_flip(differences).p_value == pytest.approx(exact, abs=4 * np.sqrt(exact / 100_000))


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 0), (9, 1), (4, 4), (2, 7), (10, 20)])
def test_the_sign_test_equals_scipys_binomial_test(wins: int, losses: int) -> None:
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04; no later one may be smaller.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=10))
def test_holm_keeps_the_order_and_never_lowers_a_p(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    in_order = [adjusted[i] for i in sorted(range(len(p_values)), key=lambda i: p_values[i])]
    assert in_order == sorted(in_order)


@pytest.mark.parametrize(("family", "seeds"), [(1, 6), (2, 7), (7, 9)])
def test_the_seeds_that_a_family_needs(family: int, seeds: int) -> None:
    assert seeds_needed(family) == seeds
    assert holm([smallest_p(seeds)] * family)[0] <= 0.05 < holm([smallest_p(seeds - 1)] * family)[0]


@pytest.mark.parametrize(("pairs", "p"), [(0, 1), (1, 1), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_the_smallest_p_of_a_few_pairs(pairs: int, p: float) -> None:
    assert smallest_p(pairs) == p


def test_the_sign_flip_test_keeps_its_level() -> None:
    generator = np.random.default_rng(3)
    rejected = np.mean([sign_flip(generator.standard_t(3, size=7)).p_value <= 0.05 for _ in range(2_000)])
    assert rejected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2_000)
