"""Predictions over the data, from the snapshots of jobs whose data set has one feature."""

from collections.abc import Sequence
from typing import Any

from api.comparison.history import JobHistory
from api.comparison.report.snapshots import drawn_steps, first_columns

Grid = dict[str, Any]


def predictions(jobs: Sequence[JobHistory]) -> Grid | None:
    """What to draw: rows are snapshot steps, columns are jobs; None without snapshots of one-feature regressions.

    A snapshot's content is `{"inputs": [...], "outputs": [...], "rows": {"inputs": [...], "targets": [...]}}`, where
    rows are some of those that the run learned from. Each seed drew its own; those of the first are drawn.
    """
    with_curves = [job for job in jobs if _is_a_curve(job) and any(job.snapshots.values())]
    columns, left_out = first_columns(with_curves)
    steps = drawn_steps(columns)
    if not steps:
        return None
    return {"steps": steps, "columns": [_column(job, steps) for job in columns], "left_out": left_out}


def _is_a_curve(job: JobHistory) -> bool:
    shape = job.spec.dataset.shape
    return (shape.features, shape.task, shape.outputs) == (1, "regression", 1)


def _column(job: JobHistory, steps: Sequence[int]) -> dict[str, Any]:
    drawn: dict[int, list[dict[str, Any]]] = {step: [] for step in steps}
    data: dict[str, Any] | None = None
    for run in job.runs:
        for step, content in job.snapshots.get(run.run_id, ()):
            data = data or {"x": content["rows"]["inputs"], "y": content["rows"]["targets"]}
            if step in drawn:
                drawn[step].append({"seed": run.seed, "x": content["inputs"], "y": content["outputs"]})
    return {"job_id": job.job_id, "data": data, "curves": [drawn[step] for step in steps]}
