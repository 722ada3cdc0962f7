"""What claims rest on, gathered from SQL and storage: for each quantity its seeds' values, or why there are none."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from statistics import fmean
from typing import assert_never

import numpy as np
from sqlalchemy import select

from api.comparison import judge
from api.comparison.contest import WORSE_THAN_ANY, Outcome, Outcomes, by_seed, outcomes
from api.comparison.diagnose import LOSSES, Verdict, diagnose_job
from api.comparison.finding import Finding, Sample
from api.comparison.history import ComparisonError, JobHistory, RunHistory
from api.comparison.judge import CONFIDENCE
from api.comparison.pairing import Key, grouped_by_seed
from api.comparison.scores import Direction, table_row
from api.comparison.wording import metric_words, step_count, target_words
from api.contenders import MAX_RUNS, job_histories
from api.dependencies import Service
from api.errors import Refusal, invalid
from api.results.of_job import job_results
from models.analysing import SEALED_TEST
from models.answers import JobResults
from models.claims import (
    AnalysisValue,
    Between,
    Claim,
    Close,
    Diagnosed,
    Less,
    MetricValue,
    Quantity,
    ResultScore,
    Seconds,
    TestScore,
    jobs_of,
    quantities,
)
from models.metrics import METRICS
from models.spec.job import JobSpec
from models.status import RunStatus
from models.tables import Analysis, Job, Run

MEASURED: Mapping[str, str] = {
    "validation": "{} on the validation rows",
    "folds": "mean {} over the folds",
    "pooled": "{} over all folds together",
    "members": "mean {} of the members",
    "training": "{} on the training rows",
    "out_of_bag": "{} out of the bag",
    "point_632": ".632 estimate of the {}",
    "mean": "{} of the members' mean",
    "vote": "{} of the members' vote",
    "ensemble": "{} of the ensemble",
}
"""Scores that are in the measure of their results, accuracy or mean squared error; what others are, their names say."""
HIGHER_IS_BETTER = frozenset({"test_accuracy"})


class Evidence:
    """Everything that a family of claims is about; each job is read once."""

    def __init__(self, service: Service, claims: Sequence[Claim]) -> None:
        """Read the jobs. Each look into the database ends before files are read and statistics are made.

        Raises:
            Refusal: if a claim names a job that does not exist or has not ended, or all of them have too many runs.

        """
        self._jobs: dict[str, _Job] = {}
        for index, claim in enumerate(claims):
            fields = [f"{field}/job" for field in quantities(claim)] or ["job"]
            for field, job_id in zip(fields, jobs_of(claim), strict=True):
                if job_id not in self._jobs:
                    self._jobs[job_id] = _read(service, job_id, f"/claims/{index}/{field}")
        runs = sum(job.runs for job in self._jobs.values())
        if runs > MAX_RUNS:
            raise invalid(
                "/claims",
                "too_many",
                f"verdicts rest on at most {MAX_RUNS:,} runs, and these jobs have {runs:,}: ask about fewer at once",
            )

    def find(self, claim: Claim, pointer: str) -> Finding:
        """What the data say to a claim.

        Raises:
            Refusal: if it is about something that nobody measured, or that cannot be compared.

        """
        samples = {field: self._sample(side, f"{pointer}/{field}") for field, side in quantities(claim).items()}
        try:
            match claim:
                case Less():
                    return judge.less(claim, **samples)
                case Close():
                    return judge.close(claim, **samples)
                case Between():
                    return judge.between(claim, **samples)
                case Diagnosed():
                    return self._jobs[claim.job].diagnosed(claim)
                case _:
                    assert_never(claim)
        except ComparisonError as error:
            raise invalid(pointer, "not_comparable", str(error)) from None

    def _sample(self, quantity: Quantity, pointer: str) -> Sample:
        job = self._jobs[quantity.job]
        match quantity:
            case MetricValue():
                return job.metric(quantity, pointer)
            case ResultScore():
                return job.result(quantity, pointer)
            case AnalysisValue():
                return job.analysis(quantity, pointer)
            case TestScore():
                return job.test(quantity, pointer)
            case Seconds():
                return job.seconds()
            case _:
                assert_never(quantity)


def _read(service: Service, job_id: str, pointer: str) -> "_Job":
    with service.database.read() as session:
        job = session.get(Job, job_id)
        statuses = session.scalars(select(Run.status).where(Run.job_id == job_id)).all()
    if job is None:
        raise invalid(pointer, "no_such_job", f"there is no job {job_id}: a claim names jobs by their ids")
    if not all(RunStatus(status).is_terminal for status in statuses):
        raise invalid(
            pointer,
            "still_under_way",
            f"job {job_id} is still under way, and a verdict that is asked for again and again until it pleases means "
            "nothing: wait until its runs have ended",
        )
    return _Job(service, job)


class _Job:
    """One job and what was measured of it."""

    def __init__(self, service: Service, job: Job) -> None:
        self._service = service
        self._job = job
        self._spec = JobSpec.model_validate(job.spec)
        self._name = job.name or job.id
        self._histories: dict[str, JobHistory] = {}

    @property
    def runs(self) -> int:
        return len(self._spec.runs)

    @cached_property
    def _history(self) -> JobHistory:
        """Its runs, without any metrics."""
        return self._with_series(())

    def _history_of(self, metric: str) -> JobHistory:
        if metric not in self._histories:
            self._histories[metric] = self._with_series({metric})
        return self._histories[metric]

    @cached_property
    def _results(self) -> JobResults:
        return job_results(self._service.database, self._service.storage, self._job.id, self._spec)

    def _with_series(self, names: Collection[str] | None) -> JobHistory:
        with self._service.database.read() as session:
            (history,) = job_histories(session, [self._job], names)
        return history

    def _of(self, quantity: str, found: Outcomes, *, higher: bool = False) -> Sample:
        return Sample(quantity, self._name, self._spec, found, -1 if higher else 1)

    def _unknown(self, pointer: str, name: str, known: Collection[str], what: str) -> Refusal:
        listed = f"there are {', '.join(sorted(known))}" if known else "there is none"
        return invalid(pointer, "nobody_recorded_it", f'job "{self._name}" has no {what} "{name}": {listed}')

    def diagnosed(self, claim: Diagnosed) -> Finding:
        runs = diagnose_job(self._with_series(LOSSES)).runs.values()
        verdicts = [None if one.verdict is Verdict.TOO_EARLY else str(one.verdict) for one in runs]
        return judge.diagnosed(claim, self._name, verdicts)

    def metric(self, wanted: MetricValue, pointer: str) -> Sample:
        name, history = wanted.metric, self._history_of(wanted.metric)
        if not any(name in run.series for run in history.runs):
            known = {metric for run in self._with_series(None).runs for metric in run.series}
            raise self._unknown(f"{pointer}/metric", name, known, "metric")
        better = METRICS[name].better if name in METRICS else None
        higher, words = better == "higher", metric_words(name)
        if wanted.take == "mean":
            quantity, found = self._mean(wanted, history, better, pointer)
            return self._of(quantity, found, higher=higher)
        if better is None and wanted.take != "last":
            raise invalid(
                f"{pointer}/take",
                "no_better_direction",
                f"of {words} neither direction is better, so it has no best value and no target: take its last value",
            )
        row = table_row(history, name, better, wanted.target, CONFIDENCE)
        found = outcomes(history, row, wanted.take, better)
        if wanted.take == "steps_to_target":
            assert wanted.target is not None
            return self._of(f"number of steps to {target_words(name, better, wanted.target)}", found)
        return self._of(f"{wanted.take} {words}", found, higher=higher)

    def _mean(self, wanted: MetricValue, history: JobHistory, better: Direction, pointer: str) -> tuple[str, Outcomes]:
        assert wanted.from_step is not None
        assert wanted.to_step is not None
        sign = -1 if better == "higher" else 1
        found: dict[Key, Outcome | None] = {}
        for run in history.runs:
            mean = _mean_between(run, wanted.metric, wanted.from_step, wanted.to_step) if run.succeeded else None
            found[run.seed, run.member] = None if mean is None else Outcome(sign * mean, exact=True)
            if run.diverged and better is not None:
                found[run.seed, run.member] = WORSE_THAN_ANY
        if not any(found.values()):
            recorded = (run.series[wanted.metric] for run in history.runs if wanted.metric in run.series)
            last = max(series.steps[-1] for series in recorded)
            raise invalid(
                f"{pointer}/from_step",
                "nobody_recorded_it",
                f'job "{self._name}" has no {metric_words(wanted.metric)} from step {wanted.from_step:,} to '
                f"{wanted.to_step:,}: it was recorded until step {last:,}",
            )
        over = f"over steps {step_count(wanted.from_step)} to {step_count(wanted.to_step)}"
        return f"mean {metric_words(wanted.metric)} {over}", by_seed(found)

    def result(self, wanted: ResultScore, pointer: str) -> Sample:
        results = self._results
        if wanted.score not in results.scores:
            raise self._unknown(f"{pointer}/score", wanted.score, results.scores, "result")
        higher = results.measure == "accuracy" and wanted.score in MEASURED
        # A score of those members alone that did not break would be one of the survivors.
        whole = {
            one.seed: one.scores.get(wanted.score)
            for one in results.seeds
            if len(one.members) == self._spec.evaluation.members
        }
        found = self._directed(whole, higher=higher)
        words = MEASURED.get(wanted.score, metric_words(wanted.score)).format(metric_words(results.measure))
        return self._of(words, found, higher=higher)

    def analysis(self, wanted: AnalysisValue, pointer: str) -> Sample:
        rows = self._analyses(wanted.analysis)
        if not rows:
            kinds_of_job = (
                select(Analysis.kind)
                .join(Run, Run.id == Analysis.run_id)
                .where(Run.job_id == self._job.id, Analysis.kind != SEALED_TEST)
            )
            with self._service.database.read() as session:
                kinds = set(session.scalars(kinds_of_job))
            raise self._unknown(f"{pointer}/analysis", wanted.analysis, kinds, "analysis")
        rows = [row for row in rows if all(row.options.get(name) == value for name, value in wanted.options.items())]
        if len({row.digest for row in rows}) != 1:
            raise invalid(
                f"{pointer}/options",
                "not_one_analysis",
                f'job "{self._name}" has {len({row.digest for row in rows})} analyses {wanted.analysis} with these '
                "options: give those by which one is told from the others",
            )
        means = self._measured(rows, wanted.value, pointer, "value", "they have ended")
        found = {seed: None if mean is None else Outcome(mean, exact=True) for seed, mean in means.items()}
        return self._of(metric_words(wanted.value), found)

    def test(self, wanted: TestScore, pointer: str) -> Sample:
        rows = self._analyses(SEALED_TEST)
        if not rows:
            raise invalid(
                pointer,
                "sealed",
                f'the test of job "{self._name}" is sealed: POST /v1/jobs/{self._job.id}/test-evaluation opens it, '
                "once and on record",
            )
        higher = wanted.score in HIGHER_IS_BETTER
        means = self._measured(rows, wanted.score, pointer, "score", "the test has been measured")
        return self._of(metric_words(wanted.score), self._directed(means, higher=higher), higher=higher)

    def _analyses(self, kind: str) -> list[Analysis]:
        statement = select(Analysis).join(Run, Run.id == Analysis.run_id)
        with self._service.database.read() as session:
            return list(session.scalars(statement.where(Run.job_id == self._job.id, Analysis.kind == kind)))

    def _measured(
        self, rows: Sequence[Analysis], name: str, pointer: str, field: str, when: str
    ) -> Mapping[int, float | None]:
        """The mean of each seed; a seed of which a run has no value has none."""
        waiting = sum(not RunStatus(row.status).is_terminal for row in rows)
        if waiting:
            raise invalid(
                pointer,
                "still_queued",
                f'{waiting} of {len(rows)} measurements of job "{self._name}" are still queued or running: ask again '
                f"once {when}",
            )
        if not any(name in (row.values or {}) for row in rows):
            known = {one for row in rows for one in row.values or {}}
            raise self._unknown(f"{pointer}/{field}", name, known, field)
        values = {row.run_id: (row.values or {}).get(name) for row in rows if row.status == RunStatus.SUCCEEDED}
        by_seed = grouped_by_seed((run.seed, values.get(run.run_id)) for run in self._history.runs)
        return {seed: _mean_of_all(members) for seed, members in by_seed.items()}

    def _directed(self, values: Mapping[int, float | None], *, higher: bool) -> Outcomes:
        """As outcomes: a seed of which a run diverged is worse than any, one without a value is unknown."""
        sign = -1 if higher else 1
        known = {seed: values.get(seed) for seed in self._history.seeds}
        found = {seed: None if one is None else Outcome(sign * one, exact=True) for seed, one in known.items()}
        return found | {run.seed: WORSE_THAN_ANY for run in self._history.runs if run.diverged}

    def seconds(self) -> Sample:
        succeeded = select(Run.seed, Run.member, Run.train_seconds).where(
            Run.job_id == self._job.id, Run.status == RunStatus.SUCCEEDED
        )
        with self._service.database.read() as session:
            rows = session.execute(succeeded).all()
        found: dict[Key, Outcome | None] = {(run.seed, run.member): None for run in self._history.runs}
        for seed, member, seconds in rows:
            found[seed, member] = None if seconds is None else Outcome(seconds, exact=True)
        return self._of("training time in seconds", by_seed(found))


def _mean_between(run: RunHistory, metric: str, first: int, last: int) -> float | None:
    series = run.series.get(metric)
    if series is None:
        return None
    within = series.values[(series.steps >= first) & (series.steps <= last) & np.isfinite(series.values)]
    return float(within.mean()) if within.size else None


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None
