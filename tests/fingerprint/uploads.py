"""Uploaded data sets of the cases, written to a temporary folder when a case first needs them."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from api.parsing import Limits, Options, parse
from models.spec.uploads import Published, Stored, Uploaded
from tests.datasets import class_folders, passengers
from tests.worker.training.uploads import images
from worker.training.stored import StoredData

TABLE, IMAGES = "table", "images"
"""Ids of the two uploaded data sets: a table with empty cells, and colour images."""

FILES = {TABLE: passengers, IMAGES: class_folders}


class Uploads:
    """Writes uploaded data sets to a folder, once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, StoredData] = {}

    def open(self, dataset: Stored) -> StoredData:
        """Return where the data set of a spec is stored."""
        name = dataset.id if isinstance(dataset, Uploaded) else dataset.kind
        if name not in self._written:
            folder = self._folder / name
            self._written[name] = (
                _parsed(name, folder) if isinstance(dataset, Uploaded) else _random_images(dataset, folder)
            )
        return self._written[name]


def table_rows(count: int) -> list[dict[str, Any]]:
    """Return the first rows of the table, as a client would send them for prediction."""
    return list(csv.DictReader(passengers().decode().splitlines()))[:count]


def _parsed(name: str, folder: Path) -> StoredData:
    """Parse the file of an uploaded data set into a folder, as the API does."""
    folder.mkdir()
    file = folder / "upload"
    file.write_bytes(FILES[name]())
    return StoredData(name, folder, parse(file, folder, Options(), Limits()).description)


def _random_images(dataset: Published, folder: Path) -> StoredData:
    """Write noise in the shape of a published data set, whose own files are not part of the repository."""
    shape = dataset.shape
    block = np.random.default_rng(0).integers(0, 256, (1_000, *shape.grid), dtype=np.uint8)
    labels = [str(row % shape.outputs) for row in range(shape.rows)]
    return images(folder, np.tile(block, (shape.rows // 1_000, 1, 1, 1)), labels)
