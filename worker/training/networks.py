"""Networks: layers over one row of parameters, and their binding to the K rows of a cohort."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.layout import Layout
from models.spec.networks import GRU, Activation, Linear
from models.spec.plan import layout
from worker.training.batch_norm import RunningAverages
from worker.training.binding import Binder, Pass
from worker.training.blocks import AffineBlock, Block, Named, divide
from worker.training.cost import trains_alone
from worker.training.layers import Precision

CACHE_LINE_NUMBERS = 16
"""Of float32, in 64 bytes."""


@dataclass(frozen=True)
class Network:
    """Layers, and how a row of P parameters, and one of S running averages, is divided among them."""

    layout: Layout
    activation: Activation | None
    series: bool = False
    """Whether its grids are series: of height 1, with kernels that torch has in one dimension."""
    alone: bool = False
    """Whether the work of one run is so large that it never has company."""
    precision: Precision = "float32"
    """Of matrix products and convolutions."""

    @cached_property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layout)

    @cached_property
    def columns(self) -> int:
        """Numbers a row: the parameters, and zeros up to a whole cache line. So no vector of an elementwise kernel
        reaches from one run into the next, and whoever stands beside a run changes nothing in how it is rounded.
        """
        return -(-self.parameters // CACHE_LINE_NUMBERS) * CACHE_LINE_NUMBERS

    @cached_property
    def statistics(self) -> int:
        return sum(layer.statistics for layer in self.layout)

    @cached_property
    def dropped(self) -> tuple[int, ...]:
        """How many numbers a row each of dropout's masks has, in the order of the layers."""
        return tuple(layer.features for layer in self.layout if layer.dropped)

    @cached_property
    def _blocks(self) -> tuple[Block, ...]:
        return tuple(divide(self.layout, series=self.series))

    def blocks(self, matrix: Tensor) -> Iterator[tuple[Block, Tensor]]:
        """Each block with its view (K, rows, columns) of a matrix (K, P)."""
        start = 0
        for block in self._blocks:
            stop = start + prod(block.shape)
            yield block, torch.unflatten(matrix[:, start:stop], 1, block.shape)
            start = stop

    def weights(self, matrix: Tensor) -> Iterator[Tensor]:
        """Views (K, inputs, units) of the weights in a matrix (K, P), without biases and normalizations."""
        for block, view in self.blocks(matrix):
            if isinstance(block, AffineBlock):
                yield view[:, : block.inputs]

    def weight_mask(self, device: torch.device) -> Tensor:
        """1 where a parameter is a weight, 0 where it belongs to a bias or a normalization: (1, P)."""
        mask = torch.zeros(1, self.columns, device=device)
        for weights in self.weights(mask):
            weights.fill_(1)
        return mask

    def initial(self, seed: int) -> NDArray[np.float32]:
        """A run's initial row, (columns,), as torch draws it.

        Uniform on ±1/√inputs, in a recurrence on ±1/√hidden units.
        """
        parts, drawn = [], 0
        for block in self._blocks:
            if isinstance(block, AffineBlock):
                parts.append(block.draw(seed, drawn))
                drawn += 1
            else:
                parts.append(np.repeat(np.array([1, 0], np.float32), block.channels))
        return np.concatenate([*parts, np.zeros(self.columns - self.parameters, np.float32)])

    def initial_averages(self) -> NDArray[np.float32]:
        """Running averages before the first batch, (S,): mean 0 and variance 1."""
        channels = [block.channels for block in self._blocks if not isinstance(block, AffineBlock)]
        return np.concatenate(
            [np.zeros(0, np.float32), *(np.repeat(np.array([0, 1], np.float32), width) for width in channels)]
        )

    def named(self, row: Tensor, averages: Tensor | None = None) -> Named:
        """One run's parameters (P,) and running averages (S,) under torch.nn's names and layouts."""
        named: Named = {}
        start = 0
        for block, view in self.blocks(row.cpu()[None]):
            if isinstance(block, AffineBlock):
                named |= block.named(view[0])
            else:
                assert averages is not None
                stop = start + 2 * block.channels
                named |= block.named(view[0], averages[start:stop].cpu().view(2, -1))
                start = stop
        return named

    def rows(self, tensors: Mapping[str, NDArray[np.float32]]) -> tuple[Tensor, Tensor | None]:
        """Return one run's parameters (1, P), and running averages (1, S) if it has any: the inverse of `named`."""
        theta, averages = torch.zeros(1, self.columns), torch.zeros(1, self.statistics)
        start = 0
        for block, view in self.blocks(theta):
            if isinstance(block, AffineBlock):
                block.load(view[0], tensors)
            else:
                stop = start + 2 * block.channels
                block.load(view[0], averages[0, start:stop].view(2, -1), tensors)
                start = stop
        return theta, averages if self.statistics else None

    def bind(self, theta: Tensor, gradient: Tensor | None, rows: int, averages: RunningAverages | None = None) -> Pass:
        """Attach the layers to the rows of `theta` (K, P) for batches of `rows`; without a gradient, to evaluate."""
        return Binder(
            theta, gradient, rows, averages, self.activation, alone=self.alone, precision=self.precision
        ).bind(self.layout)


def build(spec: JobSpec) -> Network:
    """The network of a spec."""
    activation = None if isinstance(spec.network, Linear | GRU) else spec.network.activation
    return Network(
        layout(spec),
        activation,
        series=len(spec.dataset.shape.grid) == 2,
        alone=trains_alone(spec),
        precision=spec.precision,
    )
