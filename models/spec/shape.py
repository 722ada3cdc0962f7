"""What is known of a data set before it is loaded."""

from dataclasses import dataclass
from typing import Literal

Task = Literal["regression", "classification"]


@dataclass(frozen=True)
class DatasetShape:
    """Rows and columns, as a network will see them."""

    rows: int
    features: int
    task: Task
    outputs: int
    """Classes of a classification, target columns of a regression."""
    grid: tuple[int, ...] = ()
    """How the features lie beside each other: (channels, height, width) of an image, (channels, length) of a series;
    empty where their order means nothing."""
