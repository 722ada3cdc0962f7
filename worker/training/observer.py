"""Looks after a cohort between its steps: evaluates, reports, and lets runs go."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.plan import plan
from worker.training.boundary import Directives, Ending, Leave, Reporter, Result, Saved, Saving
from worker.training.cohort import Cohort
from worker.training.history import History

REPORT_SECONDS = 0.1
DIRECTIVES_SECONDS = 0.25
SAVED_FIRST = (Leave.PAUSED, Leave.RELEASED)
"""Who goes on elsewhere."""


class Observer:
    """Tells the reporter what the cohort does, has it saved, and takes out the runs that end."""

    def __init__(
        self,
        cohort: Cohort,
        reporter: Reporter,
        directives: Directives,
        specs: Sequence[JobSpec],
        saving: Saving | None = None,
        resume: Saved | None = None,
    ) -> None:
        spec = specs[0]
        self._cohort = cohort
        self._reporter = reporter
        self._directives = directives
        self._plan = plan(spec)
        self._snapshots = sorted(set(spec.record.snapshots))
        self._saving = saving
        self._first = 0 if resume is None else resume.step
        self._history = History(reporter, cohort.runs, self._plan.record_every, self._first)
        self._started = self._saved_at = time.perf_counter()
        self._seconds_before = np.zeros(cohort.runs) if resume is None else resume.tensors["train_seconds"].copy()
        self._most_seconds = np.array([spec.budget.max_seconds or inf for spec in specs])
        self._window_ends = self._started + REPORT_SECONDS
        self._asks_again = self._started

    @property
    def runs(self) -> int:
        """Runs still in training."""
        return len(self._history.rows)

    def next_visit(self, step: int) -> int:
        """The next step after which there is something to evaluate, to keep or to end."""
        evaluation = (step // self._plan.evaluate_every + 1) * self._plan.evaluate_every
        snapshot = next((s for s in self._snapshots if s > step), self._plan.steps)
        return min(evaluation, snapshot, self._plan.steps, *self._saves_after(step))

    def _saves_after(self, step: int) -> Iterator[int]:
        """The next steps after which the cohort is saved by plan."""
        if self._saving is None:
            return
        if (every := self._saving.every_steps) is not None:
            yield (step // every + 1) * every
        if step < self._plan.steps - 1:
            # From there a larger budget goes on: what the last step tells is told because the budget ends with it.
            yield self._plan.steps - 1

    def _is_saved_at(self, step: int) -> bool:
        return step in self._saves_after(step - 1) and self._first < step < self._plan.steps

    def losses(self, values: Tensor) -> None:
        """Take the training losses of the next updates, (S, K), without reading them."""
        self._history.losses(values)

    def visit(self, step: int) -> None:
        """Do what is due after `step` updates."""
        self._settle(step)
        if not self.runs:
            return
        if step in self._snapshots:
            for row, content in zip(self._history.rows, self._cohort.evaluator.snapshots(), strict=True):
                self._reporter.snapshot(row, step, content)
        ended = {}
        if step % self._plan.evaluate_every == 0 or step == self._plan.steps:
            ended = self._evaluate(step)
        if step == self._plan.steps:
            ended = dict.fromkeys(range(self.runs), Result.COMPLETED)
        self._part(ended, step)
        if self._is_saved_at(step):
            self._save(range(self.runs), step)

    def _save(self, columns: Sequence[int], step: int) -> None:
        """Hand on all that these runs need to go on; what they have told so far goes before."""
        if not columns:
            return
        self._history.send()
        saved = self._cohort.saved(columns, step)
        seconds = {"train_seconds": self._seconds()[list(columns)]}
        rows = [self._history.rows[column] for column in columns]
        self._reporter.saved(rows, replace(saved, tensors={**saved.tensors, **seconds}))

    def _evaluate(self, step: int) -> dict[int, Result]:
        """Measure every run; which columns early stopping ends."""
        metrics = self._cohort.evaluator.measure()
        if step:
            metrics |= self._cohort.evaluator.measure_update(self._cohort.gradient, self._cohort.before)
            metrics["learning_rate"] = self._cohort.rule.rates.at(np.array([[step]]))[0].astype(np.float32)
        metrics["train_seconds"] = self._seconds().astype(np.float32)
        self._history.evaluation(step, metrics)
        stopping = self._cohort.regularizers.stopping
        if stopping is None:
            return {}
        stops = stopping.hear(metrics["validation_loss"], metrics["clean_train_loss"], self._cohort.state)
        return {int(column): Result.STOPPED_EARLY for column in np.flatnonzero(stops)}

    def window_is_over(self) -> bool:
        return time.perf_counter() > self._window_ends

    def report(self, step: int) -> None:
        """Hand on the window after `step` updates, and let those go who have to."""
        self._settle(step)
        self._history.send()
        if self.runs and time.perf_counter() > self._asks_again:
            leaves = self._directives()
            asked: dict[int, Result | Leave] = {
                int(column): Result.EXCEEDED for column in np.flatnonzero(self._seconds() > self._most_seconds)
            }
            asked |= {column: leaves[row] for column, row in enumerate(self._history.rows) if row in leaves}
            if self._saving is not None and step > self._first:
                self._save([column for column, why in asked.items() if why in SAVED_FIRST], step)
            self._part(asked, step)
            self._asks_again = time.perf_counter() + DIRECTIVES_SECONDS
        self._save_in_time(step)
        self._window_ends = time.perf_counter() + REPORT_SECONDS

    def _save_in_time(self, step: int) -> None:
        moment = time.perf_counter()
        if self._saving is None or moment - self._saved_at < self._saving.every_seconds:
            return
        if step > self._first:
            self._save(range(self.runs), step)
        self._saved_at = moment

    def _settle(self, step: int) -> None:
        diverged = self._history.settle()
        self._part(dict.fromkeys(diverged, Result.DIVERGED), step, diverged)

    def _part(self, ended: Mapping[int, Result | Leave], step: int, earlier: Mapping[int, int] | None = None) -> None:
        """Report the end of these columns after `step` updates (or `earlier`), and go on without them."""
        if not ended:
            return
        self._history.send()
        for column, result in ended.items():
            # What a diverged run still did until its loss was read is of no worth to anybody.
            keeps_weights = result in (Result.COMPLETED, Result.STOPPED_EARLY)
            weights = self._cohort.weights(column) if keeps_weights else None
            predictions = self._cohort.predictions(column) if keeps_weights else None
            description = self._cohort.description(column) if keeps_weights else None
            steps = earlier[column] if earlier else step
            ending = Ending(result, steps, float(self._seconds()[column]), weights, description, predictions)
            self._reporter.ended(self._history.rows[column], ending)
        stay = [column for column in range(self.runs) if column not in ended]
        self._history.keep(stay)
        self._cohort.keep(stay)
        self._seconds_before, self._most_seconds = self._seconds_before[stay], self._most_seconds[stay]

    def _seconds(self) -> NDArray[np.float64]:
        """For how long each run has trained, all its attempts together, (K,)."""
        seconds: NDArray[np.float64] = self._seconds_before + (time.perf_counter() - self._started)
        return seconds
