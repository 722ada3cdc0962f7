"""The arithmetic between the rounds of boosting."""

import numpy as np
import pytest

from models.boosting import additive, member_weight, samme


def test_samme_by_hand_on_four_rows_and_three_classes() -> None:
    targets = np.array([0, 1, 2, 0])
    one = np.eye(3)[[0, 1, 2, 1]]  # the last row wrong: error 1/4
    two = np.eye(3)[[0, 2, 2, 0]]  # the second row wrong
    says, weights = samme(np.stack([one, two]), targets, 1.0)
    first = np.log(3) + np.log(2)
    # The wrong row gains e^α = 6, so the weights are 1, 1, 1, 6 ninths and the second error is 1/9.
    second = np.log(8) + np.log(2)
    assert says == pytest.approx([first, second])
    assert weights == pytest.approx(np.array([1, 16, 1, 6]) / 24)


def test_samme_weights_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    x, y = load_iris(return_X_y=True)
    ensemble = AdaBoostClassifier(DecisionTreeClassifier(max_depth=1, random_state=0), n_estimators=4, random_state=0)
    ensemble.fit(x, y)
    outputs = np.stack([np.eye(3)[tree.predict(x)] for tree in ensemble.estimators_])
    says, _ = samme(outputs, y, 1.0)
    np.testing.assert_allclose(says, ensemble.estimator_weights_, rtol=1e-9)


def test_a_member_no_better_than_chance_says_nothing_and_a_perfect_one_not_everything() -> None:
    assert member_weight(0.5, 0.01, 2, 1.0) == 0
    assert member_weight(0.9, 0.01, 4, 1.0) == 0
    assert member_weight(0.0, 0.01, 2, 1.0) == pytest.approx(np.log(199))
    assert member_weight(0.2, 0.01, 3, 0.5) == pytest.approx(0.5 * (np.log(4) + np.log(2)))


def test_the_sum_grows_by_each_member_times_the_shrinkage() -> None:
    outputs = np.array([[[1.0]], [[2.0]], [[4.0]]])
    assert additive(outputs, 0.5)[:, 0, 0].tolist() == [0.5, 1.5, 3.5]
