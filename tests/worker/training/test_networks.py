"""Networks against the same layers in plain torch.nn and autograd."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.plan import PlanError, plan
from models.spec.regularizers import BatchNorm
from tests.worker.training.torch_networks import torch_network
from worker.training import networks
from worker.training.batch_norm import RunningAverages
from worker.training.binding import Pass

ROWS = 6
IMAGES: list[dict[str, Any]] = [
    {"kind": "cnn"},
    {"kind": "cnn", "channels": [3], "kernels": [4], "stride": 3, "padding": 2, "pool": 1, "activation": "tanh"},
    {"kind": "cnn", "channels": [5, 1, 4], "kernels": [3, 1, 2], "padding": 0, "pool": 1, "activation": "gelu"},
    {"kind": "cnn", "channels": [2, 3], "kernels": [5, 3], "stride": 1, "padding": 2, "pool": 3, "activation": "silu"},
    {"kind": "resnet", "width": 3},
    {"kind": "resnet", "depth": 14, "width": 1, "activation": "sigmoid"},
]
SERIES: list[dict[str, Any]] = [
    {"kind": "cnn1d"},
    {"kind": "cnn1d", "channels": [7, 2], "kernels": [9], "stride": 1, "padding": 3, "pool": 2, "activation": "tanh"},
    {"kind": "cnn1d", "channels": [3, 5, 1], "kernels": [2, 4, 1], "padding": 0, "pool": 1, "activation": "sigmoid"},
    {"kind": "gru"},
    {"kind": "gru", "hidden": 1, "bidirectional": False},
    {"kind": "gru", "hidden": 9, "bidirectional": True},
    {"kind": "resnet", "width": 2, "activation": "tanh"},
]
ROWS_ONLY: list[dict[str, Any]] = [
    {"kind": "linear"},
    {"kind": "mlp", "hidden": [9, 1, 4], "activation": "tanh"},
]
NETWORKS = [("digits", n) for n in IMAGES + ROWS_ONLY] + [("mnist1d", n) for n in SERIES + ROWS_ONLY]
NORMALIZED = [(d, n) for d, n in NETWORKS if n["kind"] in ("mlp", "cnn", "cnn1d")]


def spec_of(dataset: str, network: dict[str, Any], *regularizers: Any) -> JobSpec:
    return JobSpec.model_validate(
        {"dataset": dataset, "network": network, "optimizer": "sgd", "regularizers": regularizers}
    )


class Bound:
    """K runs of a spec's network with parameters of their own, bound to train and to evaluate."""

    def __init__(self, spec: JobSpec, runs: int) -> None:
        self.network = networks.build(spec)
        seeds = range(runs)
        rows = np.stack([self.network.initial(seed) for seed in seeds])
        self.theta = torch.from_numpy(rows) + 0.1 * torch.randn(rows.shape)
        self.gradient = torch.full_like(self.theta, torch.nan)
        self.averages = None
        if self.network.statistics:
            rules = [BatchNorm(momentum=0.3, epsilon=1e-3) for _ in seeds]
            self.averages = RunningAverages(rules, torch.from_numpy(self.network.initial_averages()))
        self.training = self.network.bind(self.theta, self.gradient, ROWS, self.averages)

    def named(self, run: int) -> dict[str, Any]:
        return self.network.named(*self.rows(run))

    def rows(self, run: int) -> list[Tensor]:
        return [self.theta[run]] if self.averages is None else [self.theta[run], self.averages.values[run]]

    def evaluating(self) -> Pass:
        return self.network.bind(self.theta, None, ROWS, self.averages)


def normalizing(rules: tuple[Any, ...], kind: str) -> tuple[Any, ...]:
    own = {"kind": "batch_norm", "momentum": 0.3, "epsilon": 1e-3}
    return (*rules, own) if kind in ("mlp", "cnn", "cnn1d") else rules


