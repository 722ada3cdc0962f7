from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from worker.training import randomness
from worker.training.randomness import (
    DataOrder,
    DropoutMasks,
    MixPartners,
    MixShares,
    Normals,
    Purpose,
    StepDraws,
    stream,
)


def test_a_stream_is_a_function_of_seed_purpose_and_position() -> None:
    keys = [(seed, purpose, position) for seed in (0, 1, 2**32 - 1) for purpose in Purpose for position in (0, 1, 9)]
    draws = {key: stream(*key).random(4).tobytes() for key in keys}
    assert len(set(draws.values())) == len(keys)
    assert all(stream(*key).random(4).tobytes() == draw for key, draw in reversed(draws.items()))


def test_every_epoch_is_a_new_permutation_that_can_be_asked_for_in_any_order() -> None:
    forward = DataOrder(5, 50)
    orders = [forward.epoch(epoch).copy() for epoch in range(40)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({order.tobytes() for order in orders}) == 40
    jumping = DataOrder(5, 50)
    for epoch in (39, 0, 17, 16, 15):
        assert np.array_equal(jumping.epoch(epoch), orders[epoch])


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 0.999])
def test_masks_drop_with_their_probability_and_keep_the_expectation(probability: float) -> None:
    masks = DropoutMasks(3, probability, 1_000).between(0, 100)
    assert masks.dtype == np.float32
    assert (masks == 0).mean() == pytest.approx(probability, abs=0.005)
    assert set(np.unique(masks)) <= {np.float32(0), np.float32(1 / (1 - probability))}


def test_masks_do_not_depend_on_how_many_are_asked_for_at_once() -> None:
    whole = DropoutMasks(3, 0.5, 33).between(0, 150)
    pieces = DropoutMasks(3, 0.5, 33)
    assert np.array_equal(whole[100:149], pieces.between(100, 149))
    assert np.array_equal(whole[7:8], pieces.between(7, 8))
    assert not np.array_equal(whole[0], whole[1])


def test_noise_and_mixing_do_not_depend_on_how_much_is_asked_for_at_once() -> None:
    kinds: list[Callable[[], StepDraws[Any]]] = [
        lambda: Normals(3, Purpose.INPUT_NOISE, 33),
        lambda: MixPartners(3, 33),
        lambda: MixShares(3, 0.4),
    ]
    for fresh in kinds:
        whole, pieces = fresh().between(0, 150), fresh()
        assert np.array_equal(whole[100:149], pieces.between(100, 149))
        assert np.array_equal(whole[7], pieces.at(7))
        assert not np.array_equal(whole[0], whole[1])


def test_normals_are_standard_and_each_purpose_has_its_own() -> None:
    inputs, weights = (Normals(3, p, 500).between(0, 200) for p in (Purpose.INPUT_NOISE, Purpose.WEIGHT_NOISE))
    assert inputs.dtype == np.float32
    assert abs(inputs.mean()) < 0.01
    assert inputs.std() == pytest.approx(1, abs=0.01)
    assert abs(np.corrcoef(inputs.ravel(), weights.ravel())[0, 1]) < 0.02


def test_every_row_of_a_batch_is_the_partner_of_exactly_one() -> None:
    partners = MixPartners(3, 20).between(0, 100)
    assert (np.sort(partners, axis=1) == np.arange(20)).all()


@pytest.mark.parametrize("alpha", [0.001, 0.2, 1.0, 8.0, 1000.0])
def test_shares_of_the_partner_follow_a_beta_distribution(alpha: float) -> None:
    shares = MixShares(3, alpha).between(0, 4_000)
    assert shares.shape == (4_000, 1)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_the_purposes_keep_their_numbers() -> None:
    assert {p.name: int(p) for p in randomness.Purpose} == {
        "TEST_SPLIT": 1,
        "SPLIT": 2,
        "INIT": 3,
        "SHUFFLE": 4,
        "DROPOUT": 5,
        "DATA_NOISE": 6,
        "INPUT_NOISE": 7,
        "WEIGHT_NOISE": 8,
        "MIX_PARTNERS": 9,
        "MIX_SHARES": 10,
        "LABEL_NOISE": 11,
        "RESAMPLE": 12,
        "AUGMENT": 13,
        "CUT": 14,
        "ANALYSIS": 15,
    }
