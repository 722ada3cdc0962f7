"""Decision regions over the data, from the snapshots of jobs that tell classes apart by two numbers."""

from collections.abc import Sequence
from typing import Any

from api.comparison.history import JobHistory
from api.comparison.report.snapshots import drawn_steps, first_columns

Grid = dict[str, Any]


def regions(jobs: Sequence[JobHistory]) -> Grid | None:
    """What to draw: rows are snapshot steps, columns are jobs, each by its first run that has snapshots of a plane.

    A snapshot's content is `{"grid": {"x": [...], "y": [...]}, "classes": [[...]], "confidence": [[...]], "rows":
    {"inputs": [[x, y], ...], "targets": [...]}}`, where rows are some of those that the run learned from. Confidence
    is drawn in whole percent.
    """
    seen = [(job, _first_planes(job)) for job in jobs]
    with_planes = [job for job, planes in seen if planes]
    columns, left_out = first_columns(with_planes)
    steps = drawn_steps(columns)
    if not steps:
        return None
    planes = {job.job_id: taken for job, taken in seen}
    return {
        "steps": steps,
        "classes": max(job.spec.dataset.shape.outputs for job in columns),
        "columns": [_column(job, planes[job.job_id], steps) for job in columns],
        "left_out": left_out,
    }


def _first_planes(job: JobHistory) -> tuple[int, dict[int, dict[str, Any]]] | None:
    """Seed and contents, by step, of the first run that has any."""
    for run in job.runs:
        planes = {step: content for step, content in job.snapshots.get(run.run_id, ()) if "grid" in content}
        if planes:
            return run.seed, planes
    return None


def _column(
    job: JobHistory, taken: tuple[int, dict[int, dict[str, Any]]] | None, steps: Sequence[int]
) -> dict[str, Any]:
    assert taken is not None
    seed, planes = taken
    content = next(iter(planes.values()))
    rows = content["rows"]
    return {
        "job_id": job.job_id,
        "seed": seed,
        "x": content["grid"]["x"],
        "y": content["grid"]["y"],
        "data": {"points": rows["inputs"], "classes": rows["targets"]},
        "planes": [_plane(planes[step]) if step in planes else None for step in steps],
    }


def _plane(content: dict[str, Any]) -> dict[str, Any]:
    percent = [[None if one is None else round(100 * one) for one in line] for line in content["confidence"]]
    return {"classes": content["classes"], "percent": percent}
