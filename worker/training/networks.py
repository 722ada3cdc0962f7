"""Networks: a layout of layers over one row of parameters, and its binding to the K rows of a cohort."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.networks import MLP, Activation, Linear
from models.spec.regularizers import Dropout
from worker.training.layers import Dense, Layer
from worker.training.randomness import uniform


@dataclass(frozen=True)
class Network:
    """Affine layers of these widths; layer i takes `(width + 1) · next width` parameters, weights before biases."""

    widths: tuple[int, ...]
    activation: Activation | None
    dropout: bool

    @property
    def parameters(self) -> int:
        return sum((i + 1) * o for i, o in pairwise(self.widths))

    @property
    def hidden(self) -> tuple[int, ...]:
        return self.widths[1:-1]

    def initial(self, seed: int) -> NDArray[np.float32]:
        """A run's initial row (P,): weights and biases uniform on ±1/√in, as torch.nn.Linear draws them."""
        layers = enumerate(pairwise(self.widths))
        return np.concatenate([uniform(seed, k, ((i + 1) * o,), i**-0.5) for k, (i, o) in layers])

    def blocks(self, matrix: Tensor) -> Iterator[Tensor]:
        """Views (K, in + 1, out) of each layer's parameters in a matrix (K, P); the last row is the bias."""
        start = 0
        for i, o in pairwise(self.widths):
            stop = start + (i + 1) * o
            yield matrix[:, start:stop].view(len(matrix), i + 1, o)
            start = stop

    def weight_mask(self, device: torch.device) -> Tensor:
        """1 where a parameter is a weight, 0 where it is a bias: (1, P)."""
        mask = torch.ones(1, self.parameters, device=device)
        for block in self.blocks(mask):
            block[:, -1] = 0
        return mask

    def named(self, row: Tensor) -> dict[str, NDArray[np.float32]]:
        """One run's parameters (P,) under torch.nn's names and layouts."""
        named = {}
        for index, block in enumerate(self.blocks(row.cpu()[None])):
            named[f"layers.{index}.weight"] = np.array(block[0, :-1].mT.numpy(), order="C")
            named[f"layers.{index}.bias"] = block[0, -1].numpy().copy()
        return named

    def bind(self, theta: Tensor, gradient: Tensor | None, rows: int) -> "Pass":
        """Attach the layers to the rows of `theta` (K, P) for batches of `rows`; without a gradient, to evaluate."""
        gradients = [None] * len(self.widths) if gradient is None else list(self.blocks(gradient))
        last = len(self.widths) - 2
        return Pass(
            [
                Dense(
                    weight,
                    gradients[index],
                    rows,
                    self.activation if index < last else None,
                    dropout=self.dropout and index < last and gradient is not None,
                    first=index == 0,
                )
                for index, weight in enumerate(self.blocks(theta))
            ]
        )


class Pass:
    """A network bound to K runs and B rows: forward, and backward into the gradient matrix."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = list(layers)
        self._reversed = self._layers[::-1]

    @property
    def output_gradient(self) -> Tensor:
        """Where the loss writes its gradient before `backward`, (K, B, O)."""
        return self._layers[-1].z_gradient

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (K, B, F + 1) to outputs (K, B, O), in a buffer that the next call overwrites."""
        for layer in self._layers:
            inputs = layer.forward(inputs)
        return inputs

    def backward(self) -> None:
        """Turn the output gradient into the gradient of every parameter."""
        gradient: Tensor | None = self.output_gradient
        for layer in self._reversed:
            assert gradient is not None
            gradient = layer.backward(gradient)

    def drop(self, masks: Sequence[Tensor]) -> None:
        """Set dropout's masks of the next batch, one (K, B, width) for each hidden layer."""
        for layer, mask in zip(self._layers, masks, strict=False):
            layer.mask = mask


def build(spec: JobSpec) -> Network:
    """The network of a spec."""
    shape = spec.dataset.shape
    dropout = any(isinstance(r, Dropout) for r in spec.regularizers)
    match spec.network:
        case Linear():
            return Network((shape.features, shape.outputs), None, dropout=False)
        case MLP():
            widths = (shape.features, *spec.network.hidden, shape.outputs)
            return Network(widths, spec.network.activation, dropout)
        case _:
            assert_never(spec.network)
