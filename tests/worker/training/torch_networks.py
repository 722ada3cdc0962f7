"""The networks of specs in plain torch.nn, under the names that the engine gives their parameters."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.spec.job import JobSpec
from models.spec.networks import CNN, CNN1D, GRU, MLP, Linear, ResNet
from models.spec.regularizers import BatchNorm

ACTIVATIONS: dict[str, Any] = {
    "relu": torch.relu,
    "leaky_relu": nn.functional.leaky_relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class TorchNetwork(nn.Module):
    """Layers, the normalization behind some of them, and one way through them: `forward(rows (B, F), masks)`."""

    def __init__(self, spec: JobSpec) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.norms = nn.ModuleDict()
        self.activation = ACTIVATIONS[getattr(spec.network, "activation", "relu")]
        self.grid = spec.dataset.shape.grid
        self.normalization = next((r for r in spec.regularizers if isinstance(r, BatchNorm)), None)

    def load(self, named: Mapping[str, NDArray[np.float32]]) -> None:
        missing, unknown = self.load_state_dict({n: torch.from_numpy(t) for n, t in named.items()}, strict=False)
        assert not set(unknown) - {"input_mean", "input_scale", "target_mean", "target_scale"}
        assert all(name.endswith("num_batches_tracked") for name in missing)

    def named(self) -> dict[str, NDArray[np.float32]]:
        state = self.state_dict()
        return {name: t.numpy() for name, t in state.items() if not name.endswith("num_batches_tracked")}

    def add(self, layer: nn.Module, norm: type[nn.Module] | None = None) -> None:
        self.layers.append(layer)
        if norm is not None:
            rule, number = self.normalization or BatchNorm(), len(self.layers) - 1
            channels = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
            self.norms[str(number)] = norm(channels, eps=rule.epsilon, momentum=rule.momentum)

    def through(self, number: int, x: Tensor) -> Tensor:
        x = self.layers[number](x)
        return self.norms[str(number)](x) if str(number) in self.norms else x

    def first(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """From the rows to what the last layer reads."""
        raise NotImplementedError

    def forward(self, x: Tensor, masks: Sequence[Tensor] = ()) -> Tensor:
        outputs: Tensor = self.layers[-1](self.first(x, masks))
        return outputs


class Perceptron(TorchNetwork):
    def __init__(self, spec: JobSpec, hidden: Sequence[int]) -> None:
        super().__init__(spec)
        shape, normalized = spec.dataset.shape, self.normalization is not None
        widths = [shape.features, *hidden]
        for i, o in zip(widths, hidden, strict=False):
            self.add(nn.Linear(i, o, bias=not normalized), nn.BatchNorm1d if normalized else None)
        self.add(nn.Linear(widths[-1], shape.outputs))

    def first(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        for number in range(len(self.layers) - 1):
            x = self.activation(self.through(number, x))
            x = x * masks[number] if masks else x
        return x


class Convolutional(TorchNetwork):
    def __init__(self, spec: JobSpec, rule: CNN | CNN1D) -> None:
        super().__init__(spec)
        shape, normalized = spec.dataset.shape, self.normalization is not None
        kind: Any = nn.Conv2d if isinstance(rule, CNN) else nn.Conv1d
        norm: Any = nn.BatchNorm2d if isinstance(rule, CNN) else nn.BatchNorm1d
        self.pool: Any = (nn.MaxPool2d if isinstance(rule, CNN) else nn.MaxPool1d)(rule.pool)
        channels = shape.grid[0]
        kernels = rule.kernels if len(rule.kernels) > 1 else rule.kernels * len(rule.channels)
        for outputs, kernel in zip(rule.channels, kernels, strict=True):
            layer = kind(channels, outputs, kernel, rule.stride, rule.padding, bias=not normalized)
            self.add(layer, norm if normalized else None)
            channels = outputs
        self.blocks = len(rule.channels)
        x = torch.zeros(2, *shape.grid)
        for number in range(self.blocks):
            x = self.pool(self.layers[number](x))
        self.add(nn.Linear(x[0].numel(), shape.outputs))

    def first(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        x = x.view(-1, *self.grid)
        for number in range(self.blocks):
            x = self.pool(self.activation(self.through(number, x)))
            if masks:  # drawn with channels innermost
                x = x * masks[number].view(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)
        return x.flatten(1)


class Recurrent(TorchNetwork):
    def __init__(self, spec: JobSpec, rule: GRU) -> None:
        super().__init__(spec)
        channels, length = self.grid
        self.gru = nn.GRU(channels, rule.hidden, batch_first=True, bidirectional=rule.bidirectional)
        self.add(nn.Linear(length * rule.hidden * (1 + rule.bidirectional), spec.dataset.shape.outputs))

    def first(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        states: Tensor = self.gru(x.view(-1, *self.grid).mT)[0].flatten(1)
        return states * masks[0] if masks else states


class Residual(TorchNetwork):
    def __init__(self, spec: JobSpec, rule: ResNet) -> None:
        super().__init__(spec)
        series = len(self.grid) == 2
        self.kind: Any = nn.Conv1d if series else nn.Conv2d
        self.norm: Any = nn.BatchNorm1d if series else nn.BatchNorm2d
        self.strides: list[int] = []
        channels = self.grid[0]
        self.convolve(channels, rule.width, 1)
        channels = rule.width
        for stage in range(3):
            for block in range((rule.depth - 2) // 6):
                outputs = rule.width * 2**stage
                stride = 2 if stage and not block else 1
                self.convolve(channels, outputs, stride)
                self.convolve(outputs, outputs, 1)
                channels = outputs
        self.add(nn.Linear(channels, spec.dataset.shape.outputs))

    def convolve(self, channels: int, outputs: int, stride: int) -> None:
        self.add(self.kind(channels, outputs, 3, stride, 1, bias=False), self.norm)
        self.strides.append(stride)

    def first(self, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        x = self.activation(self.through(0, x.view(-1, *self.grid)))
        for number in range(1, len(self.strides), 2):
            inner = self.activation(self.through(number, x))
            outer = self.through(number + 1, inner)
            step = self.strides[number]
            kept = x[..., ::step] if x.ndim == 3 else x[..., ::step, ::step]
            missing = torch.zeros(len(x), outer.shape[1] - x.shape[1], *kept.shape[2:])
            x = self.activation(outer + torch.cat([kept, missing], 1))
        means = x.flatten(2).mean(2)
        return means * masks[0] if masks else means


def torch_network(spec: JobSpec) -> TorchNetwork:
    """The network of a spec, with weights of torch's own."""
    match spec.network:
        case Linear():
            return Perceptron(spec, ())
        case MLP():
            return Perceptron(spec, spec.network.hidden)
        case CNN() | CNN1D():
            return Convolutional(spec, spec.network)
        case GRU():
            return Recurrent(spec, spec.network)
        case ResNet():
            return Residual(spec, spec.network)
        case _:
            assert_never(spec.network)
