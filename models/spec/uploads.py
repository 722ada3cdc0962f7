"""Data sets that somebody uploads: a spec names them, and the service looks up what they are."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from models.spec.component import Component, Items, SpecModel
from models.spec.shape import DatasetShape, Task

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class _Stored(Component):
    """Data whose rows lie in storage."""

    standardize: bool = True
    """Zero mean and unit variance over the training rows of each run: of each number of a table, of each channel of
    images and series, and of the target of a regression. Without it, pixels lie between 0 and 1."""


class Found(SpecModel):
    """What the service found an uploaded data set to be, read as the spec asks."""

    rows: int = Field(ge=1)
    features: int = Field(ge=1)
    """Inputs of the network: one for each number, several for a category."""
    task: Task
    outputs: int = Field(ge=1)
    """Classes, or 1 for a regression."""
    grid: Items[int] = ()
    """(channels, height, width) of images, (channels, length) of series."""
    target: str
    """The column that is predicted."""


class Uploaded(_Stored):
    """A data set that was uploaded with `POST /v1/datasets`.

    Of a table, numbers and dates are inputs of their own, booleans are 0 and 1, and a category is one input for each of
    its values that some training row has, one for all others ("unseen"), and zeros up to the number that the rows
    outside of the sealed ones could need. Text is left out. What is fitted (means, deviations, values) is fitted on the
    training rows of each run, and stored with its weights.
    """

    kind: Literal["uploaded"] = "uploaded"
    id: str = Field(min_length=1, max_length=200)
    """Its id, or its name."""
    target: ColumnName | None = None
    """The column to predict; left out: the one called target, label or y, or else the last one that is not
    text."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """"auto" takes categories, booleans and whole numbers of at most 20 values for classes."""
    features: Items[ColumnName] | None = Field(None, min_length=1, max_length=10_000)
    """The columns to predict from; left out: all but the target and text."""
    missing: Literal["refuse", "drop", "impute"] = "refuse"
    """What becomes of rows with empty cells: the job is refused, they are left out, or a number takes the mean of the
    training rows and a category counts as unseen. Rows without a target can only be left out."""
    image_size: int | None = Field(None, ge=1, le=1_024)
    """Side to which images are reduced, each new pixel the mean of those that it covers; left out: as they are."""
    channels: Literal[1, 3] | None = None
    """Of images: 1 turns colours to gray (0.299 R + 0.587 G + 0.114 B), 3 repeats gray; left out: as they are."""
    found: Found | None = None
    """Filled in by the service, whatever is given here."""

    @property
    def shape(self) -> DatasetShape:
        """Raises ValueError as long as nobody has looked the data set up."""
        if self.found is None:
            raise ValueError(f'only the service knows what the data set "{self.id}" holds')
        found = self.found
        return DatasetShape(found.rows, found.features, found.task, found.outputs, found.grid)


class _Published(_Stored):
    """A published data set, which an installation has once its original files were uploaded."""


class MNIST(_Published):
    """70,000 handwritten digits of 28 × 28 gray pixels (LeCun, Cortes & Burges): the 60,000 of the published training
    file, then the 10,000 of its test file.

    Upload the four original files together; they are recognized by their SHA-256.
    """

    kind: Literal["mnist"] = "mnist"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(70_000, 784, "classification", 10, (1, 28, 28))


class FashionMNIST(_Published):
    """70,000 pictures of clothes in ten classes, 28 × 28 gray pixels (Xiao, Rasul & Vollgraf 2017): the 60,000 of the
    published training file, then the 10,000 of its test file.

    Upload the four original files together; they are recognized by their SHA-256.
    """

    kind: Literal["fashion_mnist"] = "fashion_mnist"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(70_000, 784, "classification", 10, (1, 28, 28))


class CIFAR10(_Published):
    """60,000 colour images of 32 × 32 pixels in ten classes (Krizhevsky 2009): the 50,000 of the published training
    files, then the 10,000 of the test file.

    Upload the original cifar-10-binary.tar.gz; it is recognized by its SHA-256.
    """

    kind: Literal["cifar10"] = "cifar10"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(60_000, 3_072, "classification", 10, (3, 32, 32))


class CIFAR100(_Published):
    """60,000 colour images of 32 × 32 pixels in a hundred classes (Krizhevsky 2009): the 50,000 of the published
    training file, then the 10,000 of the test file.

    Upload the original cifar-100-binary.tar.gz; it is recognized by its SHA-256.
    """

    kind: Literal["cifar100"] = "cifar100"

    @property
    def shape(self) -> DatasetShape:
        return DatasetShape(60_000, 3_072, "classification", 100, (3, 32, 32))


Published = MNIST | FashionMNIST | CIFAR10 | CIFAR100
Stored = Uploaded | Published
