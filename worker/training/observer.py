"""Looks after a cohort between its steps: evaluates, reports, and lets runs go."""

import time
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from models.spec.job import JobSpec
from models.spec.plan import plan
from worker.training.boundary import Directives, Ending, Leave, Reporter, Result
from worker.training.cohort import Cohort
from worker.training.history import History

REPORT_SECONDS = 0.1
DIRECTIVES_SECONDS = 0.25


class Observer:
    """Tells the reporter what the cohort does, and takes out the runs that end."""

    def __init__(self, cohort: Cohort, reporter: Reporter, directives: Directives, spec: JobSpec) -> None:
        self._cohort = cohort
        self._reporter = reporter
        self._directives = directives
        self._plan = plan(spec)
        self._snapshots = sorted(set(spec.record.snapshots))
        self._history = History(reporter, cohort.runs, self._plan.record_every)
        self._started = time.perf_counter()
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
        return min(evaluation, snapshot, self._plan.steps)

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

    def _evaluate(self, step: int) -> dict[int, Result]:
        """Measure every run; which columns early stopping ends."""
        metrics = self._cohort.evaluator.measure()
        if step:
            metrics |= self._cohort.evaluator.measure_update(self._cohort.gradient, self._cohort.before)
            metrics["learning_rate"] = self._cohort.rule.rates.at(np.array([[step]]))[0].astype(np.float32)
        metrics["train_seconds"] = np.full(self.runs, self._seconds(), np.float32)
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
            asked = {column: leaves[row] for column, row in enumerate(self._history.rows) if row in leaves}
            self._part(asked, step)
            self._asks_again = time.perf_counter() + DIRECTIVES_SECONDS
        self._window_ends = time.perf_counter() + REPORT_SECONDS

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
            keeps_weights = isinstance(result, Result) and result is not Result.DIVERGED
            weights = self._cohort.weights(column) if keeps_weights else None
            predictions = self._cohort.predictions(column) if keeps_weights else None
            description = self._cohort.description(column) if keeps_weights else None
            steps = earlier[column] if earlier else step
            ending = Ending(result, steps, self._seconds(), weights, description, predictions)
            self._reporter.ended(self._history.rows[column], ending)
        stay = [column for column in range(self.runs) if column not in ended]
        self._history.keep(stay)
        self._cohort.keep(stay)

    def _seconds(self) -> float:
        return time.perf_counter() - self._started
