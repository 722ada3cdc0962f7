"""Data sets: what a network learns from."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from models.spec.component import BareName, Component


@dataclass(frozen=True)
class DatasetShape:
    """What is known of a data set before it is loaded."""

    rows: int
    features: int
    task: Literal["regression", "classification"]
    outputs: int
    """Classes of a classification, target columns of a regression."""


Standardize = Annotated[
    bool, Field(description="Zero mean and unit variance per feature, over the training rows of each run.")
]


class Sine(Component):
    """One-dimensional regression: y = sin(frequency · x) + noise, x evenly spaced on [−3, 3].

    The noise is Gaussian and belongs to the data set, not to the run: every run of every job sees the same rows.
    """

    kind: Literal["sine"] = "sine"
    samples: int = Field(1000, ge=10, le=1_000_000)
    """Rows."""
    noise: float = Field(0.1, ge=0, le=10)
    """Standard deviation of the Gaussian noise on y."""
    frequency: float = Field(2.0, gt=0, le=100)
    """Angular frequency, radians per unit of x."""

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=self.samples, features=1, task="regression", outputs=1)


class Digits(Component):
    """1,797 handwritten digits of 8 × 8 pixels in ten classes (UCI, as scikit-learn ships them)."""

    kind: Literal["digits"] = "digits"
    standardize: Standardize = True

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=1797, features=64, task="classification", outputs=10)


class BreastCancer(Component):
    """569 tumours, 30 measurements, benign or malignant (UCI, as scikit-learn ships them)."""

    kind: Literal["breast_cancer"] = "breast_cancer"
    standardize: Standardize = True

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=569, features=30, task="classification", outputs=2)


class Diabetes(Component):
    """442 patients, 10 measurements, disease progression after a year (Efron et al. 2004).

    The target is standardized over the training rows, so a loss of 1 is that of predicting the mean.
    """

    kind: Literal["diabetes"] = "diabetes"
    standardize: Standardize = True

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=442, features=10, task="regression", outputs=1)


Dataset = Annotated[Sine | Digits | BreastCancer | Diabetes, Field(discriminator="kind"), BareName]
