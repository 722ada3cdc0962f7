"""What a trained network says of every row that it may see: the matter of ensembles, folds and replicates."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec.datasets import Dataset, Polynomial, Sine
from worker.training.datasets import load
from worker.training.splits import Split
from worker.training.synthetic import Floats, truth

Arrays = Mapping[str, NDArray[Any]]


def predictions(dataset: Dataset, split: Split, outputs: Callable[[Floats], Floats]) -> Arrays:
    """Predictions for the rows that train or validate, in the order of their numbers; never for a sealed row.

    Args:
        dataset: what the rows belong to.
        split: the run's own.
        outputs: of inputs (R, F) in the data's own units: shares of the classes, or values in their own units, (R, O).

    Returns:
        `rows` (R,), `outputs` (R, O), `targets` (R,), the class or the value; `drawn` (R,), how often the row was
        trained on; `validates` (R,), 0 or 1; and `truth` (R,), the value without noise, where the data set knows it.

    """
    whole = load(dataset)
    rows = np.sort(np.concatenate([split.pool, split.validation]))
    said: dict[str, NDArray[Any]] = {
        "rows": rows,
        "outputs": outputs(whole.inputs[rows]).astype(np.float32),
        "drawn": np.bincount(split.training, minlength=len(whole.inputs))[rows].astype(np.int32),
        "validates": np.isin(rows, split.validation).astype(np.uint8),
    }
    if dataset.shape.task == "classification":
        return said | {"targets": whole.targets[rows].argmax(1)}
    said["targets"] = whole.targets[rows, 0]
    if isinstance(dataset, Sine | Polynomial):
        said["truth"] = truth(dataset, whole.inputs[rows, 0])
    return said
