"""Batch normalization of K runs, each by the mean and variance of its own batch."""

from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

from models.spec import regularizers as spec
from worker.training.columns import tensor_column
from worker.training.losses import row_sums


class RunningAverages:
    """Means and variances of all normalized layers, one row a run: what a cohort keeps beside θ.

    `values` and `of_batch` are (K, S): a layer's means, then its variances, layer after layer.
    """

    def __init__(self, rules: Sequence[spec.BatchNorm], initial: Tensor) -> None:
        self.values = initial.repeat(len(rules), 1)
        self.of_batch = torch.empty_like(self.values)
        self._momentum = tensor_column([rule.momentum for rule in rules], initial.device)
        self.epsilon = tensor_column([rule.epsilon for rule in rules], initial.device)[..., None]

    def move(self) -> None:
        """Take the present batch in."""
        self.values.lerp_(self.of_batch, self._momentum)

    def fixed(self, run: int, values: Tensor) -> "RunningAverages":
        """Those of one run, (1, S), to evaluate with."""
        one = copy(self)
        one.values, one.epsilon = values, self.epsilon[run : run + 1]
        one.of_batch = values
        return one

    def select(self, rows: Tensor) -> None:
        """Keep some runs."""
        self.values, self.of_batch, self._momentum, self.epsilon = (
            part.index_select(0, rows) for part in (self.values, self.of_batch, self._momentum, self.epsilon)
        )


class ColumnMeans:
    """Means over the N rows of (G, N, C), group by group: (G, 1, C).

    As a product with two rows of 1/N: a reduction would add in another order for one group than for several, and a
    product with a single row or column takes another kernel.
    """

    def __init__(self, groups: int, rows: int, like: Tensor) -> None:
        self._rows = rows
        self._shares = like.new_full((groups, 2, rows), 1 / rows)

    def of(self, values: Tensor) -> Tensor:
        if values.shape[2] == 1:
            return row_sums(values.squeeze(2)).div_(self._rows).view(-1, 1, 1)
        return torch.bmm(self._shares, values)[:, :1]


class BatchNorm:
    """γ (z − mean) / √(variance + ε) + β for z (K, N, C); means and variances over N.

    `weight` and `gradient` are views (K, 2, C) into the cohort's matrices, γ before β; `averages` and `of_batch` views
    (K, 2, C) of the running averages. Without a gradient it normalizes by the running averages.
    """

    def __init__(
        self, weight: Tensor, gradient: Tensor | None, averages: Tensor, of_batch: Tensor, epsilon: Tensor, rows: int
    ) -> None:
        runs, _, channels = weight.shape
        self._gamma, self._beta = weight[:, :1], weight[:, 1:]
        self._mean, self._variance = averages[:, :1], averages[:, 1:]
        self._epsilon = epsilon
        self._outputs = weight.new_empty(runs, rows, channels)
        self._gradient = gradient
        if gradient is None:
            return
        self._of_batch = of_batch
        self._unbiased = rows / (rows - 1)
        self._means = ColumnMeans(runs, rows, weight)
        self._rows = rows
        self._normal = torch.empty_like(self._outputs)
        """(z − mean) / √(variance + ε)."""
        self._scratch = torch.empty_like(self._outputs)
        self.output_gradient = torch.empty_like(self._outputs)
        """Where an activation that follows may leave the gradient of the outputs."""

    def forward(self, z: Tensor) -> Tensor:
        if self._gradient is None:
            torch.sub(z, self._mean, out=self._outputs)
            self._outputs.mul_(self._gamma / (self._variance + self._epsilon).sqrt_()).add_(self._beta)
            return self._outputs
        mean = self._means.of(z)
        torch.sub(z, mean, out=self._normal)
        torch.mul(self._normal, self._normal, out=self._scratch)
        variance = self._means.of(self._scratch)
        self._of_batch[:, :1] = mean
        torch.mul(variance, self._unbiased, out=self._of_batch[:, 1:])
        self._scale = (variance + self._epsilon).sqrt_().reciprocal_()
        self._normal.mul_(self._scale)
        torch.mul(self._normal, self._gamma, out=self._outputs)
        return self._outputs.add_(self._beta)

    def backward(self, gradient: Tensor, out: Tensor) -> None:
        """Write the gradients of γ and β, and from that of the outputs, (K, N, C), that of z into `out`."""
        assert self._gradient is not None
        torch.mul(gradient, self._normal, out=self._scratch)
        slope, shift = self._means.of(self._scratch), self._means.of(gradient)
        torch.mul(slope, self._rows, out=self._gradient[:, :1])
        torch.mul(shift, self._rows, out=self._gradient[:, 1:])
        # dz = γ / √(variance + ε) · (g − mean(g) − ẑ mean(g ẑ))
        torch.sub(gradient, shift, out=out)
        torch.mul(self._normal, slope, out=self._scratch)
        out.sub_(self._scratch).mul_(self._gamma * self._scale)
