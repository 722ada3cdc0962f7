"""What ails a run, told from its losses: without augmentation, smoothing and dropout, in evaluation mode.

The rules look at the clean training loss C and the validation loss V at the same evaluations, from before the first
update to the end, and each says by which numbers. They are rules of thumb with their thresholds in sight, no tests.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from api.comparison.history import JobHistory, RunHistory, Series
from models.spec.job import JobSpec
from models.spec.plan import plan
from models.spec.regularizers import EarlyStopping

LOSSES = ("clean_train_loss", "validation_loss")

FEWEST_EVALUATIONS = 5
WORSE_BY = 0.05
"""Overfitting: V ends so far above its best (generalization loss, Prechelt 1998) while C has gone on falling."""
NOISES = 3.0
"""Overfitting: and by so many times what V moves from one evaluation to the next."""
SPIKE = 0.25
"""Unstable: in the second half C rises again by so much of all that it had fallen."""
STILL_FALLS = 0.05
"""Underfitting: V fell by so much of its value in the last fifth, and would have gone on."""
HARDLY_FELL = 0.5
"""Underfitting: C ends above so much of what it was before the first update."""

Floats = NDArray[np.float64]


class Verdict(StrEnum):
    """What a run's losses look like."""

    DIVERGED = "diverged"
    UNSTABLE = "unstable"
    OVERFITTING = "overfitting"
    UNDERFITTING = "underfitting"
    GOOD_FIT = "good_fit"
    TOO_EARLY = "too_early"
    """Too few evaluations to say anything."""


@dataclass(frozen=True)
class Diagnosis:
    """A verdict, and what it goes by."""

    verdict: Verdict
    since_epoch: float | None
    """Of overfitting: the epoch of the best validation loss."""
    numbers: Mapping[str, float]
    advice: str
    field: str | None
    """JSON pointer to what the advice would change in the spec."""


def diagnose(run: RunHistory, spec: JobSpec) -> Diagnosis:
    """Read a run's losses."""
    if run.diverged:
        return Diagnosis(Verdict.DIVERGED, None, {}, *_calmer(spec, 10, "the loss became infinite"))
    steps, train, validation = _aligned(run.series)
    if len(steps) < FEWEST_EVALUATIONS:
        advice = f"there are {len(steps)} evaluations, and a verdict takes {FEWEST_EVALUATIONS}: evaluate more often"
        return Diagnosis(Verdict.TOO_EARLY, None, {}, advice, "/record/evaluate_every")
    epoch_steps = plan(spec).steps_per_epoch
    numbers = _numbers(steps / epoch_steps, train, validation)
    if numbers["train_spike"] > SPIKE:
        return Diagnosis(Verdict.UNSTABLE, None, numbers, *_calmer(spec, 3, "the training loss leaps up again"))
    worse = numbers["validation_rise"] > max(WORSE_BY, NOISES * numbers["validation_noise"])
    if worse and numbers["train_end"] < numbers["train_at_best"]:
        return Diagnosis(Verdict.OVERFITTING, numbers["best_epoch"], numbers, *_against_overfitting(spec, numbers))
    if numbers["validation_late_fall"] > STILL_FALLS:
        advice = "the validation loss was still falling at the end: train longer"
        return Diagnosis(Verdict.UNDERFITTING, None, numbers, advice, "/budget")
    if numbers["train_left"] > HARDLY_FELL:
        advice = (
            f"{numbers['train_left']:.0%} of the first training loss are left, so not even the training rows are "
            "learned: take a larger network, or another learning rate"
        )
        return Diagnosis(Verdict.UNDERFITTING, None, numbers, advice, "/network")
    return Diagnosis(Verdict.GOOD_FIT, None, numbers, "the validation loss came down and stayed there", None)


def _aligned(series: Mapping[str, Series]) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Steps at which both losses were measured and finite, and the losses there."""
    if any(name not in series for name in LOSSES):
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    train, validation = (series[name] for name in LOSSES)
    steps, first, second = np.intersect1d(train.steps, validation.steps, return_indices=True)
    values = train.values[first], validation.values[second]
    finite = np.isfinite(values[0]) & np.isfinite(values[1])
    return steps[finite], values[0][finite], values[1][finite]


def _numbers(epochs: Floats, train: Floats, validation: Floats) -> dict[str, float]:
    """What the verdicts go by. The ends are medians of the last tenth, as single evaluations are noisy."""
    tail = max(1, len(train) // 10)
    best = int(np.argmin(validation))
    half, fifth = len(train) // 2, len(train) - max(2, len(train) // 5)
    end, train_end = float(np.median(validation[-tail:])), float(np.median(train[-tail:]))
    fallen = train[0] - train.min()
    rise = (train - np.minimum.accumulate(train))[half:].max()
    before = float(np.median(validation[max(0, fifth - tail) : fifth + 1]))
    tiny = float(np.finfo(np.float32).tiny)
    scale = max(abs(float(validation[best])), tiny)
    return {
        "train_first": float(train[0]),
        "train_end": train_end,
        "train_at_best": float(train[best]),
        "train_left": train_end / float(train[0]) if train[0] > 0 else 0.0,
        "train_spike": float(rise / fallen) if fallen > 0 else float(rise > 0),
        "validation_best": float(validation[best]),
        "validation_end": end,
        "validation_rise": (end - float(validation[best])) / scale,
        "validation_noise": float(np.median(np.abs(np.diff(validation[half:])))) / scale,
        "validation_late_fall": (before - end) / max(before, tiny),
        "generalization_gap": end - train_end,
        "best_epoch": float(epochs[best]),
    }


def _calmer(spec: JobSpec, factor: float, what: str) -> tuple[str, str]:
    rate = spec.optimizer.learning_rate
    return f"{what}: lower the learning rate from {rate:g}, say to {rate / factor:.2g}", "/optimizer/learning_rate"


def _against_overfitting(spec: JobSpec, numbers: Mapping[str, float]) -> tuple[str, str]:
    what = (
        f"the validation loss has risen by {numbers['validation_rise']:.0%} since epoch {numbers['best_epoch']:.3g} "
        "while the training loss went on falling"
    )
    if any(isinstance(regularizer, EarlyStopping) for regularizer in spec.regularizers):
        return f"{what}: regularize, with dropout or l2 for instance, or take a smaller network", "/regularizers"
    return f"{what}: add early_stopping, which keeps the best parameters, or regularize", "/regularizers"


@dataclass(frozen=True)
class JobDiagnosis:
    """The verdict of most of a job's runs, and theirs."""

    verdict: Verdict
    runs: Mapping[str, Diagnosis]
    """By run id."""
    advice: str
    field: str | None


def diagnose_job(job: JobHistory) -> JobDiagnosis:
    """Put the verdicts of a job's runs together: that of most of them; where two are equally many, the graver one."""
    runs = {run.run_id: diagnose(run, job.spec) for run in job.runs}
    verdict = _of_most([found.verdict for found in runs.values()])
    alike = [found for found in runs.values() if found.verdict is verdict]
    advice = alike[0].advice if alike else "there is no run yet"
    if len(runs) > 1:
        advice = f"{len(alike)} of {len(runs)} runs: {advice}"
    return JobDiagnosis(verdict, runs, advice, alike[0].field if alike else None)


def _of_most(verdicts: Sequence[Verdict]) -> Verdict:
    counted = Counter(verdicts)
    return max(Verdict, key=lambda verdict: (counted[verdict], -list(Verdict).index(verdict)))
