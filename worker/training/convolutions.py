"""Convolutions of K runs, and what stands between them. Grids lie as (K, B · height · width, channels).

Two ways to the same numbers. For small work, all runs at once: the patches under the kernel become the rows of one
matrix product a run. For work that a run does alone, run by run through the library's own kernels, which need no
patches: twice as fast there, and three times slower on small grids (two cores, AVX2).
"""

from math import prod

import torch
from torch import Tensor

from models.spec.layout import Convolution
from worker.training.batch_norm import ColumnMeans
from worker.training.layers import AffineMap, Precision, product

_aten = torch.ops.aten


class PatchConvolution:
    """A convolution as a matrix product of patches: weights (K, height · width · channels [+ 1], out)."""

    def __init__(
        self,
        shape: Convolution,
        weight: Tensor,
        gradient: Tensor | None,
        rows: int,
        *,
        first: bool,
        precision: Precision,
    ) -> None:
        runs = len(weight)
        (height, width), (kernel_h, kernel_w) = shape.grid, shape.kernel
        self._grid = (runs, rows, height, width, shape.channels)
        self._places = (runs, rows, *shape.convolved)
        padded = (height + 2 * shape.padding[0], width + 2 * shape.padding[1])
        self._padded = weight.new_zeros(runs, rows, *padded, shape.channels)
        inner_h, inner_w = (slice(p, p + side) for p, side in zip(shape.padding, shape.grid, strict=True))
        self._inner = self._padded[:, :, inner_h, inner_w]
        r, b, h, w, _ = self._padded.stride()
        # A row under the kernel is contiguous: kernel width times channels.
        self._windows = self._padded.as_strided(
            (*self._places, kernel_h, kernel_w * shape.channels),
            (r, b, h * shape.stride[0], w * shape.stride[1], h, 1),
        )
        self._patches = weight.new_ones(runs, rows * shape.places, shape.inputs + 1)
        self._values = torch.unflatten(self._patches.view(*self._places, -1)[..., :-1], -1, (kernel_h, -1))
        bias, places = not shape.normalized, rows * shape.places
        self._product = product(weight, gradient, places, bias=bias, first=first, precision=precision)
        if gradient is None:
            return
        self.z_gradient = self._product.z_gradient
        self._taken = (*self._places, kernel_h, kernel_w, shape.channels)
        self._padded_gradient = torch.empty_like(self._padded)
        self._inner_gradient = self._padded_gradient[:, :, inner_h, inner_w]
        spans = [stride * side for stride, side in zip(shape.stride, shape.convolved, strict=True)]
        self._offsets = [
            (
                row,
                column,
                self._padded_gradient[
                    :, :, slice(row, row + spans[0], shape.stride[0]), slice(column, column + spans[1], shape.stride[1])
                ],
            )
            for row in range(kernel_h)
            for column in range(kernel_w)
        ]

    def forward(self, inputs: Tensor) -> Tensor:
        self._inner.copy_(inputs.view(self._grid))
        self._values.copy_(self._windows)
        return self._product.forward(self._patches)

    def backward(self) -> Tensor | None:
        gradient = self._product.backward()
        if gradient is None:
            return None
        # Every patch gives its gradient back to the places that it was taken from.
        patches = gradient.view(self._taken)
        self._padded_gradient.zero_()
        for row, column, places in self._offsets:
            places.add_(patches[:, :, :, :, row, column])
        return self._inner_gradient.flatten(1, 3)


class KernelConvolution:
    """The same convolution, run by run through the library's kernels for channels that lie innermost."""

    def __init__(
        self,
        shape: Convolution,
        weight: Tensor,
        gradient: Tensor | None,
        rows: int,
        *,
        first: bool,
        precision: Precision,
    ) -> None:
        runs = len(weight)
        self._shape, self._rows = shape, rows
        self._type = torch.bfloat16 if precision == "bfloat16" else weight.dtype
        self._grid = (runs, rows, *shape.grid, shape.channels)
        self._kernels = _as_kernels(shape, weight)
        self._biases = [None] * runs if shape.normalized else list(weight[:, -1].unbind(0))
        if gradient is None:
            return
        self.z_gradient = weight.new_empty(runs, rows * shape.places, shape.outputs)
        self._kernel_gradients = _as_kernels(shape, gradient)
        self._bias_gradients = [None] * runs if shape.normalized else list(gradient[:, -1].unbind(0))
        self._wanted = [not first, True, not shape.normalized]

    def forward(self, inputs: Tensor) -> Tensor:
        self._images = inputs.view(self._grid).permute(0, 1, 4, 2, 3)
        z = [
            _aten.convolution(images.to(self._type), kernel.to(self._type), self._rounded(bias), *self._options())
            for images, kernel, bias in zip(self._images, self._kernels, self._biases, strict=True)
        ]
        return _joined([run.float().permute(0, 2, 3, 1).flatten(0, 2) for run in z])

    def backward(self) -> Tensor | None:
        gradients = []
        z = self.z_gradient.view(len(self._kernels), self._rows, *self._shape.convolved, -1).permute(0, 1, 4, 2, 3)
        for run, kernel in enumerate(self._kernels):
            bias_sizes = None if self._shape.normalized else [self._shape.outputs]
            images, weights, biases = _aten.convolution_backward(
                *(part.to(self._type) for part in (z[run], self._images[run], kernel)),
                bias_sizes,
                *self._options(),
                self._wanted,
            )
            self._kernel_gradients[run].copy_(weights)
            if (bias := self._bias_gradients[run]) is not None:
                bias.copy_(biases)
            if images is not None:
                gradients.append(images.float().permute(0, 2, 3, 1).flatten(0, 2))
        return _joined(gradients) if gradients else None

    def _rounded(self, bias: Tensor | None) -> Tensor | None:
        return None if bias is None else bias.to(self._type)

    def _options(self) -> tuple[object, ...]:
        dilation, transposed, output_padding, groups = (1, 1), False, (0, 0), 1
        return self._shape.stride, self._shape.padding, dilation, transposed, output_padding, groups


