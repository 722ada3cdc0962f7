"""What a network is made of: its layers in numbers, before anything is drawn or bound.

Counts are per row of a batch, so that a plan can multiply them by its rows. `normalized` layers normalize over the
batch and have no bias, as the normalization would take it away again; dropout acts on what comes out of `dropped` ones.
"""

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Dense:
    """An affine map."""

    inputs: int
    outputs: int
    normalized: bool = False
    dropped: bool = False

    places = 1
    """Where in a row it is applied."""

    @property
    def features(self) -> int:
        """Numbers that come out."""
        return self.outputs

    @property
    def parameters(self) -> int:
        return (self.inputs + (not self.normalized)) * self.outputs + self.statistics

    @property
    def statistics(self) -> int:
        """Running averages of a batch normalization, which training keeps beside the parameters."""
        return 2 * self.outputs * self.normalized

    @property
    def multiplications(self) -> int:
        """Multiply-adds of one forward pass."""
        return self.inputs * self.outputs

    @property
    def activations(self) -> int:
        """Numbers kept for the backward pass."""
        return (3 if self.normalized else 2) * self.outputs


@dataclass(frozen=True)
class Convolution:
    """A convolution over a grid of (height, width), then max pooling; a series is a grid of height 1.

    `kernel`, `stride`, `padding` and `pool` are (height, width).
    """

    channels: int
    grid: tuple[int, int]
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    pool: tuple[int, int] = (1, 1)
    normalized: bool = False
    dropped: bool = False

    @property
    def inputs(self) -> int:
        """Numbers under the kernel."""
        return self.channels * prod(self.kernel)

    @property
    def convolved(self) -> tuple[int, int]:
        """The grid before pooling."""
        sides = zip(self.grid, self.kernel, self.stride, self.padding, strict=True)
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side, kernel, stride, padding in sides)
        return height, width

    @property
    def places(self) -> int:
        return prod(self.convolved)

    @property
    def pooled(self) -> tuple[int, int]:
        """The grid after pooling; what does not fill a window is left out."""
        height, width = (side // pool for side, pool in zip(self.convolved, self.pool, strict=True))
        return height, width

    @property
    def features(self) -> int:
        return prod(self.pooled) * self.outputs

    @property
    def parameters(self) -> int:
        return (self.inputs + (not self.normalized)) * self.outputs + self.statistics

    @property
    def statistics(self) -> int:
        return 2 * self.outputs * self.normalized

    @property
    def multiplications(self) -> int:
        return self.places * self.inputs * self.outputs

    @property
    def activations(self) -> int:
        # The padded inputs and the patches of them, which both passes need in full.
        patches = self.places * (self.inputs + 1) + self.channels * prod(self.grid)
        return patches + (3 if self.normalized else 2) * self.places * self.outputs


@dataclass(frozen=True)
class Residual:
    """Two convolutions, around which the input is added again (He et al. 2016)."""

    first: Convolution
    second: Convolution

    dropped = False

    @property
    def features(self) -> int:
        return self.second.features

    @property
    def places(self) -> int:
        return self.second.places

    @property
    def parameters(self) -> int:
        return self.first.parameters + self.second.parameters

    @property
    def statistics(self) -> int:
        return self.first.statistics + self.second.statistics

    @property
    def multiplications(self) -> int:
        return self.first.multiplications + self.second.multiplications

    @property
    def activations(self) -> int:
        return self.first.activations + self.second.activations


@dataclass(frozen=True)
class AveragePool:
    """The mean over a grid, channel by channel."""

    grid: tuple[int, int]
    channels: int
    dropped: bool = False

    places, parameters, statistics, multiplications = 1, 0, 0, 0

    @property
    def features(self) -> int:
        return self.channels

    @property
    def activations(self) -> int:
        return self.channels


@dataclass(frozen=True)
class Recurrence:
    """Gated recurrent units over a series of `length` steps of `inputs` numbers, read in one or both directions."""

    length: int
    inputs: int
    hidden: int
    directions: int
    dropped: bool = False

    places, statistics = 1, 0

    @property
    def features(self) -> int:
        return self.length * self.directions * self.hidden

    @property
    def parameters(self) -> int:
        return self.directions * 3 * self.hidden * (self.inputs + self.hidden + 2)

    @property
    def multiplications(self) -> int:
        return self.length * self.directions * 3 * self.hidden * (self.inputs + self.hidden)

    @property
    def activations(self) -> int:
        # Of every step: the two affine maps into three gates, the gates, the state and what the way back adds to them.
        return self.length * (self.inputs + 12 * self.directions * self.hidden)


LayerShape = Dense | Convolution | Residual | AveragePool | Recurrence
Layout = tuple[LayerShape, ...]
