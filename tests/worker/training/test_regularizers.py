"""Each regularizer against the same training written out in plain torch.nn, over 200 steps."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.spec.job import JobSpec
from models.spec.plan import plan
from models.spec.regularizers import L1, L2, Dropout, ElasticNet
from worker.training import datasets, networks
from worker.training.boundary import Result
from worker.training.randomness import DataOrder, DropoutMasks

STEPS = 200
SEED = 11
BASE: dict[str, Any] = {
    "dataset": {"kind": "sine", "samples": 200},
    "network": {"kind": "mlp", "hidden": [16, 8], "activation": "tanh"},
    "optimizer": {"kind": "momentum", "learning_rate": 0.02},
    "batch_size": 16,
    "budget": {"steps": STEPS},
    "record": {"every_steps": 1, "evaluate_every": 10},
}


class Plain:
    """One run by hand, from the same initial weights, batches and masks."""

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec
        self.plan = plan(spec)
        data = datasets.prepare([spec], [SEED], "cpu")
        self.training = (data.training.inputs[0, :, :-1], data.training.targets[0])
        self.validation = (data.validation.inputs[0, :, :-1], data.validation.targets[0])
        network = networks.build(spec)
        named = network.named(torch.from_numpy(network.initial(SEED)))
        self.layers = [nn.Linear(i, o) for i, o in ((1, 16), (16, 8), (8, 1))]
        for index, layer in enumerate(self.layers):
            layer.load_state_dict({p: torch.from_numpy(named[f"layers.{index}.{p}"]) for p in ("weight", "bias")})
        self.order = DataOrder(SEED, self.plan.training_rows)

    def forward(self, x: Tensor, masks: list[Tensor]) -> Tensor:
        for index, layer in enumerate(self.layers[:-1]):
            x = torch.tanh(layer(x))
            if masks:
                x = x * masks[index]
        outputs: Tensor = self.layers[-1](x)
        return outputs

    def masks(self, step: int) -> list[Tensor]:
        for regularizer in self.spec.regularizers:
            if isinstance(regularizer, Dropout):
                numbers = DropoutMasks(SEED, regularizer.probability, 16 * 24).between(step, step + 1)[0]
                flat = torch.from_numpy(numbers)
                return [flat[: 16 * 16].view(16, 16), flat[16 * 16 :].view(16, 8)]
        return []

    def penalty(self) -> Tensor:
        total = torch.zeros(())
        for regularizer in self.spec.regularizers:
            for layer in self.layers:
                absolute, square = layer.weight.abs().sum(), layer.weight.square().sum() / 2
                match regularizer:
                    case L1():
                        total = total + regularizer.weight * absolute
                    case L2():
                        total = total + regularizer.weight * square
                    case ElasticNet():
                        r = regularizer.l1_ratio
                        total = total + regularizer.weight * (r * absolute + (1 - r) * square)
        return total

    def losses(self) -> tuple[list[float], list[float]]:
        """Train: the loss of every step, the validation loss of every tenth and of none."""
        parameters = [p for layer in self.layers for p in layer.parameters()]
        optimizer = torch.optim.SGD(parameters, 0.02, momentum=0.9)
        losses, validation = [], [self.validation_loss()]
        for step in range(STEPS):
            epoch, offset = divmod(step, self.plan.steps_per_epoch)
            rows = torch.from_numpy(self.order.epoch(epoch)[offset * 16 : offset * 16 + 16])
            outputs = self.forward(self.training[0][rows], self.masks(step))
            loss = nn.functional.mse_loss(outputs, self.training[1][rows]) + self.penalty()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
            if (step + 1) % 10 == 0:
                validation.append(self.validation_loss())
        return losses, validation

    @torch.no_grad()
    def validation_loss(self) -> float:
        return nn.functional.mse_loss(self.forward(self.validation[0], []), self.validation[1]).item()


@pytest.mark.parametrize(
    "regularizers",
    [
        [],
        [{"kind": "l1", "weight": 3e-3}],
        [{"kind": "l2", "weight": 1e-2}],
        [{"kind": "elastic_net", "weight": 1e-2, "l1_ratio": 0.3}],
        [{"kind": "dropout", "probability": 0.2}],
        [{"kind": "l1", "weight": 1e-3}, {"kind": "l2", "weight": 1e-3}, "elastic_net", "dropout"],
    ],
    ids=str,
)
def test_training_equals_plain_torch(train_runs: Any, regularizers: list[Any]) -> None:
    spec = BASE | {"regularizers": regularizers}
    heard = train_runs(spec, [SEED])
    plain = Plain(JobSpec.model_validate(spec))
    losses, validation = plain.losses()
    np.testing.assert_allclose(heard.values(0, "train_loss"), losses, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(heard.values(0, "validation_loss"), validation, rtol=2e-3, atol=1e-5)
    for index, layer in enumerate(plain.layers):
        weights = heard.weights(0)[f"layers.{index}.weight"]
        np.testing.assert_allclose(weights, layer.weight.detach(), rtol=5e-3, atol=5e-4)


def stopping(**options: Any) -> dict[str, Any]:
    return BASE | {"regularizers": [{"kind": "early_stopping"} | options]}


def first_stop(validation: list[float], patience: int, min_delta: float) -> tuple[int | None, int]:
    """The evaluation at which Keras would stop, and the best one until then."""
    best, best_at, waited = math.inf, 0, 0
    for index, loss in enumerate(validation):
        if loss < best - min_delta:
            best, best_at, waited = loss, index, 0
        else:
            waited += 1
            if waited >= patience:
                return index, best_at
    return None, best_at


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("min_delta", [0.0, 0.02])
@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_stops_where_it_should_and_keeps_what_it_should(
    train_runs: Any, patience: int, min_delta: float, restore_best: bool
) -> None:
    free = train_runs(BASE, [SEED])
    validation = free.values(0, "validation_loss").astype(float).tolist()
    stop, best = first_stop(validation, patience, min_delta)
    heard = train_runs(stopping(patience=patience, min_delta=min_delta, restore_best=restore_best), [SEED])
    at_end = stop is None or stop == STEPS // 10
    assert heard.endings[0].result is (Result.COMPLETED if at_end else Result.STOPPED_EARLY)
    last = STEPS // 10 if stop is None else stop
    assert heard.endings[0].step == 10 * last
    assert heard.steps(0, "train_loss") == list(range(1, 10 * last + 1))
    kept = 10 * (best if restore_best else last)
    if kept:
        expected = train_runs(BASE | {"budget": {"steps": kept}}, [SEED]).weights(0)
    else:
        network = networks.build(JobSpec.model_validate(BASE))
        expected = network.named(torch.from_numpy(network.initial(SEED)))
    assert all(np.array_equal(tensor, expected[name]) for name, tensor in heard.weights(0).items())


def test_a_penalty_spares_the_biases(train_runs: Any) -> None:
    data = {"dataset": "digits", "network": "linear", "optimizer": "gradient_descent", "budget": {"steps": 1}}
    free = train_runs(data, [0]).weights(0)
    heavy = train_runs(data | {"regularizers": [{"kind": "l2", "weight": 5.0}]}, [0]).weights(0)
    assert np.array_equal(free["layers.0.bias"], heavy["layers.0.bias"])
    assert not np.array_equal(free["layers.0.weight"], heavy["layers.0.weight"])
