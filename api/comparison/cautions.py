"""What a reader should know before believing a comparison, each in one sentence."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from api.comparison.history import JobHistory
from api.comparison.pairing import is_cross_validated, members_share_rows, way_of_splitting
from api.comparison.result import Curve
from api.comparison.significance import seeds_needed
from api.comparison.standings import Ranking
from api.comparison.wording import count, metric_words
from models.status import RunStatus


def cautions(
    jobs: Sequence[JobHistory],
    names: Mapping[str, str],
    curves: Sequence[Curve],
    metric: str,
    family: int,
    ranking: Ranking | None,
    *,
    by_the_clock: bool,
) -> list[str]:
    """Warnings about the runs first, then about the question. `family` is how many tests share the 5 %; `by_the_clock`
    says that seconds decide something.
    """
    return [
        *_runs(jobs, names),
        *_gaps(jobs, names, curves, metric),
        *_ensembles(jobs, names),
        *_seeds(jobs, names, family),
        *_fairness(jobs, names),
        *(_tuning(ranking) if ranking else ()),
        *(_clocks(jobs) if by_the_clock else ()),
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


def _ensembles(jobs: Sequence[JobHistory], names: Mapping[str, str]) -> Iterator[str]:
    for job in jobs:
        if members_share_rows(job):
            members = count(job.spec.evaluation.members, "run")
            results = " and ".join(f"/v1/jobs/{job_id}/results" for job_id in job.job_ids)
            yield (
                f'"{names[job.job_id]}": the {members} of a seed share their rows, so a seed counts once, by their '
                f"mean, and as diverged if one of them is; what they come to together is in {results}."
            )


def _seeds(jobs: Sequence[JobHistory], names: Mapping[str, str], family: int) -> Iterator[str]:
    if len(jobs) < 2:
        return
    if len({tuple(job.seeds) for job in jobs}) > 1:
        each = "; ".join(f'"{names[job.job_id]}" {seed_list(job.seeds)}' for job in jobs)
        yield f"The jobs do not have the same seeds: {each}. Only seeds that two jobs share make pairs."
    if all(is_cross_validated(job) for job in jobs):
        return
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
    if len({way_of_splitting(job.spec.evaluation) for job in jobs}) > 1:
        yield "The jobs differ in how rows are split: the same seed does not mean the same rows, so they make no pairs."
    shared = Counter(job.spec_hash for job in jobs)
    for spec_hash, times in shared.items():
        if times > 1:
            same = [f'"{names[job.job_id]}"' for job in jobs if job.spec_hash == spec_hash]
            yield f"{' and '.join(same)} have the same spec: any difference between them is not the spec's."


_MUST_AGREE: dict[str, Callable[[JobHistory], Any]] = {
    "dataset: their scores are not on one scale, nor are their rows the same": lambda job: job.spec.dataset,
    "loss function: losses are not on one scale": lambda job: job.spec.loss,
    "budget: one had more training than another": lambda job: job.spec.budget,
}


def _tuning(ranking: Ranking) -> Iterator[str]:
    each = "; ".join(f'"{one.label}" {one.tried}' for one in ranking.contenders)
    if not ranking.even_budgets:
        yield f"The contenders of the ranking did not try equally many specs, and more tries find better ones: {each}."
    if any(one.tried > 1 for one in ranking.contenders):
        yield (
            "In the ranking each contender stands for the best of the specs that it tried: an optimistic pick, as some "
            "of its lead is luck. Seeds that chose nothing tell how much of it lasts."
        )


def _clocks(jobs: Sequence[JobHistory]) -> Iterator[str]:
    yield (
        "Seconds are those of everything that was trained together with a run, in one stacked program on one machine: "
        "they compare only jobs that were trained in like company."
    )
    if any(run.clock is None for job in jobs for run in job.runs if run.series):
        yield "Some runs have no clock: their seconds are unknown."


def seed_list(seeds: Iterable[int]) -> str:
    """Runs of neighbours become ranges: "0–4, 7"."""
    parts = []
    for _, group in groupby(enumerate(sorted(set(seeds))), key=lambda pair: pair[1] - pair[0]):
        run = [seed for _, seed in group]
        parts.append(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}")
    return ", ".join(parts)
