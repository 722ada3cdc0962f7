"""What a trained network says of every row that it may see: the matter of ensembles, folds and replicates."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec.datasets import Dataset, Polynomial, Sine
from worker.training.datasets import Rows
from worker.training.splits import Split
from worker.training.stored import StoredRows
from worker.training.synthetic import truth

Arrays = Mapping[str, NDArray[Any]]


def predictions(
    dataset: Dataset,
    whole: Rows | StoredRows,
    split: Split,
    outputs: Callable[[NDArray[np.int64]], NDArray[Any]],
) -> Arrays:
    """Predictions for the rows that train or validate, in the order of their numbers; never for a sealed row.

    Args:
        dataset: what the rows belong to.
        whole: the rows.
        split: the run's own.
        outputs: of rows by their numbers (R,): shares of the classes, or values in their own units, (R, O).

    Returns:
        `rows` (R,), `outputs` (R, O), `targets` (R,), the class or the value; `drawn` (R,), how often the row was
        trained on; `validates` (R,), 0 or 1; and `truth` (R,), the value without noise, where the data set knows it.

    """
    rows = np.sort(np.concatenate([split.pool, split.validation]))
    said: dict[str, NDArray[Any]] = {
        "rows": rows,
        "outputs": outputs(rows).astype(np.float32),
        "drawn": np.bincount(split.training, minlength=len(whole))[rows].astype(np.int32),
        "validates": np.isin(rows, split.validation).astype(np.uint8),
    }
    if dataset.shape.task == "classification":
        return said | {"targets": whole.classes[rows]}
    said["targets"] = whole.targets_of(rows)[:, 0]
    if isinstance(dataset, Sine | Polynomial):
        said["truth"] = truth(dataset, whole.cells(rows)[:, 0])
    return said
