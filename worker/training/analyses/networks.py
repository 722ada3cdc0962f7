"""Networks as functions of their parameters, which autograd can differentiate twice.

The engine's layers derive one gradient by hand, in float32 and in buffers of their own. Here every layer is written as
anybody would write it for one run; torch stacks the runs and differentiates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.spec.job import JobSpec
from models.spec.layout import AveragePool, Convolution, Dense, Recurrence, Residual
from models.spec.networks import Activation
from models.spec.regularizers import BatchNorm
from worker.training.networks import Network
from worker.training.programs import ACTIVATIONS
from worker.training.regularizers import each


@dataclass(frozen=True)
class TrainedRun:
    """The weights that a run left behind."""

    tensors: Mapping[str, NDArray[Any]]
    """Under torch.nn's names, and the units in which it was trained."""
    header: str | None = None
    """What has to be known to feed raw rows to it: see `models.tables.DATASET`. Analyses fit the same anew."""


@dataclass(frozen=True)
class Weights:
    """What the outputs of K runs depend on, one row a run, in float64."""

    theta: Tensor
    """Parameters (K, P), without the zeros that fill up a row of the engine."""
    averages: Tensor
    """Running averages of batch normalization (K, S); S is 0 without one."""
    epsilon: Tensor
    """Batch normalization's ε, (K,)."""

    @classmethod
    def read(cls, network: Network, specs: Sequence[JobSpec], weights: Sequence[TrainedRun]) -> "Weights":
        """From the tensors of each run."""
        rows = [network.rows(run.tensors) for run in weights]
        # A network that normalizes unasked does so with the defaults.
        rules = each(specs, BatchNorm) or [BatchNorm()] * len(specs)
        none = torch.zeros(1, 0)
        return cls(
            torch.cat([theta[:, : network.parameters] for theta, _ in rows]).double(),
            torch.cat([none if averages is None else averages for _, averages in rows]).double(),
            torch.tensor([rule.epsilon for rule in rules], dtype=torch.float64),
        )

    def of(self, runs: slice) -> "Weights":
        """Those of some runs."""
        return Weights(self.theta[runs], self.averages[runs], self.epsilon[runs])


def outputs(network: Network, theta: Tensor, averages: Tensor, epsilon: Tensor, inputs: Tensor) -> Tensor:
    """What one run's network says in evaluation mode: θ (P,), averages (S,), ε (), inputs (R, F), to (R, O)."""
    read = _Reader(network, theta, averages, epsilon)
    values = inputs
    for number, layer in enumerate(network.layout[:-1]):
        match layer:
            case Dense():
                values = read.activated(read.normalized(read.affine(values.flatten(1)), layer))
            case Convolution():
                images = _as_grid(values, layer) if number == 0 else values
                values = _pooled(read.activated(read.convolved(images, layer)), layer)
            case Residual():
                inside = read.convolved(read.activated(read.convolved(values, layer.first)), layer.second)
                values = read.activated(inside + _shortcut(values, layer))
            case AveragePool():
                values = values.mean((1, 2))
            case Recurrence():
                values = _recurrence(read, values, layer)
            case _:
                assert_never(layer)
    return read.affine(values.flatten(1))


