"""The scores of a run and of a job: last, best, and the step of the best."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from api.comparison.estimate import Estimate
from api.comparison.history import JobHistory, RunHistory
from api.comparison.intervals import mean_interval
from api.comparison.pairing import members_share_rows, overlap, seed_means
from api.comparison.result import SeedScore, TableRow
from api.comparison.targets import steps_to_target

Direction = Literal["lower", "higher"] | None


def seed_score(run: RunHistory, metric: str, better: Direction) -> SeedScore:
    """Last and best finite value of a metric; no best where the metric has no direction.

    Of several equal bests the earliest counts.
    """
    last = best = best_step = None
    series = run.series.get(metric)
    if series is not None:
        where = np.flatnonzero(np.isfinite(series.values))
        values, steps = series.values[where], series.steps[where]
        if len(values):
            last = float(values[-1])
            if better is not None:
                index = int(values.argmin() if better == "lower" else values.argmax())
                best, best_step = float(values[index]), int(steps[index])
    return SeedScore(
        run_id=run.run_id,
        seed=run.seed,
        member=run.member,
        status=run.status,
        status_reason=run.status_reason,
        counted=run.succeeded and last is not None,
        last=last,
        best=best,
        best_step=best_step,
    )


def table_row(job: JobHistory, metric: str, better: Direction, target: float | None, confidence: float) -> TableRow:
    """A job's scores: means with t intervals over the runs that succeeded, and every run's own.

    Where the runs of a seed share their rows, a seed counts once, by the mean over its members, if all of them
    succeeded; the intervals of folds allow for the rows that folds share (Nadeau & Bengio 2003).
    """
    scores = [seed_score(run, metric, better) for run in job.runs]
    together, shared = members_share_rows(job), overlap(job)

    def estimate(values: Iterable[float | int | None]) -> Estimate:
        found = [(one.seed, value if one.counted else None) for one, value in zip(scores, values, strict=True)]
        counted = seed_means(found) if together else [value for _, value in found if value is not None]
        return Estimate.of(mean_interval(counted, confidence, shared))

    return TableRow(
        job_id=job.job_id,
        last=estimate(score.last for score in scores),
        best=estimate(score.best for score in scores),
        best_step=estimate(score.best_step for score in scores),
        runs=scores,
        steps_to_target=steps_to_target(job, metric, target, better) if target is not None and better else None,
    )
