"""What other tools are told of a run, before it is put in their words."""

import json
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, Literal, Self

from pydantic import BaseModel

from descent.client import Client
from descent.history import History, Series
from models.answers import Job, Run
from models.spec.evaluation import KFold
from models.spec.job import LABELS

Scalar = bool | int | float | str
Outcome = Literal["written", "completed", "replaced", "unchanged"]


class Exported(BaseModel):
    """What became of one run on its way to another tool."""

    run_id: str
    job_id: str
    seed: int
    member: int
    outcome: Outcome
    points: int
    """Written now: of all metrics together."""
    place: str
    """The id of the run in MLflow; the folder of its event files."""

    @classmethod
    def of(cls, told: "Told", outcome: Outcome, points: int, place: str) -> Self:
        run = told.run
        return cls(
            run_id=run.id,
            job_id=run.job_id,
            seed=run.seed,
            member=run.member,
            outcome=outcome,
            points=points,
            place=place,
        )


@dataclass(frozen=True)
class Told:
    """One run with its history."""

    job: Job
    run: Run
    history: History

    @classmethod
    def each(cls, client: Client, job: Job) -> Iterator[Self]:
        """Every run of a job; its history is asked for when its turn comes."""
        for run in client.runs(job):
            yield cls(job, run, client.history(run))

    @property
    def name(self) -> str:
        """For people: job, seed, and member where a seed has several runs."""
        member = f", member {self.run.member}" if self.job.spec.evaluation.members > 1 else ""
        return f"{self.job.name or self.job.id}, seed {self.run.seed}{member}"

    @property
    def is_bare(self) -> bool:
        """Whether the service has no points of it, be it that it keeps them no longer: what was exported is more."""
        return not any(series.step for series in self.history.series.values())

    @cached_property
    def series(self) -> dict[str, Series]:
        """The whole history, and of a run that has ended each metric's `final/…` and `best/…` value as one point."""
        series = dict(self.history.series)
        if self.run.is_terminal:
            for metric, found in self.run.summary.items():
                if found.last is not None:
                    steps = self.history.series.get(metric, Series()).step or [self.run.progress.completed]
                    series[f"final/{metric}"] = Series(steps[-1:], [found.last])
                if found.best is not None and found.best_step is not None:
                    series[f"best/{metric}"] = Series([found.best_step], [found.best])
        return series

    @property
    def spec(self) -> dict[str, Scalar]:
        """The spec without its labels, by dotted paths; what is null is left out, a list of values is JSON."""
        plain = self.job.spec.model_dump(mode="json", exclude=set(LABELS))
        return dict(_flat("", plain))

    @property
    def spec_texts(self) -> dict[str, str]:
        """The same, as texts: numbers and booleans as JSON has them."""
        return {path: one if isinstance(one, str) else json.dumps(one) for path, one in self.spec.items()}

    @property
    def facts(self) -> dict[str, str]:
        """Who the run is and how it ended; what is empty is left out."""
        run, job = self.run, self.job
        facts = {
            "experiment": job.experiment,
            "name": job.name,
            "tags": ", ".join(job.tags),
            "job_id": job.id,
            "run_id": run.id,
            "seed": str(run.seed),
            "member": str(run.member),
            "fold": str(run.member) if isinstance(job.spec.evaluation, KFold) else "",
            "spec_hash": job.spec_hash,
            "status": run.status.value,
            "status_reason": run.status_reason or "",
            "version": version("descent"),
        }
        return {name: value for name, value in facts.items() if value}

    def moment(self, step: int) -> float:
        """When a step was taken, in seconds since 1970: as if the run had trained without a rest.

        The service tells training time at evaluations; between two of them steps are spread evenly.
        """
        return self.began + self._train_seconds(step)

    @cached_property
    def began(self) -> float:
        """When training began, in seconds since 1970; of a run that rested, when it would have, to end as it did."""
        run = self.run
        if run.attempt > 1 and run.finished_at is not None:
            return run.finished_at.timestamp() - self._train_seconds(run.progress.completed)
        return (run.started_at or run.queued_at).timestamp()

    def _train_seconds(self, step: int) -> float:
        steps, seconds = self._clock
        after = bisect_left(steps, step)
        if after == len(steps):
            return seconds[-1]
        if after == 0:
            return seconds[0]
        share = (step - steps[after - 1]) / (steps[after] - steps[after - 1])
        return seconds[after - 1] + share * (seconds[after] - seconds[after - 1])

    @cached_property
    def _clock(self) -> tuple[list[int], list[float]]:
        told = self.history.series.get("train_seconds", Series())
        return [0, *told.step], [0.0, *(value or 0.0 for value in told.value)]


def _flat(path: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    match value:
        case None:
            return
        case dict():
            for name, part in value.items():
                yield from _flat(f"{path}.{name}" if path else name, part)
        case [dict(), *_]:
            for place, part in enumerate(value):
                yield from _flat(f"{path}.{place}", part)
        case list():
            yield path, json.dumps(value, ensure_ascii=False)
        case _:
            yield path, value
