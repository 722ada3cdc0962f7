"""Networks: what is trained."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from models.spec.component import BareName, Component

MAX_WIDTH = 8_192
MAX_LAYERS = 64

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"]


class Linear(Component):
    """One affine map: linear regression, or softmax regression for classes."""

    kind: Literal["linear"] = "linear"

    def parameters(self, features: int, outputs: int) -> int:
        return (features + 1) * outputs

    def activations(self, features: int, outputs: int) -> int:
        """Numbers kept for the backward pass, per row of a batch."""
        return features + outputs


class MLP(Component):
    """A multi-layer perceptron: affine maps with an activation between them, initialised as torch.nn.Linear."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Annotated[int, Field(ge=1, le=MAX_WIDTH)], ...] = Field((64, 64), min_length=1, max_length=MAX_LAYERS)
    """Widths of the hidden layers."""
    activation: Activation = "relu"

    def _widths(self, features: int, outputs: int) -> tuple[int, ...]:
        return (features, *self.hidden, outputs)

    def parameters(self, features: int, outputs: int) -> int:
        widths = self._widths(features, outputs)
        return sum((i + 1) * o for i, o in pairwise(widths))

    def activations(self, features: int, outputs: int) -> int:
        """Numbers kept for the backward pass, per row of a batch."""
        return features + outputs + 2 * sum(self.hidden)


Network = Annotated[Linear | MLP, Field(discriminator="kind"), BareName]
