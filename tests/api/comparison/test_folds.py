"""Several runs a seed: folds with the correction for what they share, ensembles by the mean of their members."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from api.comparison.compare import compare
from api.comparison.curves import curve
from api.comparison.history import JobHistory
from api.comparison.intervals import mean_interval, nadeau_bengio
from api.comparison.result import Claim

Fabricate = Callable[..., JobHistory]

FOLDS = {"kind": "k_fold", "folds": 5, "test": 0.2}
BAGGING = {"kind": "bagging", "ensemble": 3}
# 1,000 rows of which 200 are sealed: 160 validate a fold and 640 train it.
OVERLAP = 160 / 640
LAST = Claim(better="a", worse="b", score="last")


def folded(values: list[float], seeds: int = 1) -> dict[tuple[int, int], list[float]]:
    keys = [(seed, fold) for seed in range(seeds) for fold in range(len(values) // seeds)]
    return {key: [9.0, value] for key, value in zip(keys, values, strict=True)}


A = [1.0, 1.2, 1.1, 1.4, 1.3]
B = [1.3, 1.35, 1.6, 1.5, 1.75]


def test_folds_are_paired_by_seed_and_fold_and_corrected_for_their_common_rows(make_job: Fabricate) -> None:
    jobs = [make_job("a", folded(A), evaluation=FOLDS), make_job("b", folded(B), evaluation=FOLDS)]
    found = compare(jobs, claims=[LAST])
    differences = np.subtract(B, A)
    error = np.std(differences, ddof=1) * np.sqrt(1 / 5 + OVERLAP)
    p_value = 2 * stats.t.sf(abs(differences.mean()) / error, 4)
    half = stats.t.ppf(0.975, 4) * error
    paired, claim = found.paired[0], found.claims[0]
    for one in (paired, claim):
        assert (one.method, one.unpaired, one.pairs, one.smallest_p) == ("nadeau_bengio", None, 5, None)
        assert one.p_value == pytest.approx(p_value)
    assert paired.difference.mean == pytest.approx(differences.mean())
    assert (paired.difference.lower, paired.difference.upper) == pytest.approx(
        (differences.mean() - half, differences.mean() + half)
    )
    assert claim.difference.mean == pytest.approx(-differences.mean())
    assert "5 pairs by seed and fold" in paired.sentence
    assert "ahead on 5 of 5 paired folds" in claim.sentence
    assert (p_value <= 0.05) == (claim.verdict == "supported")
    # The one seed is not too few here: no exact test is asked for.
    assert not any("exact test" in warning for warning in found.warnings)


def test_without_common_rows_the_correction_is_the_paired_t_test() -> None:
    differences = [0.3, 0.15, 0.5, -0.1, 0.45]
    assert nadeau_bengio(differences, 0.0) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert nadeau_bengio([0.0, 0.0, 0.0], 0.25) == 1.0
    assert nadeau_bengio([0.1, 0.1], 0.25) == 0.0


def test_folds_of_all_seeds_and_repeats_count(make_job: Fabricate) -> None:
    twice = FOLDS | {"repeats": 2}
    jobs = [
        make_job("a", folded([*A, *B], seeds=2), evaluation=FOLDS),
        make_job("b", folded([*B, *A, *B, *A], seeds=2), evaluation=twice),
    ]
    paired = compare(jobs).paired[0]
    # The first repeat is dealt as without repeats; the second has no partner.
    assert (paired.method, paired.pairs, paired.left_out) == ("nadeau_bengio", 10, 10)


def test_a_diverged_fold_leaves_the_verdict_to_the_seeds(make_job: Fabricate) -> None:
    seeds = 6
    a = make_job("a", folded(A * seeds, seeds), evaluation=FOLDS)
    b = make_job("b", folded(B * seeds, seeds), evaluation=FOLDS, endings={(0, 2): ("failed", "diverged")})
    found = compare([a, b], claims=[LAST])
    assert (found.claims[0].method, found.claims[0].pairs, found.claims[0].wins) == ("sign_test", 6, 6)
    assert found.claims[0].p_value == 2 / 64
    assert found.jobs[1].diverged == 1


def test_folds_and_holdouts_make_no_pairs(make_job: Fabricate) -> None:
    jobs = [make_job("a", folded(A * 3, 3), evaluation=FOLDS), make_job("b", {s: [9, 1 + s] for s in range(3)})]
    paired = compare(jobs).paired[0]
    assert (paired.unpaired, paired.method, paired.difference.n) == ("not_the_same_rows", "welch", 6)


def test_the_scores_of_folds_have_the_corrected_interval(make_job: Fabricate) -> None:
    row = compare([make_job("a", folded(A), evaluation=FOLDS)]).table[0]
    plain = stats.t.interval(0.95, 4, np.mean(A), stats.sem(A))
    assert row.last.upper is not None
    wider = (row.last.upper - np.mean(A)) / (plain[1] - np.mean(A))
    assert wider == pytest.approx(np.sqrt((1 / 5 + OVERLAP) / (1 / 5)))
    assert [(one.seed, one.member) for one in row.runs] == [(0, fold) for fold in range(5)]


def test_the_corrected_interval_covers_more_than_the_naive_one_where_folds_share_rows() -> None:
    """Two learners that are equal by symmetry, cross-validated on small data sets: each regresses on one of two
    features that matter alike.
    """
    generator = np.random.default_rng(5)
    rows, folds, data_sets = 60, 5, 600
    naive = corrected = 0
    for _ in range(data_sets):
        x = generator.normal(size=(2, rows))
        y = x.sum(axis=0) + generator.normal(size=rows)
        differences = []
        for part in range(3 * folds):
            if part % folds == 0:
                order = generator.permutation(rows)
            test = np.zeros(rows, bool)
            test[order[part % folds :: folds]] = True
            slopes = (x[:, ~test] @ y[~test]) / (x[:, ~test] ** 2).sum(axis=1)
            errors = ((y[test] - slopes[:, None] * x[:, test]) ** 2).mean(axis=1)
            differences.append(float(errors[0] - errors[1]))
        for overlap in (0.0, 1 / (folds - 1)):
            interval = mean_interval(differences, 0.95, overlap)
            covers = interval.lower <= 0 <= interval.upper
            naive, corrected = naive + (covers and not overlap), corrected + (covers and overlap > 0)
    assert naive / data_sets < 0.85
    assert corrected / data_sets > 0.90


def bagged(values: list[list[float]]) -> dict[tuple[int, int], list[float]]:
    return {(seed, member): [9.0, value] for seed, row in enumerate(values) for member, value in enumerate(row)}


def test_a_seed_of_an_ensemble_counts_once_by_the_mean_over_its_members(make_job: Fabricate) -> None:
    first = [[1.0, 2.0, 3.0], [2.0, 2.0, 5.0], [1.0, 1.0, 1.0], [4.0, 0.0, 2.0]]
    second = [3.0, 4.5, 1.5, 2.5]
    a = make_job("a", bagged(first), evaluation=BAGGING)
    b = make_job("b", {seed: [9, value] for seed, value in enumerate(second)})
    found = compare([a, b])
    means = np.mean(first, axis=1)
    expected = stats.ttest_rel(second, means).confidence_interval(0.95)
    paired = found.paired[0]
    assert (paired.method, paired.pairs) == ("sign_flip", 4)
    assert (paired.difference.lower, paired.difference.upper) == pytest.approx((expected.low, expected.high))
    row = found.table[0]
    assert row.last.n == 4
    assert row.last.mean == pytest.approx(np.mean(means))
    assert (row.last.lower, row.last.upper) == pytest.approx(
        stats.t.interval(0.95, 3, np.mean(means), stats.sem(means))
    )
    assert len(row.runs) == 12
    assert {one.member for one in row.runs} == {0, 1, 2}
    assert found.jobs[0].seeds == [0, 1, 2, 3]
    assert any("/v1/jobs/a/results" in warning for warning in found.warnings)


def test_the_curve_of_an_ensemble_averages_all_runs_with_an_interval_over_seeds(make_job: Fabricate) -> None:
    found = curve(make_job("a", bagged([[1, 2, 3], [5, 5, 8]]), evaluation=BAGGING), "validation_loss", "step", 9, 0.95)
    assert found.mean == [9, 4]
    assert found.n == [6, 6]
    lower, upper = stats.t.interval(0.95, 1, 4, stats.sem([2, 6]))
    assert (found.lower[1], found.upper[1]) == pytest.approx((lower, upper))


def test_a_seed_with_a_diverged_member_counts_as_diverged(make_job: Fabricate) -> None:
    values = [[1.0, 2, 3] for _ in range(6)]
    a = make_job("a", bagged(values), evaluation=BAGGING, endings={(0, 1): ("failed", "diverged")})
    b = make_job("b", {seed: [9, 5] for seed in range(6)})
    found = compare([a, b], claims=[LAST])
    assert found.table[0].last.n == 5
    assert (found.claims[0].method, found.claims[0].wins, found.claims[0].losses) == ("sign_test", 5, 1)


def test_a_seed_of_which_a_member_missed_is_censored_at_the_mean_of_what_is_known(make_job: Fabricate) -> None:
    a = make_job(
        "a", {(0, 0): [9, 1], (0, 1): [9, 9], (1, 0): [9, 1], (1, 1): [9, 1]}, evaluation=BAGGING | {"ensemble": 2}
    )
    b = make_job("b", {0: [9, 9, 9, 9, 1], 1: [9, 9, 1]})
    claim = compare([a, b], target=2.0, claims=[Claim(better="b", worse="a")]).claims[0]
    # Seed 0 took the bag (10 + more than 100) / 2 > 55 steps, and the holdout 40; seed 1 10 against 20.
    assert (claim.wins, claim.losses, claim.censored) == (1, 1, 1)
