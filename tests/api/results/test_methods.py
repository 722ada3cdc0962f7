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
    # 0 and 2 where 0 is right: two values with variance 2, and a mean that is 1 off, as much as chance would have it.
    assert scores["error"] == pytest.approx(2.0)
    assert scores["bias_squared"] == pytest.approx(0.0)
    assert scores["variance"] == pytest.approx(2.0)


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
    cast = decompositions.of_votes(outputs, targets)
    assert cast["vote_bias_squared"] + cast["vote_variance"] == pytest.approx(mistakes["error"])
    brier = decompositions.of_brier_score(outputs, targets)
    assert brier["brier_bias_squared"] + brier["brier_variance"] == pytest.approx(brier["brier"])


@given(
    random=arrays,
    members=st.integers(1, 9),
    rows=st.integers(1, 40),
    classes=st.integers(2, 5),
    sureness=st.sampled_from([1.0, 0.01, 1e-3]),
)
def test_the_parts_of_the_cross_entropy_add_up_to_it_and_neither_is_negative(
    random: np.random.Generator, members: int, rows: int, classes: int, sureness: float
) -> None:
    # The surest networks leave a class no more than 0.
    outputs: Floats = random.dirichlet(np.full(classes, sureness), size=(members, rows)).astype(np.float32)
    targets = random.integers(classes, size=rows)
    found = decompositions.of_cross_entropy(outputs, targets)
    bias, variance = found["cross_entropy_bias"], found["cross_entropy_variance"]
    assert bias + variance == pytest.approx(found["cross_entropy"])
    assert bias >= -1e-6
    assert variance >= -1e-6
    likelihoods = np.take_along_axis(outputs, targets[None, :, None], 2).astype(np.float64)
    if likelihoods.min() >= np.finfo(np.float32).tiny:
        assert found["cross_entropy"] == pytest.approx(-np.log(likelihoods).mean())


def test_a_cross_entropy_by_hand() -> None:
    # π = (½, ½) and (⅘, ⅕): the geometric means are √.4 and √.1, so π̄ = (⅔, ⅓) and their sum is 3 √.1.
    outputs = np.array([[[0.5, 0.5]], [[0.8, 0.2]]])
    found = decompositions.of_cross_entropy(outputs, np.array([1]))
    assert found == pytest.approx(
        {
            "cross_entropy": -np.log(0.1) / 2,
            "cross_entropy_bias": np.log(3),
            "cross_entropy_variance": -np.log(3 * 0.1**0.5),
        }
    )


def test_votes_by_hand() -> None:
    # Of three replicates two vote for the wrong one of two classes: p = (⅔, ⅓), ½ (1 − Σ p²) = 2/9, of which 3/2.
    outputs = np.eye(2)[[[0], [0], [1]]]
    found = decompositions.of_votes(outputs, np.array([1]))
    assert found == pytest.approx({"vote_variance": 1 / 3, "vote_bias_squared": 4 / 9 - 1 / 9})


def test_variance_and_bias_are_right_in_the_mean_over_few_replicates() -> None:
    # Of networks that say 1 + N(0, 2²) where 0 is right: bias² 1 and variance 4, however few of them there are.
    random = np.random.default_rng(0)
    for members in (2, 3, 10):
        found = decompositions.of_squared_error(
            1 + 2 * random.standard_normal((members, 200_000)), np.zeros(200_000), None
        )
        assert found["variance"] == pytest.approx(4, rel=0.02)
        assert found["bias_squared"] == pytest.approx(1, rel=0.05)


def test_one_replicate_alone_is_all_bias() -> None:
    found = decompositions.of_squared_error(np.array([[3.0, 1.0]]), np.zeros(2), None)
    assert found == {"error": 5, "variance": 0, "bias_squared": 5}


def test_a_single_biased_row_by_hand() -> None:
    # Three replicates say 0, 0, 1 where 1 is right: the main prediction is wrong, one of three is right nevertheless.
    outputs = np.eye(2)[[[0], [0], [1]]]
    found = decompositions.of_mistakes(outputs, np.array([1]))
    assert found == pytest.approx({"error": 2 / 3, "bias": 1, "variance_unbiased": 0, "variance_biased": 1 / 3})
