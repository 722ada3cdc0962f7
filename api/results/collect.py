"""From the runs of a job to its results."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, assert_never

import numpy as np

from api.results import methods
from api.results.measures import Measure
from api.results.methods import Outcome
from api.results.predictions import Predictions
from models.answers import Estimate, JobResults, MemberResult, SeedResults
from models.spec.evaluation import Bagging, Boosting, Bootstrap, Evaluation, Holdout, KFold
from models.spec.job import JobSpec


def measure_of(spec: JobSpec) -> Measure:
    return "accuracy" if spec.dataset.shape.task == "classification" else "mean_squared_error"


def from_predictions(job_id: str, spec: JobSpec, by_seed: Iterable[tuple[int, Sequence[Predictions]]]) -> JobResults:
    """Put together what the succeeded runs of each seed predict, in the order of their members."""
    measure, seeds = measure_of(spec), []
    for seed, members in by_seed:
        outcome = _together(spec.evaluation, members, measure)
        weights: Sequence[float | None] = outcome.weights or [None] * len(members)
        seeds.append(
            SeedResults(
                seed=seed,
                members=[
                    MemberResult(run_id=m.run_id, member=m.member, score=score, weight=weight)
                    for m, score, weight in zip(members, outcome.members, weights, strict=True)
                ],
                scores=dict(outcome.scores),
                series=dict(outcome.series),
            )
        )
    return _answer(job_id, spec, seeds)


def from_summaries(job_id: str, spec: JobSpec, by_seed: Mapping[int, tuple[str, Mapping[str, Any]]]) -> JobResults:
    """Of a holdout, whose one run a seed has measured all there is: id and summary of each succeeded run."""
    metric = "validation_accuracy" if measure_of(spec) == "accuracy" else "validation_rmse"
    seeds = []
    for seed, (run_id, summary) in by_seed.items():
        last = summary.get(metric, {}).get("last")
        if last is not None:
            score = last if metric == "validation_accuracy" else last**2
            member = MemberResult(run_id=run_id, member=0, score=score, weight=None)
            seeds.append(SeedResults(seed=seed, members=[member], scores={"validation": score}, series={}))
    return _answer(job_id, spec, seeds)


def _answer(job_id: str, spec: JobSpec, seeds: list[SeedResults]) -> JobResults:
    return JobResults(
        job_id=job_id,
        evaluation=spec.evaluation.kind,
        measure=measure_of(spec),
        runs=len(spec.runs),
        counted=sum(len(one.members) for one in seeds),
        scores=_over_seeds(seeds),
        seeds=seeds,
    )


def _together(evaluation: Evaluation, members: Sequence[Predictions], measure: Measure) -> Outcome:
    match evaluation:
        case KFold():
            return methods.folds(members, measure)
        case Bootstrap():
            return methods.bootstrap(members, measure)
        case Bagging():
            return methods.bagging(members, measure)
        case Boosting():
            return methods.boosted(members, measure, evaluation.shrinkage)
        case Holdout():
            raise AssertionError("the one run of a seed is its own result")
        case _:
            assert_never(evaluation)


def _over_seeds(seeds: list[SeedResults]) -> dict[str, Estimate]:
    names = dict.fromkeys(name for one in seeds for name in one.scores)
    return {name: over_seeds([one.scores[name] for one in seeds if name in one.scores]) for name in names}


def over_seeds(values: Sequence[float]) -> Estimate:
    """A number that each seed has, over the seeds."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Estimate(mean=float(np.mean(values)), standard_deviation=deviation, seeds=len(values))
