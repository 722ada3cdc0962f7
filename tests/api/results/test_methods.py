"""What runs come to together, against numbers worked out by hand and by other libraries."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.results import decompositions, methods
from api.results.predictions import Floats, Predictions


def member(
    number: int,
    outputs: Sequence[Sequence[float]],
    targets: Sequence[float],
    drawn: list[int],
    validates: list[int],
) -> Predictions:
    return Predictions(
        f"run_{number}",
        number,
        np.array(outputs, float),
        np.array(targets),
        np.array(drawn),
        np.array(validates, np.bool_),
        None,
    )


def test_folds_are_averaged_and_pooled() -> None:
    right, wrong = [0.9, 0.1], [0.2, 0.8]
    one = member(0, [right, right, wrong, wrong], [0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0])
    two = member(1, [right, right, right, wrong], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1])
    outcome = methods.folds([one, two], "accuracy")
    assert outcome.members == [1.0, 0.5]
    assert outcome.scores == pytest.approx({"folds": 0.75, "pooled": 0.75, "folds_standard_deviation": 0.5**0.5 / 2})


def test_the_632_estimate_by_hand() -> None:
    # Rows 0, 1, 2 may train, row 3 validates. Squared errors of the one: 1, 4, 9; of the other: 4, 0, 1.
    one = member(0, [[1], [2], [3], [0]], [0, 0, 0, 0], [2, 1, 0, 0], [0, 0, 0, 1])
    two = member(1, [[2], [0], [1], [2]], [0, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1])
    scores = methods.bootstrap([one, two], "mean_squared_error").scores
    training = ((2 * 1 + 4) / 3 + 1) / 2
    undrawn = (4 + 0 + 9) / 3  # row 0 and 1 by the other, row 2 by the one
    assert scores["training"] == pytest.approx(training)
    assert scores["out_of_bag"] == pytest.approx(undrawn)
    assert scores["point_632"] == pytest.approx(0.368 * training + 0.632 * undrawn, rel=1e-3)
    assert scores["error"] == pytest.approx(2.0)
    assert scores["bias_squared"] == pytest.approx(1.0)
    assert scores["variance"] == pytest.approx(1.0)


def test_bagging_votes_averages_and_asks_those_who_did_not_see_a_row() -> None:
    targets = [1, 1, 0]
    sure, unsure, wrong = [0.0, 1.0], [0.6, 0.4], [1.0, 0.0]
    one = member(0, [sure, sure, wrong], targets, [0, 2, 0], [0, 0, 1])
    two = member(1, [unsure, unsure, unsure], targets, [2, 0, 0], [0, 0, 1])
    three = member(2, [unsure, wrong, sure], targets, [1, 1, 0], [0, 0, 1])
    outcome = methods.bagging([one, two, three], "accuracy")
    assert outcome.members == [1, 1, 0]
    assert outcome.series == {"mean": [1, 1, 1], "vote": [1, 1, 1]}
    # Row 0 was never drawn by the first, who is right; row 1 not by the second, who is not.
    assert outcome.scores["out_of_bag"] == 0.5


def test_a_boosted_ensemble_weighs_its_members() -> None:
    targets = [0, 1, 0, 1]
    good, bad = np.eye(2)[[0, 1, 1, 1]].tolist(), np.eye(2)[[0, 0, 0, 0]].tolist()
    members = [member(n, said, targets, [1, 1, 1, 0], [0, 0, 0, 1]) for n, said in enumerate([good, bad])]
    outcome = methods.boosted(members, "accuracy", 1.0)
    assert outcome.weights == pytest.approx([np.log(2), np.log(3)])
    assert outcome.series["training"] == pytest.approx([2 / 3, 2 / 3])
    assert outcome.series["ensemble"] == [1, 0]


def test_a_boosted_sum_is_judged_round_by_round() -> None:
    members = [member(n, [[2.0], [4.0]], [4.0, 6.0], [1, 0], [0, 1]) for n in range(2)]
    outcome = methods.boosted(members, "mean_squared_error", 0.5)
    assert outcome.series == {"training": [9.0, 4.0], "ensemble": [16.0, 4.0]}
    assert outcome.members == [16.0, 4.0]


arrays = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(random=arrays, members=st.integers(1, 9), rows=st.integers(1, 40))
def test_the_parts_of_the_squared_error_add_up_to_it(random: np.random.Generator, members: int, rows: int) -> None:
    outputs, targets = random.normal(size=(members, rows)), random.normal(size=rows)
    truth = targets + random.normal(size=rows)
    known = decompositions.of_squared_error(outputs, targets, truth)
    parts = known["bias_squared"] + known["variance"] + known["noise"] + known["covariance"]
    assert parts == pytest.approx(known["error"])
    unknown = decompositions.of_squared_error(outputs, targets, None)
    assert unknown["bias_squared"] + unknown["variance"] == pytest.approx(unknown["error"])


@given(random=arrays, members=st.integers(1, 9), rows=st.integers(1, 40), classes=st.integers(2, 5))
def test_the_parts_of_mistakes_and_of_the_brier_score_add_up_to_them(
    random: np.random.Generator, members: int, rows: int, classes: int
) -> None:
    outputs: Floats = random.dirichlet(np.ones(classes), size=(members, rows))
    targets = random.integers(classes, size=rows)
    mistakes = decompositions.of_mistakes(outputs, targets)
    parts = mistakes["bias"] + mistakes["variance_unbiased"] - mistakes["variance_biased"]
    assert parts == pytest.approx(mistakes["error"])
    assert mistakes["error"] == pytest.approx((outputs.argmax(2) != targets).mean())
    brier = decompositions.of_brier_score(outputs, targets)
    assert brier["brier_bias_squared"] + brier["brier_variance"] == pytest.approx(brier["brier"])


def test_a_single_biased_row_by_hand() -> None:
    # Three replicates say 0, 0, 1 where 1 is right: the main prediction is wrong, one of three is right nevertheless.
    outputs = np.eye(2)[[[0], [0], [1]]]
    found = decompositions.of_mistakes(outputs, np.array([1]))
    assert found == pytest.approx({"error": 2 / 3, "bias": 1, "variance_unbiased": 0, "variance_biased": 1 / 3})
