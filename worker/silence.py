"""For how long a cohort in good health may report nothing: while it reads its data, takes a large step, evaluates."""

from collections.abc import Sequence

from models.spec.job import JobSpec
from models.spec.plan import layout, plan

BYTES_A_SECOND = 20e6
"""At which data are read and prepared, at the slowest."""
FLOPS_A_SECOND = 2e8
"""At which a step or an evaluation is computed, at the slowest."""


def longest_silence(specs: Sequence[JobSpec]) -> float:
    """Seconds that the largest undivided piece of a cohort's work may take."""
    counted = plan(specs[0])
    per_row = 6.0 * sum(layer.multiplications for layer in layout(specs[0]))
    step = per_row * counted.batch_rows
    evaluation = per_row * (counted.validation_rows + counted.training_rows)
    return len(specs) * (counted.memory_bytes / BYTES_A_SECOND + (step + evaluation) / FLOPS_A_SECOND)
