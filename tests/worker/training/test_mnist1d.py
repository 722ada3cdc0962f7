"""The numbers are those of the published mnist1d_data.pkl, read off its conversion to JSON in mdcfrancis/gomnist1d."""

import numpy as np
import pytest
from pydantic import ValidationError

from models.spec.datasets import MNIST1D
from worker.training import datasets, mnist1d

# fmt: off
FIRST_TRAINING_ROW = [
    -0.3320056673693902, -0.4719103656557236, -0.778697076293495, -1.0097408265367047, -0.8823525654053074,
    0.10393481264623418, 1.643284346437359, 1.6525071095153063, 0.6830780818315106, -0.3426375154685016,
    -1.521430874860797, -1.103984045148588, -0.017093907298869573, 1.0146680081220367, 0.6235863180667376,
    -0.023913669562378465, 0.25410828809924846, 0.8673925837312527, 0.9354100555166474, 1.0358740294925417,
    1.5934880211319844, 1.2368416586427937, 0.4101984957624668, -0.2197929919438747, 0.0980555892363494,
    0.5301636813569663, 0.5202781860417783, 0.18998056723533166, 0.07043655205902072, 0.32433058303075085,
    0.26860834624669466, -0.5790773496801285, -1.093485710822378, -0.8645804426674562, -0.1135296255987257,
    0.019500918020389224, -0.3282141545404554, -0.7167304978134463, -0.9619582524619624, -0.8901663884753127,
]
LAST_TEST_ROW = [
    -0.5193287078205188, -0.6987227646777667, -1.2810376906623184, -2.1610148481983207, -2.3894211342504774,
    -0.24233900288813326, -0.14567826261303007, -0.04104002875460335, -0.13949271059302198, 0.06164585391422909,
    0.47422750856456414, 0.5174872956065008, 0.3440903806011008, -0.1341205566194796, -0.1483396450280491,
    -0.15019186668567183, -0.6893183078535029, -0.9392543366242806, -0.3995495202795297, 0.6158381104740795,
    1.3949283343454961, 1.0676781439045142, 0.28650902309079274, -0.33599731612030587, -0.32793801500521974,
    0.3381367461988614, 0.5291351885718364, 0.9470499440540749, 1.4017628465450052, 0.8982728038282997,
    0.41795622295785056, -0.23608953236670116, -0.5400119928423919, -0.5587724330587539, -0.39591055084416954,
    -0.09864609258520216, 0.4472328851428726, 0.6598756470890784, 0.8777343497528006, 1.193151836835276,
]
FIRST_TRAINING_DIGITS = [2, 6, 4, 5, 6, 6, 6, 0, 3, 1, 6, 9, 4, 3, 4, 5, 1, 9, 0, 3, 4, 2, 6, 3, 4, 3, 4, 8, 7, 8]
LAST_TRAINING_DIGITS = [9, 9, 4, 6, 3, 4, 6, 3, 8, 2, 3, 8, 8, 2, 0, 3, 2, 6, 8, 5, 4, 8]
FIRST_TEST_DIGITS = [2, 6, 3, 9, 4, 3, 1, 9, 5, 2, 0, 7, 7, 1, 4, 6, 1, 4, 3, 9]
LAST_TEST_DIGITS = [1, 1, 8, 0, 6, 6, 9, 6, 7, 8, 3, 3, 9, 8, 3, 3, 6, 1, 2, 5, 9, 6, 4]
# The published generator run with shuffle_seq: the first row of what it makes of the same seed.
FIRST_SHUFFLED_ROW = [
    1.0358740294925417, 0.4101984957624668, -0.8823525654053073, -1.093485710822378, 0.8673925837312527,
    0.9354100555166474, 0.0704365520590207, -0.5790773496801285, -1.103984045148588, 0.09805558923634938,
    -0.2197929919438747, 1.6525071095153063, 0.5301636813569663, 0.01950091802038919, -0.1135296255987257,
    1.643284346437359, -1.0097408265367045, 1.0146680081220367, -0.017093907298869573, 0.5202781860417782,
    -0.4719103656557236, 0.1899805672353317, 1.5934880211319844, -1.521430874860797, -0.3282141545404554,
    -0.3426375154685016, -0.7167304978134463, 0.32433058303075085, 0.6830780818315106, 0.26860834624669466,
    0.10393481264623418, -0.9619582524619623, 0.25410828809924857, -0.023913669562378465, -0.8645804426674562,
    -0.8901663884753127, 0.6235863180667374, 1.2368416586427937, -0.33200566736939013, -0.778697076293495,
]
# fmt: on


def test_the_rows_are_those_of_the_published_file() -> None:
    """At both of its ends: each row takes its share of one sequence of draws, then one permutation deals out the rows
    and one mean and one deviation scale them, so a draw too many or too few anywhere would show there.
    """
    rows = datasets.load(MNIST1D())
    np.testing.assert_allclose(rows.inputs[0], FIRST_TRAINING_ROW, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rows.inputs[-1], LAST_TEST_ROW, rtol=0, atol=1e-12)


def test_the_digits_are_in_the_published_order_training_rows_first() -> None:
    digits = datasets.load(MNIST1D()).targets.argmax(axis=1)
    training, test = digits[:4_000].tolist(), digits[4_000:].tolist()
    assert training[: len(FIRST_TRAINING_DIGITS)] == FIRST_TRAINING_DIGITS
    assert training[-len(LAST_TRAINING_DIGITS) :] == LAST_TRAINING_DIGITS
    assert test[: len(FIRST_TEST_DIGITS)] == FIRST_TEST_DIGITS
    assert test[-len(LAST_TEST_DIGITS) :] == LAST_TEST_DIGITS


def test_each_digit_has_500_rows_and_all_points_one_scale() -> None:
    rows = datasets.load(MNIST1D())
    assert rows.targets.sum(axis=0).tolist() == [500] * 10
    assert rows.inputs.mean() == pytest.approx(0, abs=1e-12)
    assert rows.inputs.std() == pytest.approx(1, abs=1e-12)


def test_shuffling_puts_the_points_of_every_row_into_one_order() -> None:
    plain, shuffled = datasets.load(MNIST1D()), datasets.load(MNIST1D(shuffle_points=True))
    order = [int(np.abs(plain.inputs[0] - value).argmin()) for value in shuffled.inputs[0]]
    assert sorted(order) == list(range(40))
    assert order != list(range(40))
    np.testing.assert_allclose(shuffled.inputs, plain.inputs[:, order], rtol=0, atol=1e-12)
    assert np.array_equal(shuffled.targets, plain.targets)
    np.testing.assert_allclose(shuffled.inputs[0], FIRST_SHUFFLED_ROW, rtol=0, atol=1e-12)


def test_generating_leaves_the_random_state_of_the_process_alone() -> None:
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    mnist1d.generate(shuffle_points=True)
    assert np.random.random() == expected


@pytest.mark.parametrize("fields", [{"shuffle_points": "perhaps"}, {"samples": 4_000}, {"seed": 43}], ids=str)
def test_nothing_but_the_order_of_the_points_can_be_chosen(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        MNIST1D.model_validate(fields)
