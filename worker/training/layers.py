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
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, assert_never

import torch
from torch import Tensor

from models.spec.networks import Activation
from worker.training.batch_norm import BatchNorm

# MKL chooses a kernel by the alignment of its operands, which depends on a run's place in its cohort, unless asked
# for reproducible results. It reads this once, at the process's first product. Only on Intel's own processors does it
# know such a path for AVX-512, which is a tenth to a quarter faster.
_CPU = Path("/proc/cpuinfo")
_INTEL = _CPU.exists() and "GenuineIntel" in _CPU.read_text(encoding="utf-8")
_WIDE = _INTEL and torch.backends.cpu.get_cpu_capability() == "AVX512"
os.environ.setdefault("MKL_CBWR", "AVX512,STRICT" if _WIDE else "AVX2,STRICT")

_aten = torch.ops.aten


class Layer(Protocol):
    """A differentiable stage, bound to K runs and a number of batch rows B.

    What goes between layers is (K, B, features + 1), the last column ones, where an affine map follows, and
    (K, B · places, channels) between those that work on a grid.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs, in a buffer that the next call overwrites."""

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Take the gradient of the outputs, write that of the parameters, return that of the inputs, without ones.

        None where nobody needs it. The gradient that comes in may be overwritten.
        """


class AffineMap(Protocol):
    """An affine map of what comes in, with its matrix products."""

    z_gradient: Tensor
    """Where the gradient of its outputs is written before `backward`, (K, N, out)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs z (K, N, out)."""

    def backward(self) -> Tensor | None:
        """Write the gradient of weights and biases; that of the inputs, unless nobody needs it."""


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
                logistic(z, values)
            case "silu":
                logistic(z, self._memory)
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


def logistic(z: Tensor, out: Tensor) -> None:
    """Write 1 / (1 + e⁻ᶻ); `out` may be `z`."""
    torch.neg(z, out=out)
    out.exp_().add_(1).reciprocal_()


Precision = Literal["float32", "bfloat16"]
Multiply = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A batched matrix product, into its third argument."""


def multiplication(precision: Precision) -> Multiply:
    """The matrix product of a precision."""
    return _in_bfloat16 if precision == "bfloat16" else _in_float32


