"""Data sets: what a network learns from."""

from typing import Annotated, Literal

from pydantic import Field

from models.spec.component import BareName, Component, Items
from models.spec.shape import DatasetShape
from models.spec.uploads import CIFAR10, CIFAR100, MNIST, FashionMNIST, Uploaded


class Measured(Component):
    """Data that were measured: their columns have units of their own. Generated ones come in units fit to train on."""

    standardize: bool = True
    """Zero mean and unit variance per feature, over the training rows of each run."""


class Curve(Component):
    """A function of one number, with noise on its values."""

    samples: int = Field(1000, ge=10, le=1_000_000)
    """Rows."""
    noise: float = Field(0.1, ge=0, le=10)
    """Standard deviation of the Gaussian noise on y."""

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=self.samples, features=1, task="regression", outputs=1)


class TwoShapes(Component):
    """Two shapes in the plane, one a class, with noise on their points."""

    samples: int = Field(1000, ge=10, le=1_000_000)
    """Rows."""
    noise: float = Field(0.1, ge=0, le=10)
    """Standard deviation of the Gaussian noise on both coordinates."""

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=self.samples, features=2, task="classification", outputs=2)


class Sine(Curve):
    """One-dimensional regression: y = sin(frequency · x) + noise, x evenly spaced on [−3, 3].

    The noise is Gaussian and belongs to the data set, not to the run: every run of every job sees the same rows.
    """

    kind: Literal["sine"] = "sine"
    frequency: float = Field(2.0, gt=0, le=100)
    """Angular frequency, radians per unit of x."""


class Polynomial(Curve):
    """One-dimensional regression: y = Σₖ coefficientsₖ · xᵏ + noise, x evenly spaced on [−1, 1].

    The noise is Gaussian and belongs to the data set: every run of every job sees the same rows.
    """

    kind: Literal["polynomial"] = "polynomial"
    coefficients: Items[Annotated[float, Field(ge=-1000, le=1000)]] = Field(
        (0.0, -1.0, 0.0, 2.0), min_length=1, max_length=21
    )
    """From the constant upwards, so that [0, −1, 0, 2] is y = 2x³ − x: 1 to 21 of them, each between ±1,000."""


class Moons(TwoShapes):
    """Two interleaved half circles of radius 1 in the plane, one a class, with half of the rows each.

    Evenly spaced angles t on [0, π] put the one at (cos t, sin t) and the other at (1 − cos t, ½ − sin t), as
    scikit-learn's `make_moons` does. The noise belongs to the data set: every run of every job sees the same rows.
    """

    kind: Literal["moons"] = "moons"


class Circles(TwoShapes):
    """Two circles about the origin of the plane, one of radius 1 and one inside it, one a class, with half of the rows
    each.

    The angles are evenly spaced, as scikit-learn's `make_circles` has them. The noise belongs to the data set: every
    run of every job sees the same rows.
    """

    kind: Literal["circles"] = "circles"
    inner_radius: float = Field(0.5, gt=0, lt=1)
    """Radius of the inner circle; that of the outer one is 1."""


class Spirals(Component):
    """Spiral arms about the origin of the plane, one a class, with equally many rows each.

    Evenly spaced s on [0, 1] put arm k of K at radius (1 + 12s)/13 and angle 2π(turns · s + k/K). Two arms, three
    turns and 194 rows without noise are the two spirals of Lang & Witbrock 1988, "Learning to tell two spirals apart",
    in units of 6.5 and turned by a right angle. The noise belongs to the data set: every run of every job sees the same
    rows.
    """

    kind: Literal["spirals"] = "spirals"
    samples: int = Field(1000, ge=20, le=1_000_000)
    """Rows."""
    noise: float = Field(0.02, ge=0, le=10)
    """Standard deviation of the Gaussian noise on both coordinates."""
    arms: int = Field(2, ge=2, le=10)
    """Spiral arms, which are the classes."""
    turns: float = Field(1.0, gt=0, le=10)
    """How often an arm winds around the origin."""

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=self.samples, features=2, task="classification", outputs=self.arms)


