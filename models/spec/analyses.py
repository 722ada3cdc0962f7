"""Analyses: what is measured of a network once it is trained, of its weights rather than along its way."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from models.spec.component import BareName, Component, Items
from models.spec.shape import DatasetShape


class _Analysis(Component):
    """What a network is measured on: rows of its own split, transformed as in training, in evaluation mode, and in
    float64 whatever it was trained in.
    """

    split: Literal["training", "validation"] = "training"
    """Whose rows."""
    rows: int = Field(1024, ge=16, le=65_536)
    """At most so many, the first ones: a random sample, as the split is random."""

    def misfit(self, shape: DatasetShape) -> str | None:  # noqa: ARG002
        """Why it says nothing about networks on such data; None where it does."""
        return None


class Sharpness(_Analysis):
    """How steeply the loss rises around the weights x (Keskar et al. 2017): φ = 100 (max f(x + Ay) − f(x)) / (1 + f(x))
    over the box |yᵢ| ≤ ε (|(A⁺x)ᵢ| + 1), found by L-BFGS-B.

    Rescaling a network of ReLUs changes φ but not the function (Dinh et al. 2017), so an adaptive value stands beside
    it: max f(x + δ) − f(x) over ‖δ / |x|‖ ≤ ρ (Kwon et al. 2021), which rescaling leaves alone.
    """

    kind: Literal["sharpness"] = "sharpness"
    epsilons: Items[Annotated[float, Field(gt=0, le=1)]] = Field((1e-3, 5e-4), min_length=1, max_length=4)
    """Half the size of the box, relative to each weight."""
    subspace: int | None = Field(None, ge=1, le=10_000)
    """Columns of a random A: the box lies in a subspace of so many dimensions; by default A is the identity."""
    iterations: int = Field(10, ge=1, le=100)
    """Of L-BFGS-B."""
    radius: float = Field(0.5, gt=0, le=10)
    """ρ of the adaptive sharpness."""


class Hessian(_Analysis):
    """The curvature of the loss: the largest eigenvalues of its Hessian by Lanczos' method, and its trace by
    Hutchinson's, with a standard error; from Hessian-vector products alone.
    """

    kind: Literal["hessian"] = "hessian"
    eigenvalues: int = Field(3, ge=1, le=20)
    """The largest so many."""
    probes: int = Field(32, ge=2, le=1_000)
    """Random vectors behind the trace."""


class GradientNoiseScale(_Analysis):
    """tr Σ / |G|²: from which batch size on more rows a step hardly lead straighter to the minimum (McCandlish et al.
    2018). Both parts are averaged over pairs of a small and a large batch before they are divided.
    """

    kind: Literal["gradient_noise_scale"] = "gradient_noise_scale"
    small: int = Field(16, ge=1, le=4_096)
    """Rows of a small batch."""
    large: int = Field(256, ge=2, le=16_384)
    """Rows of a large one; all there are, if fewer."""
    pairs: int = Field(64, ge=2, le=1_000)

    @model_validator(mode="after")
    def _two_sizes(self) -> Self:
        if self.small >= self.large:
            raise ValueError("a small batch has fewer rows than a large one")
        return self


class LossLandscape(_Analysis):
    """The loss around the weights, along one or two random directions with each filter's own norm (Li et al. 2018)."""

    kind: Literal["loss_landscape"] = "loss_landscape"
    dimensions: Literal[1, 2] = 2
    points: int = Field(25, ge=3, le=101)
    """Along each direction."""
    radius: float = Field(1.0, gt=0, le=10)
    """How far to go to either side, in norms of the weights."""


class Calibration(_Analysis):
    """Whether probabilities mean what they say: the reliability curve over equal bins of confidence, and the expected
    calibration error, the mean |accuracy − confidence| over the rows' bins (Guo et al. 2017).
    """

    kind: Literal["calibration"] = "calibration"
    split: Literal["training", "validation"] = "validation"
    """Whose rows."""
    rows: int = Field(65_536, ge=16, le=65_536)
    """At most so many."""
    bins: int = Field(15, ge=2, le=100)

    def misfit(self, shape: DatasetShape) -> str | None:
        regression = shape.task == "regression"
        return "calibration is of class probabilities: leave it out of a regression" if regression else None


class Line(_Analysis):
    """The loss on the line between the weights of two runs of one network, at α from −1 to 2: the run's own at α = 0,
    the other's at α = 1 (Goodfellow et al. 2015, Keskar et al. 2017).
    """

    kind: Literal["line"] = "line"
    to: str = Field(max_length=40)
    """Id of the other run."""
    points: int = Field(25, ge=4, le=301)


Analysis = Annotated[
    Sharpness | Hessian | GradientNoiseScale | LossLandscape | Calibration, Field(discriminator="kind"), BareName
]
"""Those that a spec may ask for."""

LaterAnalysis = Annotated[
    Sharpness | Hessian | GradientNoiseScale | LossLandscape | Calibration | Line,
    Field(discriminator="kind"),
    BareName,
]
"""Those that can be asked for once a run has succeeded."""
