"""Estimate the size of the files that a run leaves in storage."""

from models.spec.evaluation import Holdout
from models.spec.job import JobSpec
from models.spec.optimizers import SAM
from models.spec.plan import Plan, layout, optimizer_matrices
from models.spec.regularizers import EarlyStopping
from models.spec.uploads import Uploaded

HEADER_BYTES = 2_048
"""Allowance for the names, shapes and metadata of the tensors in one file."""
COLUMN_BYTES = 128
"""Allowance for the description of one input from a column of an uploaded table."""


def run_bytes(spec: JobSpec, plan: Plan) -> int:
    """Return the bytes that one run leaves: its weights, its predictions and its last checkpoint.

    An upper estimate: a run that stops early keeps no checkpoint, and one that fails keeps no weights.
    """
    return _weights(spec) + _predictions(spec, plan) + _checkpoint(spec)


def _state(spec: JobSpec) -> int:
    """Return the bytes of the parameters and of the running averages of batch normalization."""
    return 4 * sum(layer.parameters + layer.statistics for layer in layout(spec))


def _weights(spec: JobSpec) -> int:
    # The weights come with what turns raw rows into inputs: means and scales, or a description of the columns.
    input_bytes = COLUMN_BYTES if isinstance(spec.dataset, Uploaded) and not spec.dataset.shape.grid else 8
    inputs = input_bytes * spec.dataset.shape.features + 8 * spec.dataset.shape.outputs
    return _state(spec) + inputs + HEADER_BYTES


def _predictions(spec: JobSpec, plan: Plan) -> int:
    """Return the bytes of the predictions, which are kept where an evaluation combines several runs."""
    if isinstance(spec.evaluation, Holdout):
        return 0
    # rows (int64), outputs (float32 each), drawn (int32), validates (uint8), targets and truth (at most 8 bytes each)
    row = 8 + 4 * spec.dataset.shape.outputs + 4 + 1 + 8 + 8
    return row * (plan.training_rows + plan.validation_rows) + HEADER_BYTES


def _checkpoint(spec: JobSpec) -> int:
    """Return the bytes of the run's share in the last checkpoint of its cohort."""
    # SAM changes the gradient only: its state is that of the base optimizer.
    optimizer = spec.optimizer.base if isinstance(spec.optimizer, SAM) else spec.optimizer
    keeps_best = any(isinstance(part, EarlyStopping) and part.restore_best for part in spec.regularizers)
    return _state(spec) * (1 + optimizer_matrices(optimizer) + keeps_best) + HEADER_BYTES