def _as_kernels(shape: Convolution, matrix: Tensor) -> list[Tensor]:
    """Views (out, channels, height, width) of each run's weights."""
    weights = torch.unflatten(matrix[:, : shape.inputs], 1, (*shape.kernel, shape.channels))
    return list(weights.permute(0, 4, 3, 1, 2).unbind(0))


def _joined(runs: list[Tensor]) -> Tensor:
    return runs[0][None] if len(runs) == 1 else torch.stack(runs)


def convolution(
    shape: Convolution,
    weight: Tensor,
    gradient: Tensor | None,
    rows: int,
    *,
    alone: bool,
    first: bool,
    precision: Precision,
) -> AffineMap:
    """The convolution of a layer; `alone` where the work of one run is so large that it never has company."""
    kind = KernelConvolution if alone else PatchConvolution
    return kind(shape, weight, gradient, rows, first=first, precision=precision)


class Grid:
    """From rows of features, channel by channel as torch has them, to a grid with channels innermost."""

    def __init__(self, runs: int, rows: int, channels: int, grid: tuple[int, int], like: Tensor) -> None:
        self._channels_first = (runs, rows, channels, *grid)
        self._outputs = like.new_empty(runs, rows * prod(grid), channels)
        self._values = self._outputs.view(runs, rows, *grid, channels)

    def forward(self, inputs: Tensor) -> Tensor:
        self._values.copy_(torch.unflatten(inputs[..., :-1], 2, self._channels_first[2:]).permute(0, 1, 3, 4, 2))
        return self._outputs

    def backward(self, gradient: Tensor) -> Tensor | None:
        raise AssertionError(f"nothing before the grid needs a gradient {gradient.shape}")


class MaxPool:
    """The largest value of each window, channel by channel; windows do not overlap."""

    def __init__(self, shape: Convolution, runs: int, rows: int) -> None:
        self._window = shape.pool
        self._before = (runs * rows, *shape.convolved, shape.outputs)
        self._after = (runs * rows, *shape.pooled, shape.outputs)
        self._runs = runs

    def forward(self, inputs: Tensor) -> Tensor:
        self._inputs = inputs.view(self._before).permute(0, 3, 1, 2)
        values, self._chosen = _aten.max_pool2d_with_indices(self._inputs, self._window, self._window)
        return self._flat(values)

    def backward(self, gradient: Tensor) -> Tensor | None:
        outer = gradient.reshape(self._after).permute(0, 3, 1, 2)
        options = (self._window, self._window, (0, 0), (1, 1), False)
        return self._flat(_aten.max_pool2d_with_indices_backward(outer, self._inputs, *options, self._chosen))

    def _flat(self, images: Tensor) -> Tensor:
        return torch.unflatten(images.permute(0, 2, 3, 1), 0, (self._runs, -1)).flatten(1, 3)


class Flatten:
    """From a grid to rows of features with a column of ones."""

    def __init__(self, runs: int, rows: int, features: int, like: Tensor) -> None:
        self._outputs = like.new_ones(runs, rows, features + 1)

    def forward(self, inputs: Tensor) -> Tensor:
        self._channels = inputs.shape[2]
        self._outputs[..., :-1] = inputs.view(*self._outputs.shape[:2], -1)
        return self._outputs

    def backward(self, gradient: Tensor) -> Tensor | None:
        return gradient.reshape(len(gradient), -1, self._channels)


class MeanPool:
    """From a grid to the mean of each channel, with a column of ones."""

    def __init__(self, runs: int, rows: int, places: int, channels: int, like: Tensor) -> None:
        self._shape = (runs * rows, places, channels)
        self._means = ColumnMeans(runs * rows, places, like)
        self._outputs = like.new_ones(runs, rows, channels + 1)

    def forward(self, inputs: Tensor) -> Tensor:
        self._outputs[..., :-1] = self._means.of(inputs.view(self._shape)).view(*self._outputs.shape[:2], -1)
        return self._outputs

    def backward(self, gradient: Tensor) -> Tensor | None:
        runs, rows, channels = gradient.shape
        spread = gradient.div(self._shape[1])[:, :, None].expand(runs, rows, self._shape[1], channels)
        return spread.reshape(runs, -1, channels)
