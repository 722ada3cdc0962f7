"""The hand-derived backward passes against torch.autograd."""

from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from models.spec.job import JobSpec
from models.spec.layout import Dense
from models.spec.networks import Activation
from tests.worker.training.torch_networks import ACTIVATIONS
from worker.training import losses
from worker.training.networks import Network

SHAPES = [(3, 5, 4), (1, 64, 64, 1), (7, 33, 1), (4, 1, 6, 1, 2), (64, 10), (1, 1)]


def perceptron(widths: tuple[int, ...], activation: Activation | None, *, dropped: bool = False) -> Network:
    last = len(widths) - 2
    layers = (Dense(i, o, dropped=dropped and index < last) for index, (i, o) in enumerate(pairwise(widths)))
    return Network(tuple(layers), activation)


def reference(network: Network, theta: Tensor, inputs: Tensor, masks: list[Tensor]) -> Tensor:
    """The same map in plain torch, differentiable in theta (K, P)."""
    h = inputs[..., :-1]
    last = len(network.layout) - 1
    for index, (_, block) in enumerate(network.blocks(theta)):
        h = h @ block[:, :-1] + block[:, -1:]
        if index < last:
            assert network.activation is not None
            h = ACTIVATIONS[network.activation](h)
            if masks:
                h = h * masks[index]
    return h


def spec_for(loss: str) -> JobSpec:
    dataset = "digits" if loss == "cross_entropy" else "sine"
    return JobSpec.model_validate({"dataset": dataset, "optimizer": "sgd", "loss": loss})


def targets_for(loss: str, outputs: Tensor) -> Tensor:
    if loss != "cross_entropy":
        return torch.randn_like(outputs)
    classes = torch.randint(outputs.shape[2], outputs.shape[:2])
    return nn.functional.one_hot(classes, outputs.shape[2]).float()


def plain_loss(loss: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if loss == "cross_entropy":
        return nn.functional.cross_entropy(outputs, targets.argmax(1))
    if loss == "huber":
        return nn.functional.huber_loss(outputs, targets)
    return nn.functional.mse_loss(outputs, targets)


@pytest.mark.parametrize("loss", ["mse", "huber", "cross_entropy"])
@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("dropout", [False, True], ids=["whole", "dropout"])
def test_forward_loss_and_gradient_equal_autograd(
    activation: Activation, widths: tuple[int, ...], runs: int, loss: str, dropout: bool
) -> None:
    torch.manual_seed(0)
    network = perceptron(widths, activation, dropped=dropout)
    theta = torch.randn(runs, network.parameters) * 0.5
    inputs = torch.cat([torch.randn(runs, 9, widths[0]), torch.ones(runs, 9, 1)], 2)
    masks = [torch.bernoulli(torch.full((runs, 9, w), 0.7)) / 0.7 for w in network.dropped]
    free = theta.clone().requires_grad_()
    expected = reference(network, free, inputs, masks)
    targets = targets_for(loss, expected.detach())
    means = torch.stack([plain_loss(loss, o, t) for o, t in zip(expected, targets, strict=True)])
    (slope,) = torch.autograd.grad(means.sum(), free)

    gradient = torch.full_like(theta, torch.nan)
    ours = losses.build(spec_for(loss))
    stack = network.bind(theta, gradient, 9)
    stack.drop(masks)
    for _ in range(2):  # the buffers are used again and again
        outputs = stack.forward(inputs)
        kept = torch.empty_like(outputs)
        ours.keep(outputs, targets, kept)
        ours.gradient(kept, targets, stack.output_gradient)
        stack.backward()
    torch.testing.assert_close(outputs, expected.detach())
    torch.testing.assert_close(ours.sums(kept, targets) / ours.terms(9, widths[-1]), means.detach())
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-6)


def test_a_network_has_as_many_parameters_as_its_spec_says_and_names_them_as_torch_does() -> None:
    network = perceptron((3, 5, 2), "relu")
    row = torch.from_numpy(network.initial(3))
    assert network.parameters == 3 * 5 + 5 + 5 * 2 + 2
    assert len(row) == network.columns == 32
    named = network.named(row)
    assert {name: tensor.shape for name, tensor in named.items()} == {
        "layers.0.weight": (5, 3),
        "layers.0.bias": (5,),
        "layers.1.weight": (2, 5),
        "layers.1.bias": (2,),
    }
    inputs = torch.tensor([[[1.0, 2.0, 3.0, 1.0]]])
    hidden = torch.relu(
        torch.from_numpy(named["layers.0.weight"]) @ inputs[0, 0, :3] + torch.from_numpy(named["layers.0.bias"])
    )
    outputs = torch.from_numpy(named["layers.1.weight"]) @ hidden + torch.from_numpy(named["layers.1.bias"])
    torch.testing.assert_close(network.bind(row[None], None, 1).forward(inputs)[0, 0], outputs)


@pytest.mark.parametrize("numbers", [7, 1_000, 100_003])
def test_a_row_is_summed_alone_as_in_company_whatever_the_threads(numbers: int) -> None:
    rows = torch.randn(5, numbers)
    before = torch.get_num_threads()
    sums = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            sums += [losses.row_sums(rows), torch.cat([losses.row_sums(row[None]) for row in rows])]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(s, sums[0]) for s in sums)


def test_a_certain_prediction_costs_no_nan() -> None:
    outputs = torch.tensor([[[200.0, -200.0, 0.0]]])
    targets = torch.tensor([[[1.0, 0.0, 0.0]]])
    loss = losses.CrossEntropy()
    kept = torch.empty_like(outputs)
    loss.keep(outputs, targets, kept)
    assert loss.sums(kept, targets).tolist() == [0.0]
    assert loss.sums(torch.tensor([[[0.0, -torch.inf, -torch.inf]]]), targets).tolist() == [0.0]
