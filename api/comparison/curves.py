"""One metric over the runs of a job: its mean and interval along an axis."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from api.comparison.align import Axis, Line, align, along
from api.comparison.downsample import kept_points
from api.comparison.estimate import finite
from api.comparison.history import JobHistory
from api.comparison.intervals import mean_bands
from api.comparison.pairing import grouped_by_seed, members_share_rows, overlap
from api.comparison.result import Curve, DivergedRun


def curve(job: JobHistory, metric: str, axis: Axis, max_points: int, confidence: float) -> Curve:
    """Mean ± t interval over the job's runs that did not diverge, thinned to `max_points`.

    A run counts only where it exists, so `n` falls where runs ended early. Where the runs of a seed share their rows,
    mean and interval are over the seeds' means. Thinning keeps the first point, the last and every extreme of the mean.
    """
    work = job.plan
    averaged: list[Line] = []
    seeds: list[int] = []
    diverged: list[DivergedRun] = []
    for run in job.runs:
        series = run.series.get(metric)
        line = along(axis, run, series, work) if series is not None else (np.empty(0), np.empty(0))
        if run.diverged:
            place, value = _last_finite(line)
            diverged.append(DivergedRun(run_id=run.run_id, seed=run.seed, member=run.member, x=place, value=value))
        elif len(line[0]):
            averaged.append(line)
            seeds.append(run.seed)
    x, values, interpolated = align(averaged)
    units = _seed_means(values, seeds) if members_share_rows(job) else values
    bands = mean_bands(units, confidence, overlap(job))
    kept = kept_points(bands.mean, max_points)
    return Curve(
        job_id=job.job_id,
        x=x[kept].tolist(),
        mean=_column(bands.mean[kept]),
        lower=_column(bands.lower[kept]),
        upper=_column(bands.upper[kept]),
        n=np.isfinite(values[:, kept]).sum(axis=0).tolist(),
        total=len(x),
        interpolated=interpolated,
        diverged=diverged,
    )


def _seed_means(values: NDArray[np.float64], seeds: Sequence[int]) -> NDArray[np.float64]:
    """(runs, P) to (seeds, P): the mean over the members of a seed that have a finite value."""
    rows = grouped_by_seed(zip(seeds, values, strict=True)).values()
    means = [mean_bands(np.stack(members), 0.5).mean for members in rows]
    return np.stack(means) if means else values


def _last_finite(line: Line) -> tuple[float | None, float | None]:
    x, values = line
    where = np.flatnonzero(np.isfinite(values))
    return (float(x[where[-1]]), float(values[where[-1]])) if len(where) else (None, None)


def _column(values: NDArray[np.float64]) -> list[float | None]:
    column: list[float | None] = values.tolist()
    return column if np.isfinite(values).all() else [finite(value) for value in column]
