"""Stacked layers with hand-derived backward passes: K runs at once, straight into one gradient matrix.

Three facts about kernels shape this file; the tests on invariance hold them.

- The bias is the last row of a layer's weights, `(in + 1, out)`, and every activation carries a last column of ones:
  one product gives the affine map, one the gradients of weight and bias together.
- A matrix product with a vector takes another kernel for one run than for several. A single output therefore rides
  in a product of two, the second of which stays zero.
- Vectorized sigmoid, SiLU and GELU differ in the last bit from the scalar code that finishes a vector, and where a
  vector ends depends on K. They are composed here from functions without that fault.
"""

import os
from typing import Protocol, assert_never

import torch
from torch import Tensor

from models.spec.networks import Activation

# MKL chooses a kernel by the alignment of its operands, which depends on a run's place in its cohort, unless asked
# for reproducible results. It reads this once, at the process's first product; it costs no speed measured here.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

_aten = torch.ops.aten


class Layer(Protocol):
    """A differentiable stage, bound to K runs and a number of batch rows B."""

    mask: Tensor | None
    """Dropout's mask of the present batch, (K, B, out)."""

    @property
    def z_gradient(self) -> Tensor:
        """Where the gradient of the affine map's outputs is kept, (K, B, out); a last layer's loss writes it."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (K, B, in + 1) to the next layer's (K, B, out + 1), or to (K, B, out) at the end."""

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Take the gradient of the outputs, write that of the parameters, return that of the inputs (K, B, in)."""


class Nonlinearity:
    """An elementwise activation and its derivative, writing into buffers that the caller owns."""

    def __init__(self, name: Activation, buffer: Tensor) -> None:
        self._name = name
        self._memory = torch.empty_like(buffer) if name in ("gelu", "silu") else buffer
        """What the derivative needs besides input and output: σ(z) for SiLU, Φ(z) for GELU."""

    def forward(self, z: Tensor, values: Tensor) -> None:
        """Write the activations of `z` into `values`."""
        match self._name:
            case "relu":
                torch.clamp_min(z, 0, out=values)
            case "leaky_relu":
                _aten.leaky_relu.out(z, 0.01, out=values)
            case "tanh":
                torch.tanh(z, out=values)
            case "sigmoid":
                _sigmoid(z, values)
            case "silu":
                _sigmoid(z, self._memory)
                torch.mul(z, self._memory, out=values)
            case "gelu":
                torch.mul(z, 0.5**0.5, out=self._memory)
                self._memory.erf_().add_(1).mul_(0.5)
                torch.mul(z, self._memory, out=values)
            case _:
                assert_never(self._name)

    def backward(self, gradient: Tensor, z: Tensor, values: Tensor, out: Tensor) -> None:
        """Write `gradient` times the derivative at `z` into `out`."""
        match self._name:
            case "relu":
                _aten.threshold_backward.grad_input(gradient, z, 0, grad_input=out)
            case "leaky_relu":
                _aten.leaky_relu_backward.grad_input(gradient, z, 0.01, False, grad_input=out)
            case "tanh":
                _aten.tanh_backward.grad_input(gradient, values, grad_input=out)
            case "sigmoid":
                _aten.sigmoid_backward.grad_input(gradient, values, grad_input=out)
            case "silu":  # σ + z σ (1 − σ)
                torch.addcmul(values, values, self._memory, value=-1, out=out)
                out.add_(self._memory).mul_(gradient)
            case "gelu":  # Φ + z φ
                torch.mul(z, z, out=out)
                out.mul_(-0.5).exp_().mul_((2 * torch.pi) ** -0.5).mul_(z).add_(self._memory).mul_(gradient)
            case _:
                assert_never(self._name)


def _sigmoid(z: Tensor, out: Tensor) -> None:
    torch.neg(z, out=out)
    out.exp_().add_(1).reciprocal_()


class Product:
    """An affine map's matrix products for K runs of `rows` batch rows, in buffers of their own.

    `weight` and `gradient` are views (K, in + 1, out) into the cohort's matrices.
    """

    def __init__(self, weight: Tensor, gradient: Tensor | None, rows: int, *, first: bool) -> None:
        runs, joined, width = weight.shape
        self._weight = weight
        self.z = weight.new_empty(runs, rows, width)
        if gradient is None:
            return
        self._gradient = gradient
        self.z_gradient = weight.new_empty(runs, rows, width)
        # Products into memory that is not contiguous, as the rows of several runs are not in the cohort's matrix,
        # go run by run, each spread over threads: slow, and rounded differently.
        self._staged = None if gradient.is_contiguous() else gradient.new_empty(runs, joined, width)
        inputs = max(2, joined - 1)
        self._transposed = weight[:, :inputs].mT
        self._input_gradient = None if first else weight.new_empty(runs, rows, inputs)

    def forward(self, inputs: Tensor) -> None:
        self._inputs = inputs
        torch.bmm(inputs, self._weight, out=self.z)

    def backward(self) -> Tensor | None:
        if self._staged is None:
            torch.bmm(self._inputs.mT, self.z_gradient, out=self._gradient)
        else:
            torch.bmm(self._inputs.mT, self.z_gradient, out=self._staged)
            self._gradient.copy_(self._staged)
        if self._input_gradient is None:
            return None
        torch.bmm(self.z_gradient, self._transposed, out=self._input_gradient)
        return self._input_gradient[..., : self._weight.shape[1] - 1]


class SingleOutputProduct:
    """The same for one output: transposed, so that the long side is the fast one, with a second row of zeros."""

    def __init__(self, weight: Tensor, gradient: Tensor | None, rows: int, *, first: bool) -> None:
        runs, joined, _ = weight.shape
        self._weight = weight.mT
        self._two = weight.new_zeros(runs, 2, joined)
        self._one = self._two[:, :1]
        self._product = weight.new_empty(runs, 2, rows)
        self.z = self._product[:, :1].mT
        if gradient is None:
            return
        self._gradient = gradient.mT
        self._product_gradient = weight.new_zeros(runs, 2, rows)
        self.z_gradient = self._product_gradient[:, :1].mT
        self._staged = weight.new_empty(runs, 2, joined)
        inputs = max(2, joined - 1)
        self._factor = self._two[..., :inputs]
        self._input_gradient = None if first else weight.new_empty(runs, rows, inputs)

    def forward(self, inputs: Tensor) -> None:
        self._inputs = inputs
        self._one.copy_(self._weight)
        torch.bmm(self._two, inputs.mT, out=self._product)

    def backward(self) -> Tensor | None:
        torch.bmm(self._product_gradient, self._inputs, out=self._staged)
        self._gradient.copy_(self._staged[:, :1])
        if self._input_gradient is None:
            return None
        torch.bmm(self._product_gradient.mT, self._factor, out=self._input_gradient)
        return self._input_gradient[..., : self._weight.shape[2] - 1]


class Dense:
    """An affine map, then an activation and dropout where there are any: inputs (K, B, in + 1).

    Without a `gradient` the layer only evaluates: no backward pass, no dropout.
    """

    def __init__(
        self,
        weight: Tensor,
        gradient: Tensor | None,
        rows: int,
        activation: Activation | None,
        *,
        dropout: bool = False,
        first: bool = False,
    ) -> None:
        runs, _, width = weight.shape
        kind = SingleOutputProduct if width == 1 else Product
        self._product = kind(weight, gradient, rows, first=first)
        self._nonlinearity: Nonlinearity | None = None
        self.mask: Tensor | None = None
        if activation is not None:
            self._joined = weight.new_ones(runs, rows, width + 1)
            self._outputs = self._joined[..., :width]
            self._values = weight.new_empty(runs, rows, width) if dropout else self._outputs
            self._nonlinearity = Nonlinearity(activation, self._values)

    @property
    def z_gradient(self) -> Tensor:
        return self._product.z_gradient

    def forward(self, inputs: Tensor) -> Tensor:
        self._product.forward(inputs)
        if self._nonlinearity is None:
            return self._product.z
        self._nonlinearity.forward(self._product.z, self._values)
        if self.mask is not None:
            torch.mul(self._values, self.mask, out=self._outputs)
        return self._joined

    def backward(self, gradient: Tensor) -> Tensor | None:
        if self._nonlinearity is not None:
            if self.mask is not None:
                gradient.mul_(self.mask)
            self._nonlinearity.backward(gradient, self._product.z, self._values, self._product.z_gradient)
        return self._product.backward()
