"""What a reader should know before believing a comparison, each in one sentence."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from api.comparison.history import JobHistory
from api.comparison.result import Curve
from api.comparison.significance import seeds_needed
from api.comparison.wording import count, metric_words
from models.status import RunStatus


def cautions(
    jobs: Sequence[JobHistory], names: Mapping[str, str], curves: Sequence[Curve], metric: str, family: int
) -> list[str]:
    """Warnings about the runs first, then about the question. `family` is how many tests share the 5 %."""
    return [
        *_runs(jobs, names),
        *_gaps(jobs, names, curves, metric),
        *_seeds(jobs, names, family),
        *_fairness(jobs, names),
    ]


def _runs(jobs: Sequence[JobHistory], names: Mapping[str, str]) -> Iterator[str]:
    for job in jobs:
        name, total = f'"{names[job.job_id]}"', len(job.runs)
        diverged = [run.seed for run in job.runs if run.diverged]
        waiting = [run.seed for run in job.runs if not run.is_terminal]
        lost = [
            run.seed for run in job.runs if run.status in (RunStatus.FAILED, RunStatus.CANCELLED) and not run.diverged
        ]
        if diverged:
            yield (
                f"{name}: {len(diverged)} of {count(total, 'run')} diverged (seed {seed_list(diverged)}); "
                "they are in no mean, and lose every pair that they stand in."
            )
        if waiting:
            yield (
                f"{name}: {len(waiting)} of {count(total, 'run')} not finished (seed {seed_list(waiting)}); "
                "the scores leave them out so far."
            )
        if lost:
            yield (
                f"{name}: {len(lost)} of {count(total, 'run')} failed or cancelled (seed {seed_list(lost)}); "
                "the scores leave them out, and the rest may be a biased sample."
            )


def _gaps(jobs: Sequence[JobHistory], names: Mapping[str, str], curves: Sequence[Curve], metric: str) -> Iterator[str]:
    for job in jobs:
        series = [run.series[metric] for run in job.runs if metric in run.series and not run.diverged]
        if missing := sum(int(np.count_nonzero(~np.isfinite(one.values))) for one in series):
            yield (
                f'"{names[job.job_id]}": {count(missing, "value")} of {metric_words(metric)} not finite in runs that '
                "went on; the means leave them out."
            )
    for one in curves:
        if not one.x:
            yield f'"{names[one.job_id]}" has no points of {metric_words(metric)} to draw.'


def _seeds(jobs: Sequence[JobHistory], names: Mapping[str, str], family: int) -> Iterator[str]:
    if len(jobs) < 2:
        return
    if len({tuple(job.seeds) for job in jobs}) > 1:
        each = "; ".join(f'"{names[job.job_id]}" {seed_list(job.seeds)}' for job in jobs)
        yield f"The jobs do not have the same seeds: {each}. Only seeds that two jobs share make pairs."
    common = set(jobs[0].seeds).intersection(*(job.seeds for job in jobs))
    needed = seeds_needed(max(1, family))
    if len(common) < needed:
        yield (
            f"{count(len(common), 'common seed')}: too few for an exact test at 5 % over "
            f"{count(max(1, family), 'comparison')}, which takes at least {needed}."
        )


def _fairness(jobs: Sequence[JobHistory], names: Mapping[str, str]) -> Iterator[str]:
    optimizers = {job.spec.optimizer.kind for job in jobs}
    rates = {job.spec.optimizer.learning_rate for job in jobs}
    if len(optimizers) > 1 and len(rates) == 1:
        yield (
            f"All optimizers share the learning rate {rates.pop():g}: one shared rate decides rankings "
            "(Choi et al. 2019). Give each its own from a grid before concluding."
        )
    for what, of in _MUST_AGREE.items():
        if len({repr(of(job)) for job in jobs}) > 1:
            yield f"The jobs differ in {what}."
    shared = Counter(job.spec.spec_hash for job in jobs)
    for spec_hash, times in shared.items():
        if times > 1:
            same = [f'"{names[job.job_id]}"' for job in jobs if job.spec.spec_hash == spec_hash]
            yield f"{' and '.join(same)} have the same spec: any difference between them is not the spec's."


_MUST_AGREE: dict[str, Callable[[JobHistory], Any]] = {
    "dataset: their scores are not on one scale": lambda job: job.spec.dataset,
    "loss function: losses are not on one scale": lambda job: job.spec.loss,
    "how rows are split: the same seed does not mean the same rows": lambda job: job.spec.evaluation,
    "budget: one had more training than another": lambda job: job.spec.budget,
}


def seed_list(seeds: Sequence[int]) -> str:
    """Runs of neighbours become ranges: "0–4, 7"."""
    parts = []
    for _, group in groupby(enumerate(sorted(seeds)), key=lambda pair: pair[1] - pair[0]):
        run = [seed for _, seed in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}")
    return ", ".join(parts)
