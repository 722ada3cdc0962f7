"""What a network is worth: metrics in evaluation mode, and what it predicts."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.job import JobSpec
from worker.training import losses
from worker.training.batch_norm import RunningAverages
from worker.training.binding import Pass
from worker.training.cohort_data import CohortData
from worker.training.losses import row_sums
from worker.training.networks import Network
from worker.training.split_rows import SplitRows
from worker.training.transformations import NumberInput, Scale, TableTransformation, Transformation

CLEAN_TRAIN_ROWS = 512
"""The clean training metrics are over at most this many training rows, the first ones: a random sample, as the split is
random. All of them would cost more than the training at 200 evaluations a run."""

CHUNK_NUMBERS = 1 << 20
"""Activations of one run held at once during an evaluation."""

GRID_POINTS = 200
PLANE_POINTS = 64
"""Along each of two features."""
PLANE_MARGIN = 0.06
"""How far the plane reaches past the training rows, as a share of their range."""
SNAPSHOT_TRAINING_ROWS = 300
SNAPSHOT_VALIDATION_ROWS = 256


class Evaluator:
    """Evaluates the K rows of `theta` on their own splits, in chunks whose size depends on the spec alone."""

    def __init__(
        self, spec: JobSpec, network: Network, theta: Tensor, averages: RunningAverages | None, data: CohortData
    ) -> None:
        self._network = network
        self._theta = theta
        self._averages = averages
        self._data = data
        self._loss = losses.build(spec)
        per_row = sum(layer.activations for layer in network.layout)
        self._chunk_rows = 1 << max(4, (CHUNK_NUMBERS // per_row).bit_length() - 1)
        self._passes: dict[int, Pass] = {}
        variation = data.validation.targets - data.validation.targets.mean(1, keepdim=True)
        self._variation = row_sums(variation.square_(), 2)

    def measure(self) -> dict[str, NDArray[np.float32]]:
        """The metrics of the parameters as they stand, (K,) each."""
        training = self._score(self._data.training, CLEAN_TRAIN_ROWS)
        validation = self._score(self._data.validation, self._data.validation.shape[1])
        metrics = {
            "clean_train_loss": training[0],
            "validation_loss": validation[0],
            "generalization_gap": validation[0] - training[0],
        }
        if self._data.task == "classification":
            metrics |= {"clean_train_accuracy": training[1], "validation_accuracy": validation[1]}
        else:
            metrics["validation_rmse"] = validation[1].sqrt() * self._target_scale()
            metrics["validation_r2"] = 1 - validation[1] * self._data.validation.targets[0].numel() / self._variation
        metrics["parameter_norm"] = _norms(self._theta)
        return _read(metrics)

    def measure_update(self, gradient: Tensor, before: Tensor) -> dict[str, NDArray[np.float32]]:
        """The metrics of the last update, (K,) each: `before` are the parameters before it, `gradient` its gradient."""
        ratio = _norms(self._theta - before) / _norms(self._theta)
        return _read({"gradient_norm": _norms(gradient), "update_ratio": ratio})

    def _target_scale(self) -> Tensor:
        # In the target's own units, as a mean over its columns has only one.
        scales = self._data.target_scales
        ones = [1.0] * len(self._theta)
        return self._theta.new_tensor([float(s.scale[0]) for s in scales] if scales else ones)

    def _chunks(self, split: SplitRows, rows: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Outputs and targets (K, R, O) of the first `rows` rows, chunk by chunk."""
        rows = min(rows, split.shape[1])
        for start in range(0, rows, self._chunk_rows):
            stop = min(start + self._chunk_rows, rows)
            yield self.predict(split.between(start, stop)), split.targets[:, start:stop]

    def predict(self, inputs: Tensor) -> Tensor:
        """Outputs (K, R, O) for inputs (K, R, F + 1), in a buffer that the next call may overwrite."""
        rows = inputs.shape[1]
        if rows not in self._passes:
            self._passes[rows] = self._network.bind(self._theta, None, rows, self._averages)
        return self._passes[rows].forward(inputs)

    def outputs_of(self, column: int, state: Sequence[Tensor], numbers: NDArray[np.int64]) -> NDArray[Any]:
        """What one run says of rows of the data set, by their numbers; its row of `state` are its parameters.

        Class probabilities, or values in their own units: (R, O).
        """
        theta, *values = (matrix[column : column + 1] for matrix in state)
        averages = None if self._averages is None else self._averages.fixed(column, *values)
        made = self._data.transformations
        said = []
        for start in range(0, len(numbers), self._chunk_rows):
            cells = self._data.rows.cells(numbers[start : start + self._chunk_rows])
            inputs = cells if made is None else made[column].apply(cells)
            rows = torch.from_numpy(np.pad(inputs, ((0, 0), (0, 1)), constant_values=1).astype(np.float32))
            outputs = self._network.bind(theta, None, len(rows), averages).forward(rows.to(theta.device)[None])[0]
            said.append(outputs.softmax(1) if self._data.task == "classification" else outputs.clone())
        values_said: NDArray[Any] = torch.cat(said).cpu().numpy()
        return self._original(self._data.target_scales, column, values_said)

    def _score(self, split: SplitRows, rows: int) -> tuple[Tensor, Tensor]:
        """Mean loss, and the accuracy of classes or the mean squared error of values, (K,) each."""
        loss_sum = score_sum = self._theta.new_zeros(len(self._theta))
        seen = columns = 0
        for outputs, targets in self._chunks(split, rows):
            kept = torch.empty_like(outputs)
            self._loss.keep(outputs, targets, kept)
            loss_sum = loss_sum + self._loss.sums(kept, targets)
            if self._data.task == "classification":
                score = targets.gather(2, outputs.argmax(2, keepdim=True))
            else:
                score = kept.square()
            score_sum = score_sum + row_sums(score, 2)
            seen, columns = seen + outputs.shape[1], score.shape[2]
        return loss_sum / self._loss.terms(seen, columns), score_sum / (seen * columns)

    def snapshots(self) -> list[dict[str, Any]]:
        """What each of the K networks predicts, as plain JSON values."""
        if self._data.training.shape[2] == 2:
            return self._curves()
        units = self._plane_units()
        if units is not None:
            return self._regions(units)
        inputs = self._data.validation.between(0, min(SNAPSHOT_VALIDATION_ROWS, self._data.validation.shape[1]))
        outputs = self._outputs(inputs)
        targets = self._targets(self._data.validation, SNAPSHOT_VALIDATION_ROWS)
        return [{"targets": t, "outputs": _plain(o)} for t, o in zip(targets, outputs, strict=True)]

    def _curves(self) -> list[dict[str, Any]]:
        """The function of one input, on a grid over the range of each run's training rows."""
        x = self._data.training.inputs[..., 0]
        unit = torch.linspace(0, 1, GRID_POINTS, device=x.device)
        low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
        grid = torch.stack([low + (high - low) * unit, torch.ones_like(low) * torch.ones_like(unit)], 2)
        outputs = self._outputs(grid)
        targets = self._targets(self._data.training, SNAPSHOT_TRAINING_ROWS)
        units = self._data.transformations
        contents = []
        for run, target in enumerate(targets):
            rows = x[run, :SNAPSHOT_TRAINING_ROWS].cpu().numpy()
            contents.append(
                {
                    "inputs": _plain(self._original(units, run, grid[run, :, 0].cpu().numpy())),
                    "outputs": _plain(outputs[run].squeeze(-1)),
                    "rows": {
                        "inputs": _plain(self._original(units, run, rows)),
                        "targets": target,
                    },
                }
            )
        return contents

    def _plane_units(self) -> list[Scale] | None:
        """Of each run the units of its two features; None unless they are two numbers that tell classes apart."""
        if self._data.task != "classification" or self._data.training.shape[2] != 3:
            return None
        made = self._data.transformations
        if made is None:
            return [Scale(np.zeros(2, np.float32), np.ones(2, np.float32))] * len(self._theta)
        units = [_scale_of(one) for one in made]
        return [one for one in units if one is not None] if None not in units else None

    def _regions(self, units: Sequence[Scale]) -> list[dict[str, Any]]:
        """Which class each run sees where in the plane, and how surely, on a grid over its training rows."""
        rows = self._data.training.inputs[..., :2]
        unit = torch.linspace(-PLANE_MARGIN, 1 + PLANE_MARGIN, PLANE_POINTS, device=rows.device)
        low, high = rows.amin(1), rows.amax(1)
        ticks = low[:, None] + (high - low)[:, None] * unit[None, :, None]
        across = ticks[:, None, :, 0].expand(-1, PLANE_POINTS, -1)
        upwards = ticks[:, :, None, 1].expand(-1, -1, PLANE_POINTS)
        cells = torch.stack([across, upwards, torch.ones_like(across)], 3).flatten(1, 2)
        chunk = min(self._chunk_rows, CLEAN_TRAIN_ROWS)
        surest = [
            self.predict(cells[:, start : start + chunk]).softmax(2).max(2)
            for start in range(0, PLANE_POINTS**2, chunk)
        ]
        shape = (len(rows), PLANE_POINTS, PLANE_POINTS)
        confidence, classes = (torch.cat(parts, 1).view(shape).cpu().numpy() for parts in zip(*surest, strict=True))
        targets = self._targets(self._data.training, SNAPSHOT_TRAINING_ROWS)
        contents = []
        for run, target in enumerate(targets):
            x, y = units[run].undo(ticks[run].cpu().numpy()).T
            learned = units[run].undo(rows[run, :SNAPSHOT_TRAINING_ROWS].cpu().numpy())
            contents.append(
                {
                    "grid": {"x": _plain(x), "y": _plain(y)},
                    "classes": classes[run].tolist(),
                    "confidence": _plain(confidence[run], 2),
                    "rows": {"inputs": _plain(learned), "targets": target},
                }
            )
        return contents

    def _outputs(self, inputs: Tensor) -> NDArray[Any]:
        """Class probabilities, or values in original units: (K, R, O)."""
        outputs = self.predict(inputs)
        if self._data.task == "classification":
            probabilities: NDArray[Any] = outputs.softmax(2).cpu().numpy()
            return probabilities
        values = outputs.cpu().numpy()
        return np.stack([self._original(self._data.target_scales, run, row) for run, row in enumerate(values)])

    def _targets(self, split: SplitRows, rows: int) -> list[Any]:
        """For each run its classes, or its target values in original units."""
        targets = split.targets[:, :rows].cpu().numpy()
        if self._data.task == "classification":
            return [row.argmax(-1).tolist() for row in targets]
        return [
            _plain(self._original(self._data.target_scales, run, row).squeeze(-1)) for run, row in enumerate(targets)
        ]

    @staticmethod
    def _original(
        scales: Sequence[Scale] | Sequence[Transformation] | None, run: int, values: NDArray[Any]
    ) -> NDArray[Any]:
        return values.copy() if scales is None else scales[run].undo(values)


def _norms(matrix: Tensor) -> Tensor:
    """The Euclidean norm of each row."""
    return row_sums(matrix * matrix).sqrt()


def _read(metrics: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Bring metrics to the host in one transfer."""
    values: NDArray[np.float32] = torch.stack(list(metrics.values())).cpu().numpy()
    return dict(zip(metrics, values, strict=True))


def _scale_of(made: Transformation) -> Scale | None:
    """The change of units that a transformation is; None where it is more than that."""
    match made:
        case Scale():
            return made
        case TableTransformation(columns=(NumberInput() as first, NumberInput() as second)):
            return Scale(
                np.array([first.mean, second.mean], np.float32), np.array([first.scale, second.scale], np.float32)
            )
        case _:
            return None


def _plain(values: NDArray[Any], digits: int = 6) -> Any:
    """Nested lists of numbers with so many significant digits; None where a number is not finite."""
    if values.ndim > 1:
        return [_plain(row, digits) for row in values]
    return [float(f"{value:.{digits}g}") if isfinite(value) else None for value in values.tolist()]
