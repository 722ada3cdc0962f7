"""Who is ahead, by the best of how many."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from api.comparison.compare import compare
from api.comparison.history import ComparisonError, JobHistory
from api.comparison.standings import Ranking

Fabricate = Callable[..., JobHistory]


def ending_at(values: Sequence[float]) -> dict[int, list[float]]:
    return {seed: [9.0, value] for seed, value in enumerate(values)}


def tuned(make_job: Fabricate) -> list[JobHistory]:
    """SGD with three learning rates, Adam with one."""
    ends = {0.1: [2.0, 2.1, 2.3], 0.2: [1.0, 1.2, 1.1], 0.5: [0.1, 0.2, 0.1]}
    return [
        *(
            make_job(
                f"sgd {rate}",
                ending_at(values),
                optimizer={"kind": "sgd", "learning_rate": rate},
                endings={1: ("failed", "diverged")} if rate == 0.5 else None,
            )
            for rate, values in ends.items()
        ),
        make_job("adam", ending_at([1.2, 1.15, 1.1]), optimizer="adam"),
    ]


def ranked(found: Ranking | None) -> Ranking:
    assert found is not None
    return found


def test_each_contender_stands_for_the_best_of_the_specs_that_it_tried(make_job: Fabricate) -> None:
    comparison = compare(tuned(make_job))
    found = ranked(comparison.ranking)
    assert (found.by, found.score, found.even_budgets) == ("optimizer.kind", "last", False)
    first, second = found.contenders
    # The spec with a diverged run has the lowest numbers, of those runs that survived.
    assert (first.rank, first.label, first.job_id, first.tried, first.diverged) == (1, "sgd", "sgd 0.2", 3, 1)
    assert first.job_ids == ["sgd 0.1", "sgd 0.2", "sgd 0.5"]
    assert first.estimate.mean == pytest.approx(1.1)
    assert (first.tied, first.difference.mean) == (None, None)
    assert (second.rank, second.job_id, second.tried, second.tied) == (2, "adam", 1, True)
    expected = stats.ttest_rel([1.2, 1.15, 1.1], [1.0, 1.2, 1.1]).confidence_interval(0.95)
    assert (second.difference.lower, second.difference.upper) == pytest.approx((expected.low, expected.high))
    text = " ".join(comparison.warnings)
    assert 'more tries find better ones: "sgd" 3; "adam" 1' in text
    assert "optimistic pick" in text


def test_a_difference_that_excludes_zero_is_no_tie(make_job: Fabricate) -> None:
    jobs = [make_job("a", ending_at([1, 1.1, 1.2])), make_job("b", ending_at([3, 3.2, 3.1]), optimizer="adam")]
    found = ranked(compare(jobs).ranking)
    assert [(one.label, one.tied) for one in found.contenders] == [("sgd", None), ("adam", False)]
    assert found.even_budgets
    assert not any("optimistic" in warning for warning in compare(jobs).warnings)


def test_without_another_optimizer_every_job_contends(make_job: Fabricate) -> None:
    jobs = [
        make_job(f"{rate}", ending_at([rate, rate]), optimizer={"kind": "sgd", "learning_rate": rate})
        for rate in (0.3, 0.1, 0.2)
    ]
    found = ranked(compare(jobs).ranking)
    assert found.by == ""
    assert [(one.rank, one.label) for one in found.contenders] == [(1, "0.1"), (2, "0.2"), (3, "0.3")]


def test_any_field_of_the_spec_can_be_ranked_by(make_job: Fabricate) -> None:
    jobs = [
        make_job("plain", ending_at([3, 3])),
        make_job("weak", ending_at([2, 2]), regularizers=[{"kind": "l2", "weight": 0.1}]),
        make_job("strong", ending_at([1, 1]), regularizers=[{"kind": "l2", "weight": 0.2}]),
    ]
    found = ranked(compare(jobs, rank_by="regularizers.l2.weight").ranking)
    assert [one.label for one in found.contenders] == ["0.2", "0.1", "none"]


def test_values_that_look_alike_in_words_are_still_two_contenders(make_job: Fabricate) -> None:
    rates = (0.12345678, 0.12345679)
    jobs = [
        make_job(f"{n}", ending_at([n]), optimizer={"kind": "sgd", "learning_rate": r}) for n, r in enumerate(rates)
    ]
    found = ranked(compare(jobs, rank_by="optimizer.learning_rate").ranking)
    assert [(one.label, one.tried) for one in found.contenders] == [("0.123457", 1), ("0.123457", 1)]


def test_higher_comes_first_where_higher_is_better(make_job: Fabricate) -> None:
    jobs = [
        make_job(name, ending_at([value, value + 0.1]), metric="validation_accuracy", dataset="digits", optimizer=kind)
        for name, kind, value in (("a", "sgd", 0.5), ("b", "adam", 0.7))
    ]
    found = ranked(compare(jobs, metric="validation_accuracy").ranking)
    assert [one.label for one in found.contenders] == ["adam", "sgd"]
    assert found.contenders[1].difference.mean == pytest.approx(-0.2)


def test_the_best_value_ranks_where_best_is_asked(make_job: Fabricate) -> None:
    jobs = [make_job("a", {0: [9, 1, 5]}), make_job("b", {0: [9, 2, 2]}, optimizer="adam")]
    assert [one.label for one in ranked(compare(jobs).ranking).contenders] == ["adam", "sgd"]
    found = ranked(compare(jobs, score="best").ranking)
    assert (found.score, [one.label for one in found.contenders]) == ("best", ["sgd", "adam"])
    assert found.contenders[1].tied is None


def test_a_contender_that_only_diverged_has_no_rank(make_job: Fabricate) -> None:
    lost = {0: ("failed", "diverged")}
    jobs = [make_job("a", {0: [9, np.nan]}, endings=lost), make_job("b", ending_at([1]), optimizer="adam")]
    last = ranked(compare(jobs).ranking).contenders[-1]
    assert (last.rank, last.label, last.job_id, last.estimate.mean) == (None, "sgd", None, None)


def test_only_validation_rows_of_one_data_set_rank(make_job: Fabricate) -> None:
    on_training = [make_job(name, ending_at([1]), metric="train_loss") for name in ("a", "b")]
    assert compare(on_training, metric="train_loss").ranking is None
    with pytest.raises(ComparisonError, match="not measured on validation rows"):
        compare(on_training, metric="train_loss", rank_by="optimizer.kind")
    elsewhere = [make_job("a", ending_at([1])), make_job("b", ending_at([1]), dataset="moons")]
    assert compare(elsewhere).ranking is None
    with pytest.raises(ComparisonError, match="not on one scale"):
        compare(elsewhere, rank_by="optimizer.kind")
    assert compare([make_job("a", ending_at([1]))]).ranking is None
