"""Uploaded data sets for tests, laid down as a parser would."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.reading import read
from models.sealing import sealing_order
from models.spec.job import JobSpec
from models.stored import ROWS, TARGETS, Column, ColumnType, Description, Gap, Value
from worker.training.stored import StoredData


def column(name: str, type: ColumnType, cells: Sequence[Any]) -> tuple[Column, NDArray[np.float64]]:
    """A column of values (None where a cell is empty), as it is described and as it is stored."""
    place = np.argsort(sealing_order(len(cells)))
    there = [value for value in cells if value is not None]
    values = None
    if type in ("category", "integer", "boolean"):
        known = sorted(set(there), key=None if type == "integer" else str)
        values = tuple(
            Value(
                value=str(value).lower() if type == "boolean" else str(value),
                count=there.count(value),
                last_sealed=1 + max(int(place[row]) for row, cell in enumerate(cells) if cell == value),
            )
            for value in known
        )
    stored = [
        np.nan if cell is None or type == "text" else known.index(cell) if type == "category" else float(cell)
        for cell in cells
    ]
    described = Column(name=name, type=type, missing=len(cells) - len(there), distinct=len(set(there)), values=values)
    return described, np.array(stored)


def table(folder: Path, columns: Mapping[str, tuple[ColumnType, Sequence[Any]]]) -> StoredData:
    """A table of these columns, stored in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [column(name, type, cells) for name, (type, cells) in columns.items()]
    cells = np.stack([stored for _, stored in made], 1)
    np.save(folder / ROWS, cells)
    empty = np.stack([np.array([cell is None for cell in cells]) for _, cells in columns.values()], 1)
    patterns, counts = np.unique(empty, axis=0, return_counts=True)
    gaps = tuple(
        Gap(columns=tuple(np.flatnonzero(pattern).tolist()), rows=int(count))
        for pattern, count in zip(patterns, counts, strict=True)
        if pattern.any()
    )
    described = Description(
        format="csv",
        layout="table",
        rows=len(cells),
        columns=tuple(one for one, _ in made),
        gaps=gaps,
        sizes={ROWS: (folder / ROWS).stat().st_size},
    )
    return StoredData(f"dataset_{folder.name}", folder, described)


def images(folder: Path, pixels: NDArray[np.uint8], labels: Sequence[str]) -> StoredData:
    """Images (N, C, H, W), stored in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    described, targets = column("label", "category", labels)
    np.save(folder / ROWS, pixels.reshape(len(pixels), -1))
    np.save(folder / TARGETS, targets)
    description = Description(
        format="images",
        layout="grid",
        rows=len(pixels),
        columns=(described,),
        grid=pixels.shape[1:],
        numbers="uint8",
        sizes={file: (folder / file).stat().st_size for file in (ROWS, TARGETS)},
    )
    return StoredData(f"dataset_{folder.name}", folder, description)


def settled(data: StoredData, dataset: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """A spec that reads the data, as the service would fill it in."""
    asked = {"kind": "uploaded", "id": data.id} | (dataset or {})
    spec = JobSpec.model_validate({"dataset": asked, "optimizer": "adam", "budget": {"steps": 60}} | changes)
    found = read(data.description, spec.dataset, spec.evaluation).found  # type: ignore[arg-type]
    return JobSpec.model_validate(spec.model_dump(mode="json") | {"dataset": asked | {"found": found.model_dump()}})
