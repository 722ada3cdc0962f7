"""Residual blocks of K runs (He et al. 2016)."""

import torch
from torch import Tensor

from models.spec.layout import Residual
from models.spec.networks import Activation
from worker.training.layers import Hidden, Nonlinearity


class ResidualBlock:
    """activation(second(first(x)) + shortcut(x)); the shortcut subsamples x and has no parameters (option A)."""

    def __init__(
        self, shape: Residual, first: Hidden, second: Hidden, activation: Activation, runs: int, rows: int, like: Tensor
    ) -> None:
        self._first, self._second = first, second
        self._inputs = (runs, rows, *shape.first.grid, shape.first.channels)
        self._outputs = (runs, rows, *shape.first.convolved, shape.second.outputs)
        self._steps = tuple(slice(None, None, stride) for stride in shape.first.stride)
        self._sum = like.new_empty(runs, rows * shape.second.places, shape.second.outputs)
        self._values = torch.empty_like(self._sum)
        self._nonlinearity = Nonlinearity(activation, self._values)
        self._sum_gradient = torch.empty_like(self._sum)

    def forward(self, inputs: Tensor) -> Tensor:
        self._sum.copy_(self._second.forward(self._first.forward(inputs)))
        self._shared(self._sum).add_(self._kept(inputs))
        self._nonlinearity.forward(self._sum, self._values)
        return self._values

    def backward(self, gradient: Tensor) -> Tensor | None:
        self._nonlinearity.backward(gradient, self._sum, self._values, self._sum_gradient)
        inner = self._second.backward(self._sum_gradient)
        assert inner is not None
        outer = self._first.backward(inner)
        assert outer is not None
        self._kept(outer).add_(self._shared(self._sum_gradient))
        return outer

    def _kept(self, inputs: Tensor) -> Tensor:
        """The places of the inputs that the shortcut takes."""
        return inputs.view(self._inputs)[:, :, self._steps[0], self._steps[1]]

    def _shared(self, outputs: Tensor) -> Tensor:
        """The channels of the outputs that the shortcut reaches."""
        return outputs.view(self._outputs)[..., : self._inputs[4]]
