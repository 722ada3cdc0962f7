"""One metric over the runs of a job: its mean and interval along an axis."""

import numpy as np
from numpy.typing import NDArray

from api.comparison.align import Axis, Line, align, along
from api.comparison.downsample import kept_points
from api.comparison.history import JobHistory
from api.comparison.intervals import mean_bands
from api.comparison.result import Curve, DivergedRun, finite
from models.spec.plan import plan


def curve(job: JobHistory, metric: str, axis: Axis, max_points: int, confidence: float) -> Curve:
    """Mean ± t interval over the job's runs that did not diverge, thinned to `max_points`.

    A run counts only where it exists, so `n` falls where runs ended early. Thinning keeps the first point, the last and
    every extreme of the mean.
    """
    work = plan(job.spec)
    averaged: list[Line] = []
    diverged: list[DivergedRun] = []
    for run in job.runs:
        series = run.series.get(metric)
        line = along(axis, run, series, work) if series is not None else (np.empty(0), np.empty(0))
        if run.diverged:
            place, value = _last_finite(line)
            diverged.append(DivergedRun(run_id=run.run_id, seed=run.seed, x=place, value=value))
        else:
            averaged.append(line)
    x, values, interpolated = align(averaged)
    bands = mean_bands(values, confidence)
    kept = kept_points(bands.mean, max_points)
    return Curve(
        job_id=job.job_id,
        x=x[kept].tolist(),
        mean=_column(bands.mean[kept]),
        lower=_column(bands.lower[kept]),
        upper=_column(bands.upper[kept]),
        n=bands.n[kept].tolist(),
        total=len(x),
        interpolated=interpolated,
        diverged=diverged,
    )


def _last_finite(line: Line) -> tuple[float | None, float | None]:
    x, values = line
    where = np.flatnonzero(np.isfinite(values))
    return (float(x[where[-1]]), float(values[where[-1]])) if len(where) else (None, None)


def _column(values: NDArray[np.float64]) -> list[float | None]:
    return [finite(value) for value in values.tolist()]
