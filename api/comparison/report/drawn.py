"""What the page's charts show, as the JSON that travels inside it."""

from collections.abc import Sequence
from typing import Any

from api.comparison.curves import curve
from api.comparison.history import JobHistory
from api.comparison.report.fields import fields
from api.comparison.report.measured import measured
from api.comparison.report.predictions import predictions
from api.comparison.report.regions import regions
from api.comparison.result import Comparison
from api.comparison.significance import SIGNIFICANCE
from api.comparison.wording import metric_words
from models.metrics import METRICS

MAX_POINTS = 300
FEWEST_POINTS = 60
POINTS_A_METRIC = 12_000
"""Of all jobs together: a hundred jobs have 120 points each."""


MOST_JOINED = 12
"""Jobs up to which lines join the runs of a seed, and rows keep the jobs' own order."""


def drawn(comparison: Comparison, jobs: Sequence[JobHistory]) -> dict[str, Any]:
    """Sections without anything to show are None."""
    recorded = {name for job in jobs for run in job.runs for name in run.series}
    others = sorted(recorded - {comparison.metric}, key=lambda name: [*METRICS, name].index(name))
    points = max(FEWEST_POINTS, min(MAX_POINTS, POINTS_A_METRIC // len(jobs)))
    curves = {comparison.metric: [one.model_dump(mode="json") for one in comparison.curves]}
    for name in others:
        curves[name] = [
            curve(job, name, comparison.x, points, comparison.confidence).model_dump(mode="json") for job in jobs
        ]
    return {
        "metric": comparison.metric,
        "metrics": [{"name": name, "label": _with_unit(name)} for name in curves],
        "better": comparison.better,
        "x": comparison.x,
        "confidence": comparison.confidence,
        "significance": SIGNIFICANCE,
        "target": comparison.target,
        "baseline": comparison.baseline,
        "joined": len(jobs) <= MOST_JOINED,
        "jobs": [{"id": job.id, "label": job.label} for job in comparison.jobs],
        "curves": curves,
        "table": [row.model_dump(mode="json") for row in comparison.table],
        "differences": [
            one.model_dump(mode="json", include={"job_id", "pairs", "method", "difference", "holm_p"})
            for one in comparison.paired
        ],
        "profile": None if comparison.profile is None else comparison.profile.model_dump(mode="json"),
        "measured": measured(jobs, comparison.analyses),
        "fields": fields(comparison),
        "predictions": predictions(jobs),
        "regions": regions(jobs),
    }


def _with_unit(metric: str) -> str:
    unit = METRICS[metric].unit if metric in METRICS else ""
    return f"{metric_words(metric)} ({unit})" if unit else metric_words(metric)
