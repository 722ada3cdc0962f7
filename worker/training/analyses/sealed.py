"""What trained networks are worth on the sealed rows: measured once somebody opens the test, never in training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.spec.job import JobSpec
from worker.training import losses
from worker.training.analyses.findings import Findings, NotAnalysable
from worker.training.analyses.networks import TrainedRun
from worker.training.analyses.objective import Objective, of_rows
from worker.training.analyses.subjects import ABOUT, Subjects, as_alone, in_groups
from worker.training.randomness import Member
from worker.training.splits import Round, test_rows
from worker.training.stored import StoredData
from worker.training.transformations import Scale, Transformation

CHUNK_NUMBERS = 1 << 24
"""Inputs held at once."""


@dataclass(frozen=True)
class Sealed:
    """Of one run."""

    findings: Findings
    arrays: dict[str, NDArray[Any]]
    """`rows` (R,), numbers of the sealed rows; `outputs` (R, O), class probabilities or values in their own units;
    `targets` (R,), the class or the value. Rows and targets are the same for every run on a data set."""


def measure_sealed(
    specs: Sequence[JobSpec],
    members: Sequence[Member],
    weights: Sequence[TrainedRun],
    *,
    rounds: Sequence[Round | None] | None = None,
    stored: StoredData | None = None,
    streams: bool = False,
) -> list[Sealed]:
    """`test_loss` of each run, as evaluations count it, and `test_accuracy` or `test_rmse`, in the target's own units.

    Inputs are made as in training, by what was fitted on each run's own training rows. A round of boosting is measured
    as if it stood alone: what the rounds come to together is worked out from their outputs.

    Raises:
        NotAnalysable: if the spec seals no rows.

    """
    if not specs[0].evaluation.test:
        raise NotAnalysable("the spec seals no rows, as its test share is 0: there is nothing to open")
    with as_alone(specs[0]):
        return [
            one
            for subjects in in_groups(specs, members, weights, rounds, stored, streams)
            for one in _of_group(subjects)
        ]


def _of_group(subjects: Subjects) -> list[Sealed]:
    data, spec = subjects.data, subjects.specs[0]
    numbers = test_rows(len(data.rows), spec.evaluation)
    targets = data.rows.targets_of(numbers)
    units: Sequence[Scale | None] = data.target_scales or [None] * len(subjects.specs)
    learned = torch.from_numpy(np.stack([targets if unit is None else unit.apply(targets) for unit in units]))
    said = _outputs(subjects, numbers, learned)
    loss = of_rows(losses.build(spec), said, learned).mean(1)
    about = {"split": "test", "rows": len(numbers), **ABOUT}
    found = []
    for run, unit in enumerate(units):
        values = {"test_loss": float(loss[run])}
        outputs: NDArray[Any] = said[run].numpy()
        if data.task == "classification":
            outputs, labels = said[run].softmax(1).numpy(), targets.argmax(1)
            values["test_accuracy"] = float((outputs.argmax(1) == labels).mean())
        else:
            outputs, labels = outputs if unit is None else unit.undo(outputs), targets[:, 0]
            values["test_rmse"] = float(np.sqrt(((outputs - targets) ** 2).mean()))
        arrays = {"rows": numbers, "outputs": outputs.astype(np.float32), "targets": labels}
        found.append(Sealed(Findings(values, about), arrays))
    return found


def _outputs(subjects: Subjects, numbers: NDArray[np.int64], targets: Tensor) -> Tensor:
    """What each run says of rows of the data set, by their numbers: (K, R, O) in the units of training."""
    data, runs = subjects.data, len(subjects.specs)
    step = max(1, CHUNK_NUMBERS // (runs * subjects.specs[0].dataset.shape.features))
    said = []
    for start in range(0, len(numbers), step):
        part = slice(start, start + step)
        cells = data.rows.cells(numbers[part])
        made: Sequence[Transformation | None] = data.transformations or [None] * runs
        # The engine has its inputs in float32.
        inputs = np.stack([cells if one is None else one.apply(cells) for one in made]).astype(np.float32)
        on_rows = Objective(
            subjects.specs[0],
            subjects.network,
            subjects.weights,
            torch.from_numpy(inputs).double(),
            targets[:, part],
        )
        said.append(on_rows.outputs())
    return torch.cat(said, 1)