def _in_float32(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    return torch.bmm(left, right, out=out)


def _in_bfloat16(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    # Both factors are rounded and so is the product, as torch.autocast does; what it adds up is float32.
    return out.copy_(torch.bmm(left.bfloat16(), right.bfloat16()))


class Product:
    """An affine map's matrix products for K runs of `rows` batch rows, in buffers of their own.

    `weight` and `gradient` are views (K, in + 1, out) into the cohort's matrices.
    """

    def __init__(self, weight: Tensor, gradient: Tensor | None, rows: int, *, first: bool, multiply: Multiply) -> None:
        runs, joined, width = weight.shape
        self._weight, self._multiply = weight, multiply
        self._z = weight.new_empty(runs, rows, width)
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

    def forward(self, inputs: Tensor) -> Tensor:
        self._inputs = inputs
        self._multiply(inputs, self._weight, self._z)
        return self._z

    def backward(self) -> Tensor | None:
        if self._staged is None:
            self._multiply(self._inputs.mT, self.z_gradient, self._gradient)
        else:
            self._multiply(self._inputs.mT, self.z_gradient, self._staged)
            self._gradient.copy_(self._staged)
        if self._input_gradient is None:
            return None
        self._multiply(self.z_gradient, self._transposed, self._input_gradient)
        return self._input_gradient[..., : self._weight.shape[1] - 1]


class SingleOutputProduct:
    """The same for one output: transposed, so that the long side is the fast one, with a second row of zeros."""

    def __init__(self, weight: Tensor, gradient: Tensor | None, rows: int, *, first: bool, multiply: Multiply) -> None:
        runs, joined, _ = weight.shape
        self._weight, self._multiply = weight.mT, multiply
        self._two = weight.new_zeros(runs, 2, joined)
        self._one = self._two[:, :1]
        self._product = weight.new_empty(runs, 2, rows)
        self._z = self._product[:, :1].mT
        if gradient is None:
            return
        self._gradient = gradient.mT
        self._product_gradient = weight.new_zeros(runs, 2, rows)
        self.z_gradient = self._product_gradient[:, :1].mT
        self._staged = weight.new_empty(runs, 2, joined)
        inputs = max(2, joined - 1)
        self._factor = self._two[..., :inputs]
        self._input_gradient = None if first else weight.new_empty(runs, rows, inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        self._inputs = inputs
        self._one.copy_(self._weight)
        self._multiply(self._two, inputs.mT, self._product)
        return self._z

    def backward(self) -> Tensor | None:
        self._multiply(self._product_gradient, self._inputs, self._staged)
        self._gradient.copy_(self._staged[:, :1])
        if self._input_gradient is None:
            return None
        self._multiply(self._product_gradient.mT, self._factor, self._input_gradient)
        return self._input_gradient[..., : self._weight.shape[2] - 1]


class Unbiased:
    """An affine map without a bias: with one that stays zero, so that the products are those of any other map."""

    z_gradient: Tensor

    def __init__(
        self, weight: Tensor, gradient: Tensor | None, rows: int, *, first: bool, precision: Precision
    ) -> None:
        runs, inputs, width = weight.shape
        self._weight, self._gradient = weight, gradient
        self._padded = weight.new_zeros(runs, inputs + 1, width)
        self._padded_gradient = None if gradient is None else torch.empty_like(self._padded)
        self._map = product(self._padded, self._padded_gradient, rows, first=first, precision=precision)
        if gradient is not None:
            self.z_gradient = self._map.z_gradient

    def forward(self, inputs: Tensor) -> Tensor:
        self._padded[:, :-1] = self._weight
        return self._map.forward(inputs)

    def backward(self) -> Tensor | None:
        assert self._gradient is not None
        assert self._padded_gradient is not None
        gradient = self._map.backward()
        self._gradient.copy_(self._padded_gradient[:, :-1])
        return gradient


def product(
    weight: Tensor,
    gradient: Tensor | None,
    rows: int,
    *,
    bias: bool = True,
    first: bool,
    precision: Precision,
) -> Product | SingleOutputProduct | Unbiased:
    """The affine map of inputs (K, rows, in + 1) with `weight` (K, in + 1, out), or (K, in, out) without a bias.

    Without a `gradient` it only evaluates; the `first` layer of a network has no use for the gradient of its inputs.
    """
    if not bias:
        return Unbiased(weight, gradient, rows, first=first, precision=precision)
    kind = SingleOutputProduct if weight.shape[2] == 1 else Product
    return kind(weight, gradient, rows, first=first, multiply=multiplication(precision))


class Output:
    """The last layer: an affine map, whose gradient the loss writes itself."""

    def __init__(self, affine: AffineMap) -> None:
        self._affine = affine
        self.forward = affine.forward

    @property
    def z_gradient(self) -> Tensor:
        return self._affine.z_gradient

    def backward(self, gradient: Tensor) -> Tensor | None:
        assert gradient is self._affine.z_gradient
        return self._affine.backward()


class Hidden:
    """An affine map, batch normalization where there is one, and an activation where there is one.

    `joined` puts the column of ones behind the outputs (K, N, out) that a next affine map needs.
    """

    def __init__(
        self,
        affine: AffineMap,
        norm: BatchNorm | None,
        activation: Activation | None,
        like: Tensor,
        *,
        joined: bool,
    ) -> None:
        """`like` has the shape of the outputs, without ones."""
        self._affine, self._norm = affine, norm
        self._nonlinearity: Nonlinearity | None = None
        if activation is not None:
            self._outputs = like.new_ones(*like.shape[:-1], like.shape[-1] + 1) if joined else torch.empty_like(like)
            self._values = self._outputs[..., : like.shape[-1]]
            self._nonlinearity = Nonlinearity(activation, self._values)

    def forward(self, inputs: Tensor) -> Tensor:
        z = self._affine.forward(inputs)
        self._y = z if self._norm is None else self._norm.forward(z)
        if self._nonlinearity is None:
            return self._y
        self._nonlinearity.forward(self._y, self._values)
        return self._outputs

    def backward(self, gradient: Tensor) -> Tensor | None:
        if self._norm is None:
            assert self._nonlinearity is not None
            self._nonlinearity.backward(gradient, self._y, self._values, self._affine.z_gradient)
        else:
            if self._nonlinearity is not None:
                self._nonlinearity.backward(gradient, self._y, self._values, self._norm.output_gradient)
                gradient = self._norm.output_gradient
            self._norm.backward(gradient, self._affine.z_gradient)
        return self._affine.backward()


class Drop:
    """Dropout; `joined` where a column of ones stands beside what comes in, which is never dropped."""

    mask: Tensor

    def __init__(self, like: Tensor, *, joined: bool) -> None:
        """`like` has the shape of what comes in, without ones."""
        self._outputs = like.new_ones(*like.shape[:-1], like.shape[-1] + joined)
        self._values = self._outputs[..., : like.shape[-1]]

    def set(self, mask: Tensor) -> None:
        """Take the mask of the next batch, (K, B, numbers a row)."""
        self.mask = mask.view(self._values.shape)

    def forward(self, inputs: Tensor) -> Tensor:
        torch.mul(inputs[..., : self._values.shape[-1]], self.mask, out=self._values)
        return self._outputs

    def backward(self, gradient: Tensor) -> Tensor | None:
        return gradient.mul_(self.mask)
