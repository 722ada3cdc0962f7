"""Blocks: how a run's row of parameters is divided, drawn, and named as torch.nn names it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.layout import AveragePool, Convolution, Dense, Layout, Recurrence, Residual
from worker.training.randomness import uniform

Named = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class AffineBlock:
    """Weights (inputs, outputs), and below them one row of biases unless a normalization stands in for it.

    A convolution is an affine map of what lies under its kernel.
    """

    name: str
    """Of the module; `{}` in it stands for "weight" or "bias"."""
    inputs: int
    outputs: int
    bound: float
    """Initial parameters are uniform on ±bound."""
    bias: bool = True
    lattice: tuple[int, ...] = ()
    """Where the inputs are a grid of channels, (height, width, channels), as the engine has them; torch has channels
    first."""
    kernel: tuple[int, ...] = ()
    """Of one output's weights in torch, where they are not a row: (channels, height, width) or (channels, length)."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.inputs + self.bias, self.outputs

    def draw(self, seed: int, index: int) -> NDArray[np.float32]:
        """Initial parameters of the `index`-th affine block."""
        rows, columns = self.shape
        return uniform(seed, index, (rows * columns,), self.bound)

    def named(self, block: Tensor) -> Named:
        weight = block[: self.inputs].mT
        if self.lattice:
            weight = torch.unflatten(weight, 1, self.lattice).permute(0, 3, 1, 2)
        weight = weight.reshape(self.outputs, *(self.kernel or (self.inputs,)))
        named = {self.name.format("weight"): np.array(weight.numpy(), order="C")}
        if self.bias:
            named[self.name.format("bias")] = block[-1].numpy().copy()
        return named

    def load(self, block: Tensor, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Write named parameters into the block: the inverse of `named`."""
        weight = tensors[self.name.format("weight")].reshape(self.outputs, self.inputs)
        if self.lattice:
            height, width, channels = self.lattice
            weight = weight.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(self.outputs, -1)
        parameters = block.numpy()
        parameters[: self.inputs] = weight.T
        if self.bias:
            parameters[-1] = tensors[self.name.format("bias")]


@dataclass(frozen=True)
class NormalizationBlock:
    """γ, then β, one a channel; its running averages lie in another matrix, the mean before the variance."""

    name: str
    channels: int

    @property
    def shape(self) -> tuple[int, int]:
        return 2, self.channels

    def named(self, block: Tensor, averages: Tensor) -> Named:
        return {name: part.numpy().copy() for name, part in self._parts(block, averages)}

    def load(self, block: Tensor, averages: Tensor, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Write named parameters and running averages into the block: the inverse of `named`."""
        for name, part in self._parts(block, averages):
            part.numpy()[:] = tensors[name]

    def _parts(self, block: Tensor, averages: Tensor) -> Iterator[tuple[str, Tensor]]:
        names = ("weight", "bias", "running_mean", "running_var")
        for name, part in zip(names, (*block, *averages), strict=True):
            yield f"{self.name}.{name}", part


Block = AffineBlock | NormalizationBlock


def divide(layout: Layout, *, series: bool) -> Iterator[Block]:
    """The blocks of a network's row of parameters, in their order."""
    lattice: tuple[int, ...] = ()
    number = 0
    for layer in layout:
        match layer:
            case Dense():
                name, lattice, own = f"layers.{number}.{{}}", (), lattice
                bias = not layer.normalized
                yield AffineBlock(name, layer.inputs, layer.outputs, layer.inputs**-0.5, bias=bias, lattice=own)
                if layer.normalized:
                    yield NormalizationBlock(f"norms.{number}", layer.outputs)
                number += 1
            case Convolution():
                yield from _of_convolution(layer, number, series=series)
                lattice = (*layer.pooled, layer.outputs)
                number += 1
            case Residual():
                yield from _of_convolution(layer.first, number, series=series)
                yield from _of_convolution(layer.second, number + 1, series=series)
                number += 2
            case AveragePool():
                lattice = ()
            case Recurrence():
                for suffix in ("", "_reverse")[: layer.directions]:
                    for part, inputs in (("ih", layer.inputs), ("hh", layer.hidden)):
                        yield AffineBlock(f"gru.{{}}_{part}_l0{suffix}", inputs, 3 * layer.hidden, layer.hidden**-0.5)
            case _:
                assert_never(layer)


def _of_convolution(layer: Convolution, number: int, *, series: bool) -> Iterator[Block]:
    yield AffineBlock(
        f"layers.{number}.{{}}",
        layer.inputs,
        layer.outputs,
        layer.inputs**-0.5,
        bias=not layer.normalized,
        lattice=(*layer.kernel, layer.channels),
        kernel=(layer.channels, *layer.kernel[series:]),
    )
    if layer.normalized:
        yield NormalizationBlock(f"norms.{number}", layer.outputs)
