"""Data sets that were uploaded: opened from this machine's disk, and read row by row."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.reading import read
from models.spec.job import JobSpec
from models.spec.uploads import Stored, Uploaded
from models.stored import ROWS, TARGETS, Description
from worker.training.synthetic import Floats
from worker.training.transformations import Cells, Transformation, fit_grid, fit_table

CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class StoredData:
    """Where an uploaded data set lies on this machine, and what it is."""

    id: str
    folder: Path
    description: Description = field(compare=False)


@lru_cache(maxsize=16)
def _mapped(data: StoredData) -> tuple[Cells, Cells | None]:
    """The cells, and the targets of a grid: mapped, so that what does not fit in memory stays on disk."""
    cells = np.load(data.folder / ROWS, mmap_mode="r", allow_pickle=False)
    if data.description.layout == "table":
        return cells, None
    return cells, np.load(data.folder / TARGETS, mmap_mode="r", allow_pickle=False)


class StoredRows:
    """The rows of an uploaded data set, as one spec reads them."""

    def __init__(self, spec: JobSpec, data: StoredData) -> None:
        """Raises PlanError if the spec cannot read the data so."""
        dataset = spec.dataset
        if not isinstance(dataset, Stored):
            raise ValueError(f'the data set "{dataset.kind}" comes with Descent: it is not stored')
        # A published set is read as the spec of any upload would read it by default.
        asked = dataset if isinstance(dataset, Uploaded) else Uploaded(id=data.id)
        self._description = data.description
        self._standardize = dataset.standardize
        self._reading = reading = read(data.description, asked, spec.evaluation)
        self._cells, targets = _mapped(data)
        self._kept = self._complete() if reading.drops_rows else None
        labels = self._cells[:, reading.target_place] if targets is None else targets
        values = np.array(labels if self._kept is None else labels[self._kept], np.float64)
        self._outputs = len(reading.classes)
        self._labels = values if reading.task == "regression" else self._numbered(values)

    def __len__(self) -> int:
        return len(self._labels)

    def _complete(self) -> NDArray[np.int64]:
        """Numbers of the stored rows that have every cell that is used."""
        used = [self._reading.target_place, *(feature.place for feature in self._reading.features)]
        whole = [
            start + np.flatnonzero(~np.isnan(self._cells[start : start + CHUNK_ROWS, used]).any(1))
            for start in range(0, len(self._cells), CHUNK_ROWS)
        ]
        return np.concatenate(whole)

    def _numbered(self, values: Floats) -> NDArray[np.int64]:
        """The class of each row, from 0."""
        if self._reading.target.type == "integer":
            return np.searchsorted(np.array([int(name) for name in self._reading.classes]), values).astype(np.int64)
        return values.astype(np.int64)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Of a classification: the class of each row."""
        return self._labels.astype(np.int64)

    def cells(self, rows: NDArray[np.int64]) -> Cells:
        """The cells of these rows, read from disk: (R, columns)."""
        return np.take(self._cells, rows if self._kept is None else self._kept[rows], axis=0)

    def targets_of(self, rows: NDArray[np.int64]) -> Floats:
        """(R, O): values, or one-hot classes."""
        if not self._outputs:
            return np.asarray(self._labels[rows, None], np.float64)
        columns = np.zeros((len(rows), self._outputs))
        columns[np.arange(len(rows)), self._labels[rows]] = 1
        return columns

    def fit(self, rows: NDArray[np.int64]) -> Transformation:
        """What makes the inputs of a network from the cells, fitted on these rows alone."""
        description = self._description
        if description.layout == "table":
            return fit_table(
                self._reading.features, description.columns, self.cells, rows, standardize=self._standardize
            )
        return fit_grid(
            description.grid,
            self._reading.grid,
            self.cells,
            rows,
            pixels=description.numbers == "uint8",
            standardize=self._standardize,
        )

    @property
    def standardizes_targets(self) -> bool:
        return self._standardize and self._reading.task == "regression"

    def described_target(self) -> dict[str, Any]:
        """What the outputs of a network mean, as plain JSON values."""
        return {"name": self._reading.target.name, "classes": list(self._reading.classes)}
