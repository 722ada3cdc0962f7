"""Networks: what is trained. All are initialised as torch's layers are by default."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from models.spec.component import BareName, Component, Items
from models.spec.layout import AveragePool, Convolution, Dense, Layout, Recurrence, Residual
from models.spec.shape import DatasetShape

MAX_WIDTH = 8_192
MAX_LAYERS = 64
MAX_CHANNELS = 1_024

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]
Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Channels = Annotated[int, Field(ge=1, le=MAX_CHANNELS)]
Kernel = Annotated[int, Field(ge=1, le=31)]


class _Network(Component):
    """A component that becomes layers once the shape of its data is known."""

    hidden_units: ClassVar[bool] = True
    """Whether dropout has something to drop."""
    takes_batch_norm: ClassVar[bool] = False
    """Whether batch normalization goes between its layers where a spec asks for it."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Units or channels of each layer but the last."""
        return ()

    def misfit(self, shape: DatasetShape) -> str | None:  # noqa: ARG002
        """Why it cannot learn from such data; None if it can."""
        return None


class Linear(_Network):
    """One affine map: linear regression, or softmax regression for classes."""

    kind: Literal["linear"] = "linear"
    hidden_units: ClassVar[bool] = False

    def layout(self, shape: DatasetShape, *, normalized: bool = False, dropped: bool = False) -> Layout:  # noqa: ARG002
        return (Dense(shape.features, shape.outputs),)


class MLP(_Network):
    """A multi-layer perceptron: affine maps with an activation between them."""

    kind: Literal["mlp"] = "mlp"
    hidden: Items[Width] = Field((64, 64), min_length=1, max_length=MAX_LAYERS)
    """Widths of the hidden layers."""
    activation: Activation = "relu"
    takes_batch_norm: ClassVar[bool] = True

    @property
    def widths(self) -> tuple[int, ...]:
        return self.hidden

    def layout(self, shape: DatasetShape, *, normalized: bool = False, dropped: bool = False) -> Layout:
        inner = tuple(Dense(i, o, normalized, dropped) for i, o in pairwise((shape.features, *self.hidden)))
        return (*inner, Dense(self.hidden[-1], shape.outputs))


class _Convolutional(_Network):
    """Blocks of convolution, activation and max pooling, then one affine map."""

    channels: Items[Channels]
    kernels: Items[Kernel]
    stride: Annotated[int, Field(ge=1, le=8)]
    padding: Annotated[int, Field(ge=0, le=15)]
    pool: Annotated[int, Field(ge=1, le=8)]
    activation: Activation = "relu"
    axes: ClassVar[int]
    """Of the kernel: 2 for images, 1 for series."""
    takes_batch_norm: ClassVar[bool] = True

    @property
    def widths(self) -> tuple[int, ...]:
        return self.channels

    @model_validator(mode="after")
    def _a_kernel_for_each_block(self) -> Self:
        if len(self.kernels) not in (1, len(self.channels)):
            raise ValueError(
                f"{len(self.kernels)} kernels for {len(self.channels)} blocks: give one for all, or one for each"
            )
        return self

    def _sides(self, side: int, height: int) -> tuple[int, int]:
        """A length along the axes of the kernel; `height` for the one that a series does not have."""
        return (side if self.axes == 2 else height), side

    def layout(self, shape: DatasetShape, *, normalized: bool = False, dropped: bool = False) -> Layout:
        blocks: list[Convolution] = []
        channels, grid = shape.grid[0], as_image(shape)
        kernels = self.kernels if len(self.kernels) > 1 else self.kernels * len(self.channels)
        for outputs, kernel in zip(self.channels, kernels, strict=True):
            block = Convolution(
                channels,
                grid,
                outputs,
                self._sides(kernel, 1),
                self._sides(self.stride, 1),
                self._sides(self.padding, 0),
                self._sides(self.pool, 1),
                normalized,
                dropped,
            )
            blocks.append(block)
            channels, grid = outputs, block.pooled
        return (*blocks, Dense(blocks[-1].features, shape.outputs))

    def _too_small(self, shape: DatasetShape) -> str | None:
        layout = self.layout(shape)
        for number, block in enumerate(layout[:-1], start=1):
            assert isinstance(block, Convolution)
            if min(*block.convolved, *block.pooled) < 1:
                size = " × ".join(map(str, block.grid if len(shape.grid) == 3 else block.grid[1:]))
                return (
                    f"block {number} gets a grid of {size}, too small for its kernel and pooling: "
                    "take fewer blocks, a smaller kernel, stride or pool, or more padding"
                )
        return None


class CNN(_Convolutional):
    """A convolutional network for images (LeCun et al. 1998): blocks of convolution, activation and max pooling, then
    one affine map.
    """

    kind: Literal["cnn"] = "cnn"
    channels: Items[Channels] = Field((16, 32), min_length=1, max_length=MAX_LAYERS)
    """Output channels of the blocks."""
    kernels: Items[Kernel] = Field((3,), min_length=1, max_length=MAX_LAYERS)
    """Side of the square kernel: one for all blocks, or one for each."""
    stride: Annotated[int, Field(ge=1, le=8)] = 1
    padding: Annotated[int, Field(ge=0, le=15)] = 1
    """Zeros around the image."""
    pool: Annotated[int, Field(ge=1, le=8)] = 2
    """Side of the pooling windows, which do not overlap; 1 is no pooling."""
    axes: ClassVar[int] = 2

    def misfit(self, shape: DatasetShape) -> str | None:
        return _needs_image(shape) or self._too_small(shape)


