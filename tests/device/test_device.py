"""The engine on a device, DESCENT_CHECK_DEVICE or the CPU, against plain torch on the CPU: `make gpu-check`.

Another device adds in another order, so what is equal bit for bit on the CPU is compared to tolerances there.
"""

import os
from typing import Any

import numpy as np
import pytest

from models.spec.component import choices
from models.spec.job import JobSpec
from models.spec.optimizers import BaseRule
from tests.worker.training.conftest import Heard
from tests.worker.training.plain import Plain
from worker.training.loop import train
from worker.training.randomness import Member

DEVICE = os.environ.get("DESCENT_CHECK_DEVICE", "cpu")
# The CPU is compared with plain torch, and more closely, by the tests of the engine.
pytestmark = pytest.mark.slow if DEVICE == "cpu" else ()

LOSS: dict[str, Any] = {"rtol": 2e-3, "atol": 1e-5}
WEIGHTS: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-3}

NETWORKS: list[dict[str, Any]] = [
    {"dataset": "digits", "network": "linear"},
    {"dataset": "diabetes", "network": {"kind": "mlp", "hidden": [16, 8], "activation": "tanh"}},
    {"dataset": "digits", "network": {"kind": "cnn", "channels": [3, 4], "activation": "tanh"}},
    {"dataset": "mnist1d", "network": {"kind": "cnn1d", "channels": [4, 3], "kernels": [5, 3], "activation": "tanh"}},
    {"dataset": "mnist1d", "network": {"kind": "gru", "hidden": 3}},
    {"dataset": "digits", "network": {"kind": "resnet", "width": 2, "activation": "tanh"}},
]
REGULARIZERS: list[list[Any]] = [
    [],
    ["l2", {"kind": "l1", "weight": 1e-3}],
    [{"kind": "weight_noise", "standard_deviation": 0.02}, {"kind": "max_norm", "maximum": 0.9}],
    [{"kind": "input_noise", "standard_deviation": 0.1}, {"kind": "gradient_clipping", "maximum": 0.3}],
]
SHORT: dict[str, Any] = {"batch_size": 20, "budget": {"steps": 50}, "record": {"every_steps": 1, "evaluate_every": 10}}


def on_device(specs: list[dict[str, Any]], seeds: list[int], device: str = DEVICE) -> Heard:
    heard = Heard()
    members = [Member(seed) for seed in seeds]
    train([JobSpec.model_validate(spec) for spec in specs], members, heard, dict, device=device)
    return heard


@pytest.mark.parametrize("regularizers", REGULARIZERS, ids=str)
@pytest.mark.parametrize("base", NETWORKS, ids=lambda base: str(base["network"]))
def test_every_network_trains_there_as_in_plain_torch(base: dict[str, Any], regularizers: list[Any]) -> None:
    momentum = {"kind": "momentum", "learning_rate": 0.01}
    spec = base | SHORT | {"optimizer": momentum, "regularizers": regularizers}
    heard, plain = on_device([spec], [5]), Plain(JobSpec.model_validate(spec), 5)
    losses, validation = plain.losses(every=10)
    np.testing.assert_allclose(heard.values(0, "train_loss"), losses, **LOSS)
    np.testing.assert_allclose(heard.values(0, "validation_loss"), validation, **LOSS)
    for name, weights in plain.named().items():
        np.testing.assert_allclose(heard.weights(0)[name], weights, **WEIGHTS)


@pytest.mark.parametrize("kind", [rule.model_fields["kind"].default for rule in choices(BaseRule)])
def test_every_optimizer_steps_there_as_on_the_cpu(kind: str) -> None:
    spec = NETWORKS[1] | SHORT | {"optimizer": kind}
    there, here = on_device([spec], [5]), on_device([spec], [5], "cpu")
    np.testing.assert_allclose(there.values(0, "train_loss"), here.values(0, "train_loss"), **LOSS)


@pytest.mark.parametrize("base", NETWORKS, ids=lambda base: str(base["network"]))
def test_company_changes_no_more_than_round_off_there(base: dict[str, Any]) -> None:
    spec = base | SHORT | {"optimizer": {"kind": "adam", "learning_rate": 0.003}, "regularizers": ["l2"]}
    among, alone = on_device([spec] * 5, [0, 1, 2, 3, 4]), on_device([spec], [3])
    if DEVICE == "cpu":
        assert among.bits(3) == alone.bits(0)
    np.testing.assert_allclose(among.values(3, "train_loss"), alone.values(0, "train_loss"), **LOSS)


def test_the_same_cohort_gives_the_same_bits_there_twice() -> None:
    spec = NETWORKS[1] | SHORT | {"optimizer": "adam", "regularizers": ["dropout"]}
    first, second = (on_device([spec] * 3, [0, 1, 2]) for _ in range(2))
    assert [first.bits(row) for row in range(3)] == [second.bits(row) for row in range(3)]
