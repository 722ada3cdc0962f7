"""Which snapshots a page has room for."""

from collections.abc import Sequence

from api.comparison.history import JobHistory

MAX_ROWS = 6
MAX_COLUMNS = 12


def drawn_steps(jobs: Sequence[JobHistory]) -> list[int]:
    """The steps of the jobs' snapshots; of many the first, the last and evenly many between them."""
    steps = sorted({step for job in jobs for taken in job.snapshots.values() for step, _ in taken})
    if len(steps) <= MAX_ROWS:
        return steps
    last = len(steps) - 1
    return [steps[round(row * last / (MAX_ROWS - 1))] for row in range(MAX_ROWS)]


def first_columns(jobs: Sequence[JobHistory]) -> tuple[Sequence[JobHistory], int]:
    """The jobs that are drawn, and how many are not."""
    return jobs[:MAX_COLUMNS], max(0, len(jobs) - MAX_COLUMNS)