class CNN1D(_Convolutional):
    """A convolutional network for series: blocks of convolution, activation and max pooling, then one affine map.

    The default is that of MNIST-1D (Greydanus 2020).
    """

    kind: Literal["cnn1d"] = "cnn1d"
    channels: Items[Channels] = Field((25, 25, 25), min_length=1, max_length=MAX_LAYERS)
    """Output channels of the blocks."""
    kernels: Items[Kernel] = Field((5, 3, 3), min_length=1, max_length=MAX_LAYERS)
    """Length of the kernel: one for all blocks, or one for each."""
    stride: Annotated[int, Field(ge=1, le=8)] = 2
    padding: Annotated[int, Field(ge=0, le=15)] = 1
    """Zeros at both ends."""
    pool: Annotated[int, Field(ge=1, le=8)] = 1
    """Length of the pooling windows, which do not overlap; 1 is no pooling."""
    axes: ClassVar[int] = 1

    def misfit(self, shape: DatasetShape) -> str | None:
        return _needs_series(shape) or self._too_small(shape)


class GRU(_Network):
    """Gated recurrent units (Cho et al. 2014) over a series, then one affine map of the hidden states of all steps.

    The default is that of MNIST-1D (Greydanus 2020).
    """

    kind: Literal["gru"] = "gru"
    hidden: Annotated[int, Field(ge=1, le=1_024)] = 6
    """Units in each direction."""
    bidirectional: bool = True
    """Read the series from both ends, each by units of its own."""

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.hidden,)

    def layout(self, shape: DatasetShape, *, normalized: bool = False, dropped: bool = False) -> Layout:  # noqa: ARG002
        channels, length = shape.grid
        directions = 2 if self.bidirectional else 1
        recurrence = Recurrence(length, channels, self.hidden, directions, dropped)
        return recurrence, Dense(recurrence.features, shape.outputs)

    def misfit(self, shape: DatasetShape) -> str | None:
        return _needs_series(shape)


class ResNet(_Network):
    """A residual network for images, or for series, as He et al. (2016) built it for CIFAR: depth 6n + 2.

    A convolution of 3 × 3, three stages of n blocks with 1, 2 and 4 times `width` channels, of which the second and
    third halve the grid, the mean over the grid and an affine map. Each convolution is followed by batch normalization
    (momentum 0.1, ε = 10⁻⁵). Where a block changes the size, its input is subsampled and filled up with channels of
    zeros: no parameters (option A).
    """

    kind: Literal["resnet"] = "resnet"
    depth: Literal[8, 14, 20] = 8
    """Layers with weights."""
    width: Annotated[int, Field(ge=1, le=256)] = 16
    """Channels of the first stage."""
    activation: Activation = "relu"

    @property
    def widths(self) -> tuple[int, ...]:
        blocks = 2 * (self.depth - 2) // 6
        return (self.width,) * (1 + blocks) + (2 * self.width,) * blocks + (4 * self.width,) * blocks

    def layout(self, shape: DatasetShape, *, normalized: bool = False, dropped: bool = False) -> Layout:  # noqa: ARG002
        flat = len(shape.grid) == 2
        kernel, padding = ((1, 3), (0, 1)) if flat else ((3, 3), (1, 1))
        layers: list[Convolution | Residual | AveragePool | Dense] = []

        def convolution(channels: int, grid: tuple[int, int], outputs: int, stride: int) -> Convolution:
            strides = (1 if flat else stride, stride)
            return Convolution(channels, grid, outputs, kernel, strides, padding, normalized=True)

        stem = convolution(shape.grid[0], as_image(shape), self.width, 1)
        layers.append(stem)
        channels, grid = self.width, stem.convolved
        for outputs in (self.width, 2 * self.width, 4 * self.width):
            for _ in range((self.depth - 2) // 6):
                first = convolution(channels, grid, outputs, 1 if outputs == channels else 2)
                layers.append(Residual(first, convolution(outputs, first.convolved, outputs, 1)))
                channels, grid = outputs, first.convolved
        return (*layers, AveragePool(grid, channels, dropped), Dense(channels, shape.outputs))

    def misfit(self, shape: DatasetShape) -> str | None:
        return None if shape.grid else _without_grid("images or series")


def as_image(shape: DatasetShape) -> tuple[int, int]:
    """The grid of an image, or of a series as an image of height 1."""
    return (1, shape.grid[1]) if len(shape.grid) == 2 else (shape.grid[1], shape.grid[2])


def _without_grid(wanted: str) -> str:
    return (
        f"the network needs {wanted}, and the order of this data set's features means nothing: take mlp, or other data"
    )


def _needs_image(shape: DatasetShape) -> str | None:
    if len(shape.grid) == 2:
        return "the network needs images, and these data are series: take cnn1d, gru or resnet"
    return None if shape.grid else _without_grid("images")


def _needs_series(shape: DatasetShape) -> str | None:
    if len(shape.grid) == 3:
        return "the network needs series, and these data are images: take cnn or resnet"
    return None if shape.grid else _without_grid("series")


Network = Annotated[Linear | MLP | CNN | CNN1D | GRU | ResNet, Field(discriminator="kind"), BareName]