class Blobs(Component):
    """Gaussian clouds, one a class, with equally many rows each: x = center of the class + spread · N(0, I).

    The centers are drawn uniformly on [−1, 1] in each feature. They and the noise belong to the data set: every run of
    every job sees the same rows. The clouds are round and equally large, so no classifier beats the nearest center.
    """

    kind: Literal["blobs"] = "blobs"
    samples: int = Field(1000, ge=20, le=100_000)
    """Rows."""
    classes: int = Field(3, ge=2, le=20)
    """Clouds."""
    features: int = Field(2, ge=1, le=100)
    """Dimensions of the space in which the clouds lie."""
    spread: float = Field(0.2, ge=0, le=10)
    """Standard deviation of a cloud in each feature."""

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=self.samples, features=self.features, task="classification", outputs=self.classes)


class Stripes(Component):
    """Gray images of parallel stripes, their direction being the class, with noise on every pixel.

    A row is sin(2π f (x cos a + y sin a) + p), x and y on ±½ over the image, where the classes' angles a divide half a
    turn evenly, the waves f across the image are uniform on 2 to 5 and the phase p is uniform. No pixel by itself says
    anything about the class. The rows belong to the data set: every run of every job sees the same ones.
    """

    kind: Literal["stripes"] = "stripes"
    samples: int = Field(2000, ge=20, le=100_000)
    """Rows."""
    size: int = Field(28, ge=8, le=64)
    """Side of the square images, in pixels."""
    classes: int = Field(10, ge=2, le=20)
    """Directions."""
    noise: float = Field(0.5, ge=0, le=10)
    """Standard deviation of the Gaussian noise on a pixel."""

    @property
    def shape(self) -> DatasetShape:
        grid = (1, self.size, self.size)
        return DatasetShape(self.samples, self.size**2, "classification", self.classes, grid)


class MNIST1D(Component):
    """5,000 signals of 40 points in ten classes of 500: handwritten digits in one dimension (Greydanus 2020, "Scaling
    Deep Learning Down", arXiv:2011.14439).

    A template of 12 points for each digit is padded, stretched, scaled, shifted, laid over smooth noise and sheared.
    The rows are those of the published file, generated here from its seed and in its order: its 4,000 training rows,
    then its 1,000 test rows. All points together have zero mean and unit variance.
    """

    kind: Literal["mnist1d"] = "mnist1d"
    shuffle_points: bool = False
    """Put the points of every row into one and the same random order: a network that counts on neighbouring points
    belonging together loses its advantage."""

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=5000, features=40, task="classification", outputs=10, grid=(1, 40))


class Digits(Measured):
    """1,797 handwritten digits of 8 × 8 pixels in ten classes (UCI, as scikit-learn ships them)."""

    kind: Literal["digits"] = "digits"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=1797, features=64, task="classification", outputs=10, grid=(1, 8, 8))


class BreastCancer(Measured):
    """569 tumours, 30 measurements, benign or malignant (UCI, as scikit-learn ships them)."""

    kind: Literal["breast_cancer"] = "breast_cancer"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=569, features=30, task="classification", outputs=2)


class Diabetes(Measured):
    """442 patients, 10 measurements, disease progression after a year (Efron et al. 2004).

    The target is standardized over the training rows, so a loss of 1 is that of predicting the mean.
    """

    kind: Literal["diabetes"] = "diabetes"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=442, features=10, task="regression", outputs=1)


class Iris(Measured):
    """150 irises, 4 lengths of sepals and petals in cm, three species of 50 each (Fisher 1936, as scikit-learn ships
    them).
    """

    kind: Literal["iris"] = "iris"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=150, features=4, task="classification", outputs=3)


class Wine(Measured):
    """178 wines, 13 chemical measurements, three cultivars (UCI, as scikit-learn ships them)."""

    kind: Literal["wine"] = "wine"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(rows=178, features=13, task="classification", outputs=3)


BuiltIn = (
    Sine
    | Polynomial
    | Moons
    | Circles
    | Spirals
    | Blobs
    | Stripes
    | MNIST1D
    | Digits
    | BreastCancer
    | Diabetes
    | Iris
    | Wine
)
"""Data sets that come with Descent."""

Dataset = Annotated[
    BuiltIn | Uploaded | MNIST | FashionMNIST | CIFAR10 | CIFAR100, Field(discriminator="kind"), BareName
]