class _Reader:
    """Hands out one run's parameters from left to right; grids are (R, height, width, channels)."""

    def __init__(self, network: Network, theta: Tensor, averages: Tensor, epsilon: Tensor) -> None:
        self._views = (view[0] for _, view in network.blocks(theta[None]))
        self._averages, self._epsilon = averages, epsilon
        self._activation: Activation | None = network.activation
        self._start = 0

    def take(self) -> Tensor:
        """The next block, (rows, columns)."""
        return next(self._views)

    def affine(self, values: Tensor) -> Tensor:
        """(…, inputs) times the next block of (inputs [+ 1], outputs); the last row, if it is there, are biases."""
        block = self.take()
        inputs = values.shape[-1]
        # As one matrix: of several runs at once, torch would multiply its rows one by one.
        rows = values.flatten(0, -2)
        weight = block[:inputs]
        products = rows @ weight if len(block) == inputs else torch.addmm(block[inputs], rows, weight)
        return products.view(*values.shape[:-1], -1)

    def normalized(self, values: Tensor, layer: Dense | Convolution) -> Tensor:
        """γ (z − mean) / √(variance + ε) + β by running averages, channels last."""
        if not layer.normalized:
            return values
        stop = self._start + layer.statistics
        mean, variance = self._averages[self._start : stop].view(2, -1)
        self._start = stop
        gamma, beta = self.take()
        normal: Tensor = (values - mean) * (gamma / (variance + self._epsilon).sqrt()) + beta
        return normal

    def activated(self, values: Tensor) -> Tensor:
        assert self._activation is not None
        return ACTIVATIONS[self._activation](values)

    def convolved(self, images: Tensor, layer: Convolution) -> Tensor:
        """As a product of the patches under the kernel, which the weights' rows follow: height, width, channel."""
        (pad_h, pad_w), (kernel_h, kernel_w) = layer.padding, layer.kernel
        padded = functional.pad(images, (0, 0, pad_w, pad_w, pad_h, pad_h))
        windows = padded.unfold(1, kernel_h, layer.stride[0]).unfold(2, kernel_w, layer.stride[1])
        patches: Tensor = windows.permute(0, 1, 2, 4, 5, 3).flatten(3)
        return self.normalized(self.affine(patches), layer)


def _as_grid(inputs: Tensor, layer: Convolution) -> Tensor:
    return inputs.view(-1, layer.channels, *layer.grid).permute(0, 2, 3, 1)


def _pooled(images: Tensor, layer: Convolution) -> Tensor:
    """The largest value of each window; what does not fill a window is left out."""
    if layer.pool == (1, 1):
        return images
    (height, width), (window_h, window_w) = layer.pooled, layer.pool
    whole = images[:, : height * window_h, : width * window_w]
    windows = torch.unflatten(torch.unflatten(whole, 2, (width, window_w)), 1, (height, window_h))
    # Over one axis: the slope goes to one value, as in the engine, where over several it would be shared out.
    return windows.transpose(2, 3).flatten(3, 4).max(3).values


def _shortcut(images: Tensor, layer: Residual) -> Tensor:
    """Subsampled, and filled up with channels of zeros."""
    step_h, step_w = layer.first.stride
    return functional.pad(images[:, ::step_h, ::step_w], (0, layer.second.outputs - layer.first.channels))


def _recurrence(read: _Reader, inputs: Tensor, layer: Recurrence) -> Tensor:
    """Inputs (R, channels · length) to the states of all steps, (R, length · directions · hidden)."""
    series = torch.unflatten(inputs, 1, (layer.inputs, layer.length)).permute(2, 0, 1)
    directions = [_read_through(read, series, layer.hidden)]
    if layer.directions == 2:
        directions.append(_read_through(read, series.flip(0), layer.hidden).flip(0))
    return torch.stack(directions).permute(2, 1, 0, 3).flatten(1)


def _read_through(read: _Reader, series: Tensor, hidden: int) -> Tensor:
    """The states of gated units, as `GatedRecurrence` has them: (length, R, inputs) to (length, R, hidden)."""
    from_inputs = read.affine(series)
    of_state = read.take()
    state = series.new_zeros(series.shape[1], hidden)
    states = []
    for from_input in from_inputs:
        from_state = state @ of_state[:-1] + of_state[-1]
        gates = torch.sigmoid(from_input[:, : 2 * hidden] + from_state[:, : 2 * hidden])
        reset, keep = gates[:, :hidden], gates[:, hidden:]
        candidate = torch.tanh(from_input[:, 2 * hidden :] + reset * from_state[:, 2 * hidden :])
        state = candidate + keep * (state - candidate)
        states.append(state)
    return torch.stack(states)
