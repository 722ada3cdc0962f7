"""A trained network by itself: from the weights that a run left to what it says of raw rows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.plan import prediction_numbers
from models.spec.regularizers import BatchNorm
from worker.training import networks
from worker.training.batch_norm import RunningAverages
from worker.training.raw_rows import grid_cells, table_cells
from worker.training.transformations import Cells, Scale, TableTransformation, transformation_from

CHUNK_ROWS = 256
CHUNK_NUMBERS = 2**25
"""Inputs and activations that are in memory at once: 128 MiB."""


@dataclass(frozen=True)
class Said:
    """What a network says of rows: class probabilities, or values in their own units, (R, O)."""

    outputs: NDArray[np.float64]
    target: str
    classes: list[str]
    """Empty for a regression."""


class Predictor:
    """One run's network, with the transformation that was fitted for it."""

    def __init__(self, spec: JobSpec, tensors: Mapping[str, NDArray[np.float32]], header: str | None) -> None:
        """`tensors` and `header` are those of its weights: see `models.tables.DATASET`."""
        self._spec = spec
        self._network = networks.build(spec)
        self._theta, averages = self._network.rows(tensors)
        self._chunk_rows = max(1, min(CHUNK_ROWS, CHUNK_NUMBERS // prediction_numbers(spec)))
        self._averages = None
        if averages is not None:
            rules = [rule for rule in spec.regularizers if isinstance(rule, BatchNorm)] or [BatchNorm()]
            self._averages = RunningAverages(rules, averages[0]).fixed(0, averages)
        told: dict[str, Any] = {} if header is None else json.loads(header)
        self._transformation = transformation_from(told["inputs"]) if told else _scale(tensors, "input")
        self._target_scale = _scale(tensors, "target")
        self._numbers = int(np.prod(told["inputs"]["stored"])) if told.get("inputs", {}).get("stored") else None
        shape = spec.dataset.shape
        classes = [str(number) for number in range(shape.outputs)] if shape.task == "classification" else []
        self._target = told.get("target", {"name": "target", "classes": classes})

    @property
    def parameter_bytes(self) -> int:
        return self._theta.nbytes

    def predict(self, rows: Sequence[Any]) -> Said:
        """What the network says of raw rows: objects of a table's columns, or lists of numbers.

        Raises:
            RefusedRow: if a row does not fit the data set that the run was trained on.

        """
        cells = self._cells(rows)
        with torch.inference_mode():
            step = self._chunk_rows
            said = [self._outputs(cells[start : start + step]) for start in range(0, len(cells), step)]
        outputs = torch.cat(said).numpy().astype(np.float64)
        if not self._target["classes"] and self._target_scale is not None:
            outputs = self._target_scale.undo(outputs)
        return Said(outputs, self._target["name"], list(self._target["classes"]))

    def _cells(self, rows: Sequence[Any]) -> Cells:
        if isinstance(self._transformation, TableTransformation):
            return table_cells(rows, self._transformation.columns)
        return grid_cells(rows, self._numbers or self._spec.dataset.shape.features)

    def _outputs(self, cells: Cells) -> Tensor:
        inputs = cells if self._transformation is None else self._transformation.apply(cells)
        joined = torch.ones(len(inputs), inputs.shape[1] + 1)
        joined[:, :-1] = torch.from_numpy(inputs)
        outputs = self._network.bind(self._theta, None, len(joined), self._averages).forward(joined[None])[0]
        return outputs.softmax(1) if self._target["classes"] else outputs.clone()


def _scale(tensors: Mapping[str, NDArray[np.float32]], name: str) -> Scale | None:
    if f"{name}_mean" not in tensors:
        return None
    return Scale(tensors[f"{name}_mean"], tensors[f"{name}_scale"])
