"""Attaches the layers of a network to the matrices of a cohort, for a number of batch rows."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import assert_never

import torch
from torch import Tensor

from models.spec.layout import AveragePool, Convolution, Dense, LayerShape, Layout, Recurrence, Residual
from models.spec.networks import Activation
from worker.training.batch_norm import BatchNorm, RunningAverages
from worker.training.convolutions import Flatten, Grid, MaxPool, MeanPool, convolution
from worker.training.layers import AffineMap, Drop, Hidden, Layer, Output, Precision, multiplication, product
from worker.training.recurrent import GatedRecurrence
from worker.training.residual import ResidualBlock


class Pass:
    """A network bound to K runs and B rows: forward, and backward into the gradient matrix."""

    def __init__(self, layers: Sequence[Layer], output: Output) -> None:
        self._layers = [*layers, output]
        self._reversed = self._layers[::-1]
        self._drops = [layer for layer in layers if isinstance(layer, Drop)]
        self._output = output

    @property
    def output_gradient(self) -> Tensor:
        """Where the loss writes its gradient before `backward`, (K, B, O)."""
        return self._output.z_gradient

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (K, B, F + 1) to outputs (K, B, O), in a buffer that the next call overwrites."""
        for layer in self._layers:
            inputs = layer.forward(inputs)
        return inputs

    def backward(self) -> None:
        """Turn the output gradient into the gradient of every parameter."""
        gradient: Tensor | None = self.output_gradient
        for layer in self._reversed:
            if gradient is None:
                return  # what is left is only there to lay out the inputs
            gradient = layer.backward(gradient)

    def drop(self, masks: Sequence[Tensor]) -> None:
        """Set dropout's masks of the next batch, one (K, B, width) for each layer that has one."""
        for layer, mask in zip(self._drops, masks, strict=True):
            layer.set(mask)


class _Columns:
    """Takes a matrix (K, P) apart from left to right."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix, self._start = matrix, 0

    def take(self, *shape: int) -> Tensor:
        """The next columns, as a view (K, *shape)."""
        start = self._start
        self._start += torch.Size(shape).numel()
        return torch.unflatten(self._matrix[:, start : self._start], 1, shape)


class Binder:
    """Builds layer after layer, each on the next columns of every matrix."""

    def __init__(
        self,
        theta: Tensor,
        gradient: Tensor | None,
        rows: int,
        averages: RunningAverages | None,
        activation: Activation | None,
        *,
        alone: bool,
        precision: Precision,
    ) -> None:
        self._theta = _Columns(theta)
        self._gradient = None if gradient is None else _Columns(gradient)
        self._averages = averages
        if averages is not None:
            self._values, self._of_batch = _Columns(averages.values), _Columns(averages.of_batch)
        self._like, self._runs, self._rows = theta, len(theta), rows
        self._activation, self._alone, self._precision = activation, alone, precision
        self._first = True
        """Nothing before the next layer needs the gradient of its inputs."""

    def bind(self, layout: Layout) -> Pass:
        """The whole network; dropout acts in training alone."""
        *inner, last = layout
        assert isinstance(last, Dense)
        layers: list[Layer] = []
        for layer in inner:
            layers += self._layer(layer)
            if layer.dropped and self._gradient is not None:
                layers.append(self._drop(layer))
            self._first = False
        if inner and isinstance(inner[-1], Convolution):
            layers.append(Flatten(self._runs, self._rows, last.inputs, self._like))
        return Pass(layers, Output(self._dense(last)))

    def _layer(self, layer: LayerShape) -> Iterator[Layer]:
        match layer:
            case Dense():
                affine, like = self._dense(layer), self._empty(self._rows, layer.outputs)
                yield Hidden(affine, self._norm(layer), self._activation, like, joined=True)
            case Convolution():
                if self._first:
                    yield Grid(self._runs, self._rows, layer.channels, layer.grid, self._like)
                yield self._convolution(layer, self._activation)
                if layer.pool != (1, 1):
                    yield MaxPool(layer, self._runs, self._rows)
            case Residual():
                assert self._activation is not None
                first, second = self._convolution(layer.first, self._activation), self._convolution(layer.second, None)
                yield ResidualBlock(layer, first, second, self._activation, self._runs, self._rows, self._like)
            case AveragePool():
                yield MeanPool(self._runs, self._rows, prod(layer.grid), layer.channels, self._like)
            case Recurrence():
                yield self._recurrence(layer)
            case _:
                assert_never(layer)

    def _empty(self, rows: int, columns: int) -> Tensor:
        return self._like.new_empty(self._runs, rows, columns)

    def _take(self, *shape: int) -> tuple[Tensor, Tensor | None]:
        """The next parameters and the place of their gradient."""
        return self._theta.take(*shape), None if self._gradient is None else self._gradient.take(*shape)

    def _dense(self, layer: Dense) -> AffineMap:
        bias = not layer.normalized
        weight, gradient = self._take(layer.inputs + bias, layer.outputs)
        return product(weight, gradient, self._rows, bias=bias, first=self._first, precision=self._precision)

    def _convolution(self, layer: Convolution, activation: Activation | None) -> Hidden:
        weight, gradient = self._take(layer.inputs + (not layer.normalized), layer.outputs)
        affine = convolution(
            layer, weight, gradient, self._rows, alone=self._alone, first=self._first, precision=self._precision
        )
        like = self._empty(self._rows * layer.places, layer.outputs)
        return Hidden(affine, self._norm(layer), activation, like, joined=False)

    def _norm(self, layer: Dense | Convolution) -> BatchNorm | None:
        if not layer.normalized:
            return None
        assert self._averages is not None
        weight, gradient = self._take(2, layer.outputs)
        averages, of_batch = self._values.take(2, layer.outputs), self._of_batch.take(2, layer.outputs)
        rows = self._rows * layer.places
        return BatchNorm(weight, gradient, averages, of_batch, self._averages.epsilon, rows)

    def _recurrence(self, layer: Recurrence) -> GatedRecurrence:
        sizes = [(layer.inputs + 1) * 3 * layer.hidden, (layer.hidden + 1) * 3 * layer.hidden]

        def parts(matrix: Tensor) -> tuple[Tensor, Tensor]:
            w, u = matrix[..., : sizes[0]], matrix[..., sizes[0] :]
            return torch.unflatten(w, 2, (-1, 3 * layer.hidden)), torch.unflatten(u, 2, (-1, 3 * layer.hidden))

        weights, gradients = self._take(layer.directions, sum(sizes))
        slopes = None if gradients is None else parts(gradients)
        return GatedRecurrence(layer, parts(weights), slopes, self._rows, multiplication(self._precision))

    def _drop(self, layer: LayerShape) -> Drop:
        if isinstance(layer, Convolution):
            return Drop(self._empty(self._rows * prod(layer.pooled), layer.outputs), joined=False)
        return Drop(self._empty(self._rows, layer.features), joined=True)
