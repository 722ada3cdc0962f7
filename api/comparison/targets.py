"""How soon runs meet a target. A miss is censored at its budget, never scored as the budget."""

from collections.abc import Sequence
from math import inf
from statistics import median
from typing import Literal

import numpy as np

from api.comparison.align import seconds_at
from api.comparison.estimate import finite
from api.comparison.history import JobHistory, RunHistory, Series
from api.comparison.result import StepsToTarget, TargetTime
from api.comparison.wording import seconds_in_words, step_count


def first_reach(series: Series, target: float, better: Literal["lower", "higher"]) -> int | None:
    """The first recorded step whose value is at most (or, where higher is better, at least) the target."""
    met = series.values <= target if better == "lower" else series.values >= target
    met &= np.isfinite(series.values)
    return int(series.steps[np.argmax(met)]) if met.any() else None


def median_with_misses(values: Sequence[float | None]) -> float | None:
    """The median when a miss, None, is later than any time; None when the median itself is a miss.

    Of an even number it is the mean of the two in the middle, hence None as soon as one of those missed.
    """
    return finite(median(inf if value is None else value for value in values)) if values else None


def steps_to_target(job: JobHistory, metric: str, target: float, better: Literal["lower", "higher"]) -> StepsToTarget:
    """Time-to-target of each run of a job, and the median among all of them."""
    budget = job.plan.steps
    times = [_target_time(run, metric, target, better) for run in job.runs]
    known = [time for time in times if time.outcome != "unknown"]
    middle = median_with_misses([time.steps for time in known])
    middle_seconds, seconds_text = _median_seconds(known)
    return StepsToTarget(
        target=target,
        budget=budget,
        runs=times,
        reached=sum(time.outcome == "reached" for time in times),
        missed=sum(time.outcome in ("missed", "diverged") for time in times),
        unknown=len(times) - len(known),
        median=middle,
        median_text=steps_in_words(middle, budget) if known else "unknown",
        median_seconds=middle_seconds,
        median_seconds_text=seconds_text,
    )


def steps_in_words(steps: float | None, budget: int) -> str:
    return f"> {budget:,}" if steps is None else step_count(steps)


def _median_seconds(known: Sequence[TargetTime]) -> tuple[float | None, str]:
    """The median and its words. Where it is a miss it is later than the median of all that is known of the runs: when
    they reached the target, or how long they tried.
    """
    tried = [time.seconds if time.outcome == "reached" else time.total_seconds for time in known]
    bounds = [seconds for seconds in tried if seconds is not None]
    if len(bounds) < len(known) or not known:
        return None, "unknown"
    middle = median_with_misses([time.seconds for time in known])
    return middle, f"> {seconds_in_words(median(bounds))}" if middle is None else seconds_in_words(middle)


def _target_time(run: RunHistory, metric: str, target: float, better: Literal["lower", "higher"]) -> TargetTime:
    series = run.series.get(metric)
    steps = first_reach(series, target, better) if series is not None else None
    outcome: Literal["reached", "missed", "diverged", "unknown"]
    if run.diverged:
        # Whatever it touched on the way, nothing usable is left of it.
        outcome, steps = "diverged", None
    elif steps is not None:
        outcome = "reached"
    else:
        outcome = "missed" if run.succeeded and series is not None else "unknown"
    return TargetTime(
        run_id=run.run_id,
        seed=run.seed,
        member=run.member,
        steps=steps,
        seconds=None if steps is None else seconds_at(run, steps),
        total_seconds=run.total_seconds,
        outcome=outcome,
    )
