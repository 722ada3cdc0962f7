"""Sharpness against the generalization gap: what was measured of each network, beside how it generalizes."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from api.comparison.history import JobHistory, RunHistory
from api.comparison.measured import RunAnalysis

_GAP = "generalization_gap"
_FIRST = ("sharpness_0.001", "adaptive_sharpness", "largest_eigenvalue")
"""What is shown before anybody chooses, as far as it was measured."""


def measured(jobs: Sequence[JobHistory], analyses: Sequence[RunAnalysis]) -> dict[str, Any] | None:
    """One dot a run: the values of all of its analyses, and its last generalization gap.

    None where no run has both. Of a value that was measured twice, with other options, the later stands.
    """
    values: dict[str, dict[str, float]] = {}
    for one in analyses:
        known = {name: value for name, value in one.values.items() if value is not None}
        values.setdefault(one.run_id, {}).update(known)
    dots = [
        {"job": index, "seed": run.seed, "gap": gap, "values": values[run.run_id]}
        for index, job in enumerate(jobs)
        for run in job.runs
        if values.get(run.run_id) and (gap := _last_gap(run)) is not None
    ]
    names = _names([values[run.run_id] for job in jobs for run in job.runs if run.run_id in values])
    return {"names": names, "dots": dots} if dots else None


def _last_gap(run: RunHistory) -> float | None:
    series = run.series.get(_GAP)
    if series is None or not len(series.values) or run.diverged:
        return None
    last = float(series.values[-1])
    return last if isfinite(last) else None


def _names(found: Sequence[Mapping[str, float]]) -> list[str]:
    known = {name for values in found for name in values}
    return [*(name for name in _FIRST if name in known), *sorted(known.difference(_FIRST))]
