"""The whole comparison: table, pairs, spec difference, warnings, refusals."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from api.comparison.cautions import seed_list
from api.comparison.compare import compare
from api.comparison.history import ComparisonError, JobHistory
from api.comparison.result import Claim

Fabricate = Callable[..., JobHistory]


def test_the_table_holds_last_best_and_its_step(make_job: Fabricate) -> None:
    job = make_job("a", {0: [5, 1, 3], 1: [5, 4, 2]})
    row = compare([job]).table[0]
    assert [(run.last, run.best, run.best_step) for run in row.runs] == [(3, 1, 10), (2, 2, 20)]
    assert (row.last.mean, row.best.mean, row.best_step.mean) == (2.5, 1.5, 15)
    lower, upper = stats.t.interval(0.95, 1, 2.5, stats.sem([3, 2]))
    assert (row.last.lower, row.last.upper) == pytest.approx((lower, upper))
    assert row.steps_to_target is None


def test_best_is_the_highest_where_higher_is_better(make_job: Fabricate) -> None:
    job = make_job("a", {0: [0.1, 0.9, 0.5]}, metric="validation_r2")
    assert compare([job], metric="validation_r2").table[0].best.mean == 0.9


def test_a_metric_without_direction_has_a_last_value_and_no_best(make_job: Fabricate) -> None:
    jobs = [make_job("a", {0: [1, 2], 1: [1, np.nan]}, metric="gradient_norm", endings={1: ("failed", "diverged")})]
    jobs.append(make_job("b", {0: [1, 3], 1: [1, 4]}, metric="gradient_norm"))
    found = compare(jobs, metric="gradient_norm")
    assert found.better is None
    assert found.table[0].best.mean is None
    # Neither direction is worse, so a diverged run has not lost: its pair is left out.
    assert found.paired[0].left_out == 1
    with pytest.raises(ComparisonError, match="no better direction"):
        compare(jobs, metric="gradient_norm", target=1.0)


def test_diverged_runs_are_counted_and_in_no_mean(make_job: Fabricate) -> None:
    job = make_job("a", {0: [5, 1], 1: [5, 9, np.nan], 2: [5, 3]}, endings={1: ("failed", "diverged")})
    found = compare([job], target=2.0)
    assert found.jobs[0].diverged == 1
    assert found.jobs[0].runs_by_status == {"succeeded": 2, "failed": 1}
    assert found.table[0].last.mean == 2
    assert found.table[0].last.n == 2
    assert [run.counted for run in found.table[0].runs] == [True, False, True]
    assert any("1 of 3 runs diverged (seed 1)" in warning for warning in found.warnings)


def test_pairs_are_made_on_the_seed_and_not_on_the_position(make_job: Fabricate) -> None:
    first = make_job("a", {0: [9, 1], 1: [9, 2], 2: [9, 3]})
    second = make_job("b", {2: [9, 3.5], 1: [9, 2.5], 0: [9, 1.5]})
    paired = compare([first, second]).paired[0]
    assert paired.method == "sign_flip"
    assert paired.difference.mean == pytest.approx(0.5)
    assert paired.difference.lower == pytest.approx(0.5)
    assert paired.p_value == paired.smallest_p == 0.25
    assert "3 pairs cannot settle this at 5 %: it takes at least 6 seeds." in paired.sentence


def test_the_paired_interval_equals_scipys(make_job: Fabricate) -> None:
    a, b = [1.0, 2, 4, 3], [2.0, 2.5, 4.1, 5]
    jobs = [make_job("a", {s: [9, v] for s, v in enumerate(a)}), make_job("b", {s: [9, v] for s, v in enumerate(b)})]
    found = compare(jobs, confidence=0.9).paired[0].difference
    expected = stats.ttest_rel(b, a).confidence_interval(0.9)
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high))


def test_mismatched_seeds_use_the_common_ones_and_say_so(make_job: Fabricate) -> None:
    jobs = [make_job("a", {s: [9, 1 + s] for s in range(4)}), make_job("b", {s: [9, 2 + s] for s in range(2, 7)})]
    found = compare(jobs)
    assert (found.paired[0].pairs, found.paired[0].left_out) == (2, 5)
    assert "5 seeds left out" in found.paired[0].sentence
    assert any('"a" 0–3; "b" 2–6' in warning for warning in found.warnings)


def test_without_common_seeds_welch_compares_and_says_so(make_job: Fabricate) -> None:
    a, b = [1.0, 2, 4], [3.0, 5, 6, 8]
    jobs = [
        make_job("a", {s: [9, v] for s, v in enumerate(a)}),
        make_job("b", {s + 10: [9, v] for s, v in enumerate(b)}),
    ]
    paired = compare(jobs).paired[0]
    expected = stats.ttest_ind(b, a, equal_var=False)
    assert paired.method == "welch"
    assert paired.p_value == pytest.approx(expected.pvalue)
    assert paired.smallest_p is None
    assert paired.unpaired == "too_few_common_seeds"
    assert "Welch's t, unpaired: too few common seeds to pair" in paired.sentence


def test_one_run_a_side_is_no_test_at_all(make_job: Fabricate) -> None:
    paired = compare([make_job("a", {0: [9, 1]}), make_job("b", {0: [9, 2]})]).paired[0]
    assert paired.method == "none"
    assert paired.p_value is None
    assert paired.difference.mean == 1
    assert paired.sentence.endswith("Too few finished runs for a test.")


def test_a_diverged_run_loses_its_pair_against_the_baseline(make_job: Fabricate) -> None:
    values = {s: [9.0, 1.0 + s] for s in range(6)}
    jobs = [make_job("a", values), make_job("b", values | {0: [9, np.nan]}, endings={0: ("failed", "diverged")})]
    paired = compare(jobs).paired[0]
    assert paired.method == "sign_test"
    assert paired.pairs == 6
    assert paired.difference.mean == 0
    assert "1 pair decided by a diverged run" in paired.sentence


def test_pairs_that_diverged_on_both_sides_are_counted(make_job: Fabricate) -> None:
    values = {s: [9.0, 1.0 + s] for s in range(6)} | {0: [9, np.nan]}
    jobs = [make_job(name, values, endings={0: ("failed", "diverged")}) for name in ("a", "b")]
    paired = compare(jobs).paired[0]
    assert (paired.method, paired.pairs) == ("sign_flip", 5)
    assert "1 pair diverged on both sides" in paired.sentence


def test_enough_agreeing_seeds_settle_it(make_job: Fabricate) -> None:
    jobs = [make_job(name, {s: [9, base + s / 10] for s in range(7)}) for name, base in (("a", 1), ("b", 2))]
    paired = compare(jobs).paired[0]
    assert paired.p_value == paired.holm_p == 2 / 128
    assert "cannot settle" not in paired.sentence


def test_holm_adjusts_over_all_comparisons_with_the_baseline(make_job: Fabricate) -> None:
    jobs = [make_job(name, {s: [9, base + s / 10] for s in range(7)}) for name, base in (("a", 1), ("b", 2), ("c", 3))]
    found = compare(jobs, baseline="b")
    assert [one.job_id for one in found.paired] == ["a", "c"]
    assert [one.difference.mean for one in found.paired] == pytest.approx([-1, 1])
    assert [one.holm_p for one in found.paired] == [4 / 128, 4 / 128]
    assert {one.seeds_needed for one in found.paired} == {7}


def test_the_spec_difference_names_only_what_differs(make_job: Fabricate) -> None:
    runs = {0: [9.0, 1.0]}
    first = make_job("a", runs, optimizer={"kind": "adam", "learning_rate": 0.01}, tags=["one"], notes="mine")
    second = make_job("b", runs, optimizer={"kind": "sgd"}, regularizers=[{"kind": "l2", "weight": 0.1}])
    assert compare([first, second]).spec_diff == {
        "optimizer.kind": {"a": "adam", "b": "sgd"},
        "optimizer.betas": {"a": [0.9, 0.999]},
        "optimizer.epsilon": {"a": 1e-8},
        "optimizer.amsgrad": {"a": False},
        "regularizers.l2.kind": {"b": "l2"},
        "regularizers.l2.weight": {"b": 0.1},
    }


def test_one_shared_learning_rate_for_several_optimizers_is_a_warning(make_job: Fabricate) -> None:
    runs = {0: [9.0, 1.0]}

    def warned(*optimizers: dict[str, object]) -> bool:
        jobs = [make_job(f"j{n}", runs, optimizer=optimizer) for n, optimizer in enumerate(optimizers)]
        return any("Choi et al. 2019" in warning for warning in compare(jobs).warnings)

    assert warned({"kind": "adam", "learning_rate": 0.01}, {"kind": "sgd", "learning_rate": 0.01})
    assert not warned({"kind": "adam", "learning_rate": 0.001}, {"kind": "sgd", "learning_rate": 0.01})
    assert not warned({"kind": "sgd", "learning_rate": 0.01}, {"kind": "sgd", "learning_rate": 0.01})


def test_unfair_and_unfinished_comparisons_are_warned_of(make_job: Fabricate) -> None:
    first = make_job(
        "a", {s: [9, 1, np.nan, 1] for s in range(3)}, endings={0: ("running", None), 1: ("failed", "error")}
    )
    second = make_job("b", {s: [9, 1] for s in range(3)}, dataset="diabetes", budget={"steps": 200}, loss="huber")
    third = make_job("c", {s: [] for s in range(3)}, evaluation={"kind": "holdout", "validation": 0.3})
    text = " ".join(compare([first, second, third]).warnings)
    for words in (
        "1 of 3 runs not finished (seed 0)",
        "1 of 3 runs failed or cancelled (seed 1)",
        "3 values of validation loss not finite",
        '"c" has no points',
        "3 common seeds: too few",
        "differ in dataset",
        "differ in budget",
        "differ in loss",
        "differ in how rows are split",
    ):
        assert words in text


def test_identical_histories_over_ten_seeds_say_no_difference_exactly(make_job: Fabricate) -> None:
    values = {s: list(np.random.default_rng(s).normal(size=12)) for s in range(10)}
    last = Claim(better="a", worse="b", score="last")
    found = compare([make_job("a", values), make_job("b", values)], claims=[last])
    paired, claim = found.paired[0], found.claims[0]
    assert (paired.difference.mean, paired.difference.lower, paired.difference.upper) == (0, 0, 0)
    assert paired.p_value == paired.holm_p == 1
    assert "no difference" in paired.sentence
    assert (claim.verdict, claim.p_value, claim.difference.mean, claim.ties) == ("undecided", 1, 0, 10)
    assert "no difference" in claim.sentence
    assert found.ranking is not None
    assert [one.rank for one in found.ranking.contenders] == [1, 1]
    assert found.table[0].last == found.table[1].last


def test_jobs_that_did_not_see_the_same_rows_are_never_paired(make_job: Fabricate) -> None:
    a, b = [1.0, 2, 4], [3.0, 5, 6.5]
    jobs = [
        make_job("a", {s: [9, v] for s, v in enumerate(a)}),
        make_job("b", {s: [9, v] for s, v in enumerate(b)}, evaluation={"kind": "holdout", "validation": 0.3}),
    ]
    found = compare(jobs, claims=[Claim(better="a", worse="b", score="last")])
    expected = stats.ttest_ind(b, a, equal_var=False)
    for one in (found.paired[0], found.claims[0]):
        assert (one.method, one.unpaired, one.pairs) == ("welch", "not_the_same_rows", 0)
        assert one.p_value == pytest.approx(expected.pvalue)
        assert "not the same rows" in one.sentence
    interval = expected.confidence_interval(0.95)
    assert (found.paired[0].difference.lower, found.paired[0].difference.upper) == pytest.approx(interval)
    assert any("differ in how rows are split" in warning for warning in found.warnings)


def test_another_data_set_makes_no_pairs_either(make_job: Fabricate) -> None:
    jobs = [make_job("a", {s: [9, s] for s in range(3)}), make_job("b", {s: [9, s] for s in range(3)}, dataset="moons")]
    assert compare(jobs).paired[0].unpaired == "not_the_same_rows"


def test_a_diverged_seed_without_pairs_forbids_a_test_among_survivors(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", {s: [9, 1 + s / 10] for s in range(4)}),
        make_job("b", {s: [9, 5 + s / 10] for s in range(10, 14)}, endings={10: ("failed", "diverged")}),
    ]
    found = compare(jobs, claims=[Claim(better="a", worse="b", score="last")])
    assert (found.paired[0].method, found.paired[0].p_value) == ("none", None)
    assert "diverged has no place in a mean" in found.paired[0].sentence
    assert found.claims[0].verdict == "undecided"
    assert found.claims[0].difference.mean is None


def test_equal_specs_are_pointed_out(make_job: Fabricate) -> None:
    jobs = [make_job("a", {0: [9, 1]}), make_job("b", {0: [9, 2]})]
    assert any('"a" and "b" have the same spec' in warning for warning in compare(jobs).warnings)


def test_a_clean_comparison_has_no_warnings(make_job: Fabricate) -> None:
    jobs = [
        make_job(name, {s: [9, base + s] for s in range(6)}, optimizer={"kind": "sgd", "learning_rate": rate})
        for name, base, rate in (("a", 1, 0.1), ("b", 2, 0.01))
    ]
    assert compare(jobs).warnings == []


def test_jobs_of_one_name_are_told_apart_by_id(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", {0: [1]}, name="adam"),
        make_job("b", {0: [1]}, name="adam"),
        make_job("c", {0: [1]}, name=""),
    ]
    assert [job.label for job in compare(jobs).jobs] == ["adam (a)", "adam (b)", "c"]


def test_what_cannot_be_compared_is_refused(make_job: Fabricate) -> None:
    job = make_job("a", {0: [9, 1]})
    with pytest.raises(ComparisonError, match="no job to compare"):
        compare([])
    with pytest.raises(ComparisonError, match="stands 2 times"):
        compare([job, job])
    with pytest.raises(ComparisonError, match='no run has the metric "speed": recorded are validation_loss'):
        compare([job], metric="speed")
    with pytest.raises(ComparisonError, match="nothing is recorded yet"):
        compare([make_job("a", {0: []})])
    with pytest.raises(ComparisonError, match="the baseline, job z"):
        compare([job], baseline="z")
    with pytest.raises(ComparisonError, match="none of these specs has a field"):
        compare([job], rank_by="optimizer.colour")


def test_nan_and_infinities_travel_as_null(make_job: Fabricate) -> None:
    jobs = [
        make_job("a", {0: [np.inf, 1, np.nan], 1: [np.nan, np.nan]}, endings={1: ("failed", "diverged")}),
        make_job("b", {0: [1e308, 1e308], 1: [-1e308, 1.0]}),
    ]
    text = compare(jobs, target=0.5).model_dump_json()

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert found["curves"][0]["mean"] == [None, 1, None]


def test_seeds_are_written_as_ranges() -> None:
    assert seed_list([3, 0, 1, 2, 7, 9, 10]) == "0–3, 7, 9–10"