def assert_equals_torch(spec: JobSpec, runs: int) -> None:
    torch.manual_seed(0)
    bound = Bound(spec, runs)
    features = spec.dataset.shape.features
    inputs = torch.cat([torch.randn(runs, ROWS, features), torch.ones(runs, ROWS, 1)], 2)
    slope = torch.randn(runs, ROWS, spec.dataset.shape.outputs)
    masks = [torch.bernoulli(torch.full((runs, ROWS, width), 0.7)) / 0.7 for width in bound.network.dropped]
    plains = [torch_network(spec) for _ in range(runs)]
    for run, plain in enumerate(plains):
        if bound.averages is not None and spec.network.kind == "resnet":
            for norm in plain.norms.values():
                norm.momentum, norm.eps = 0.3, 1e-3  # type: ignore[assignment]
        plain.load(bound.named(run))
    for _ in range(2):  # the buffers are used again and again
        bound.training.drop(masks)
        outputs = bound.training.forward(inputs)
        bound.training.output_gradient.copy_(slope)
        bound.training.backward()
        if bound.averages is not None:
            bound.averages.move()
        for run, plain in enumerate(plains):
            plain.zero_grad()
            expected = plain(inputs[run, :, :-1], [mask[run] for mask in masks])
            expected.backward(slope[run])
            torch.testing.assert_close(outputs[run], expected.detach(), rtol=1e-4, atol=1e-5)
            gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
            ours = bound.network.named(
                bound.gradient[run], None if bound.averages is None else bound.averages.values[run]
            )
            for name, gradient in gradients.items():
                torch.testing.assert_close(torch.from_numpy(ours[name]), gradient, rtol=1e-3, atol=2e-5, msg=name)
            for name, values in plain.named().items():
                np.testing.assert_allclose(bound.named(run)[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
    evaluated = bound.evaluating().forward(inputs)
    for run, plain in enumerate(plains):
        plain.eval()
        torch.testing.assert_close(evaluated[run], plain(inputs[run, :, :-1]).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize(("dataset", "network"), NETWORKS, ids=str)
def test_outputs_and_gradients_equal_those_of_plain_torch(dataset: str, network: dict[str, Any], runs: int) -> None:
    with torch.inference_mode(mode=False):
        assert_equals_torch(spec_of(dataset, network), runs)


@pytest.mark.parametrize(("dataset", "network"), NORMALIZED, ids=str)
def test_batch_normalization_and_its_running_averages_equal_those_of_plain_torch(
    dataset: str, network: dict[str, Any]
) -> None:
    assert_equals_torch(spec_of(dataset, network, {"kind": "batch_norm", "momentum": 0.3, "epsilon": 1e-3}), 2)


@pytest.mark.parametrize(("dataset", "network"), [each for each in NETWORKS if each[1]["kind"] != "linear"], ids=str)
def test_dropout_acts_where_it_should(dataset: str, network: dict[str, Any]) -> None:
    assert_equals_torch(spec_of(dataset, network, "dropout"), 2)


@pytest.mark.parametrize("normalized", [False, True], ids=["plain", "normalized"])
@pytest.mark.parametrize("network", IMAGES, ids=str)
def test_a_network_that_trains_alone_is_the_same_network(
    monkeypatch: pytest.MonkeyPatch, network: dict[str, Any], normalized: bool
) -> None:
    monkeypatch.setattr(networks, "trains_alone", lambda _: True)
    rules = (
        [{"kind": "batch_norm", "momentum": 0.3, "epsilon": 1e-3}] if normalized and network["kind"] == "cnn" else []
    )
    for runs in (1, 2):
        assert_equals_torch(spec_of("digits", network, *rules), runs)


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        ("linear", 410),
        ({"kind": "mlp", "hidden": [100, 100]}, 15_210),
        ("cnn1d", 5_210),
        ("gru", 5_134),
    ],
)
def test_the_networks_of_mnist_1d_have_as_many_parameters_as_published(network: Any, parameters: int) -> None:
    assert plan(spec_of("mnist1d", network)).parameters == parameters


def test_a_residual_network_of_20_layers_has_as_many_parameters_as_for_cifar() -> None:
    # 269,722 with the three channels of CIFAR (He et al. 2016, table 6: 0.27 million); digits have one.
    spec = spec_of("digits", {"kind": "resnet", "depth": 20})
    assert plan(spec).parameters == 269_722 - 2 * 9 * 16


@pytest.mark.parametrize(("dataset", "network"), NETWORKS, ids=str)
def test_the_planned_parameters_are_those_that_are_drawn(dataset: str, network: dict[str, Any]) -> None:
    spec = spec_of(dataset, network)
    built, plain = networks.build(spec), torch_network(spec)
    assert plan(spec).parameters == built.parameters == sum(p.numel() for p in plain.parameters())
    row = built.initial(0)
    assert len(row) % 16 == 0
    assert len(row) - 16 < built.parameters <= len(row)
    assert not row[built.parameters :].any()


@pytest.mark.parametrize(
    ("dataset", "network"),
    [
        ("digits", {"kind": "mlp", "hidden": [300, 200]}),
        ("digits", {"kind": "cnn", "channels": [40, 60]}),
        ("mnist1d", {"kind": "cnn1d", "channels": [60, 50, 40]}),
        ("mnist1d", {"kind": "gru", "hidden": 40}),
        ("digits", "resnet"),
    ],
    ids=str,
)
def test_initial_parameters_are_those_of_torch_in_distribution(dataset: str, network: Any) -> None:
    spec = spec_of(dataset, network)
    built = networks.build(spec)
    drawn = built.named(*map(torch.from_numpy, (built.initial(7), built.initial_averages())))
    torch.manual_seed(1)
    compared = 0
    for name, values in torch_network(spec).named().items():
        assert drawn[name].shape == values.shape
        if values.size >= 100:
            bound = np.abs(values).max()
            assert np.abs(drawn[name]).max() == pytest.approx(bound, rel=0.05)
            assert drawn[name].std() == pytest.approx(values.std(), rel=0.15)
            assert abs(drawn[name].mean()) < 0.2 * bound
            compared += 1
        elif name.startswith("norms"):
            assert np.array_equal(drawn[name], values)
    assert compared >= 2


MISFITS: list[tuple[str, Any, list[Any], str, str]] = [
    ("iris", "cnn", [], "/network", "take mlp"),
    ("mnist1d", "cnn", [], "/network", "take cnn1d"),
    ("digits", "cnn1d", [], "/network", "take cnn or resnet"),
    ("digits", "gru", [], "/network", "take cnn or resnet"),
    ("wine", "gru", [], "/network", "take mlp"),
    ("wine", "resnet", [], "/network", "images or series"),
    ("digits", {"kind": "cnn", "channels": [4, 4, 4, 4]}, [], "/network", "block 4 gets a grid of 1 × 1"),
    ("mnist1d", {"kind": "cnn1d", "kernels": [31], "padding": 0}, [], "/network", "block 2 gets a grid of 5"),
    ("digits", "linear", ["l2", "batch_norm"], "/regularizers/1", "leave it out"),
    ("digits", "resnet", ["batch_norm"], "/regularizers/0", "leave it out"),
    ("digits", "linear", ["dropout"], "/regularizers/0", "no"),
]


@pytest.mark.parametrize(("dataset", "network", "regularizers", "pointer", "words"), MISFITS, ids=str)
def test_what_does_not_fit_is_refused_at_its_place_with_a_remedy(
    dataset: str, network: Any, regularizers: list[Any], pointer: str, words: str
) -> None:
    with pytest.raises(PlanError, match=words) as refused:
        plan(spec_of(dataset, network, *regularizers))
    assert refused.value.pointer == pointer


def test_a_batch_of_one_number_cannot_be_normalized() -> None:
    base = {"dataset": "digits", "optimizer": "sgd", "batch_size": 1, "regularizers": ["batch_norm"]}
    with pytest.raises(PlanError, match="at least 2 rows") as refused:
        plan(JobSpec.model_validate(base))
    assert refused.value.pointer == "/batch_size"
    assert plan(JobSpec.model_validate(base | {"network": "cnn"})).batch_rows == 1


def test_kernels_are_one_for_all_blocks_or_one_for_each() -> None:
    with pytest.raises(ValueError, match="2 kernels for 3 blocks"):
        spec_of("mnist1d", {"kind": "cnn1d", "kernels": [3, 5]})
