"""Networks as functions of their parameters, against the engine's own layers."""

from typing import Any

import numpy as np
import pytest
import torch

from models.spec.job import JobSpec
from models.spec.regularizers import BatchNorm
from tests.worker.training.analyses.trained import members, objective_of, spec_of, untrained
from tests.worker.training.test_networks import NETWORKS, NORMALIZED
from worker.training import losses, networks
from worker.training.batch_norm import RunningAverages
from worker.training.cohort_data import prepare

NORM = {"kind": "batch_norm", "momentum": 0.3, "epsilon": 1e-2}
CASES: list[tuple[str, Any, list[Any]]] = [(dataset, network, []) for dataset, network in NETWORKS]
CASES += [(dataset, network, [NORM]) for dataset, network in NORMALIZED]
ACTIVATIONS = ["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]
ROWS = 6


def assert_equals_the_engine(spec: JobSpec) -> None:
    runs = [untrained(spec, seed) for seed in range(3)]
    network = networks.build(spec)
    rows = [network.rows(run.tensors) for run in runs]
    theta = torch.cat([row for row, _ in rows])
    gradient = torch.zeros_like(theta)
    averages = None
    if network.statistics:
        rules = [r for r in spec.regularizers if isinstance(r, BatchNorm)] or [BatchNorm()]
        averages = RunningAverages(rules * 3, torch.zeros(network.statistics))
        averages.values = torch.cat([values for _, values in rows if values is not None])
    data = prepare([spec] * 3, members(range(3)), "cpu")
    inputs, targets = data.training.between(0, ROWS), data.training.targets[:, :ROWS]
    expected = network.bind(theta, None, ROWS, averages).forward(inputs).clone()
    objective = objective_of(spec, runs, ROWS)
    torch.testing.assert_close(objective.outputs().float(), expected, rtol=1e-4, atol=1e-5)
    loss = losses.build(spec)
    kept = torch.empty_like(expected)
    loss.keep(expected, targets, kept)
    values = loss.sums(kept, targets) / loss.terms(*kept.shape[1:])
    torch.testing.assert_close(objective.losses.float(), values, rtol=1e-4, atol=1e-5)
    ours, slopes = objective.gradients(objective.theta)
    torch.testing.assert_close(ours, objective.losses)
    if averages is None:
        training = network.bind(theta, gradient, ROWS)
        training.forward(inputs)
        loss.gradient(kept, targets, training.output_gradient)
        training.backward()
        torch.testing.assert_close(slopes.float(), gradient[:, : network.parameters], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize(("dataset", "network", "rules"), CASES, ids=str)
def test_outputs_losses_and_gradients_are_those_of_the_engine(dataset: str, network: Any, rules: list[Any]) -> None:
    with torch.inference_mode(mode=False):
        assert_equals_the_engine(spec_of(dataset=dataset, network=network, regularizers=rules))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_that_of_the_engine(activation: str) -> None:
    assert_equals_the_engine(spec_of(dataset="digits", network={"kind": "mlp", "activation": activation}))


@pytest.mark.parametrize("loss", ["mse", "huber"])
@pytest.mark.parametrize("dataset", ["diabetes", "sine"])
def test_the_losses_of_regressions_are_those_of_the_engine(dataset: str, loss: str) -> None:
    assert_equals_the_engine(spec_of(dataset=dataset, loss=loss))


def test_rows_undo_what_names_took_apart() -> None:
    network = networks.build(spec_of(dataset="mnist1d", network="cnn1d", regularizers=["batch_norm"]))
    row, averages = torch.randn(network.columns), torch.randn(network.statistics)
    row[network.parameters :] = 0
    again = network.rows(network.named(row, averages))
    np.testing.assert_array_equal(again[0][0], row)
    assert again[1] is not None
    np.testing.assert_array_equal(again[1][0], averages)


@pytest.mark.parametrize("network", ["mlp", "cnn1d", "gru"])
def test_chunks_of_rows_add_up_to_the_whole(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(dataset="mnist1d", network=network)
    objective = objective_of(spec, [untrained(spec, seed) for seed in range(2)], 50)
    vectors = torch.randn_like(objective.theta)

    def everything() -> list[torch.Tensor]:
        return [
            objective.outputs(),
            *objective.gradients(objective.theta),
            *objective.scores(objective.theta[:, None]),
            objective.products(objective.theta)(vectors),
        ]

    whole = everything()
    monkeypatch.setattr("worker.training.analyses.objective.CHUNK_NUMBERS", 1)
    for kept in (1 << 25, 1):
        monkeypatch.setattr("worker.training.analyses.objective.KEPT_NUMBERS", kept)
        for part, one in zip(everything(), whole, strict=True):
            torch.testing.assert_close(part, one)
