"""Parallel coordinates: the fields of the specs that differ, each on an axis of its own, and the score at the end."""

from collections.abc import Sequence
from math import isfinite, log10
from typing import Any

from api.comparison.exports import value_words
from api.comparison.result import Comparison
from api.comparison.wording import metric_words, number

MAX_FIELDS = 7
MAX_TICKS = 8
FEWEST_JOBS = 3
FEWEST_FIELDS = 2

_LOG_FROM = 20
"""A positive axis is logarithmic from this ratio between its ends."""


def fields(comparison: Comparison) -> dict[str, Any] | None:
    """Axes from left to right, on each of which every job has a place between 0 and 1.

    None for fewer than three jobs or two fields. Fields that every job has come first, and those with the most values:
    of many, those after the seventh are left out. So are those that only some jobs have, with one value in all of them:
    they say no more than the field that brings them along, as the momentum of one optimizer.
    """
    ids = [job.id for job in comparison.jobs]
    values_of = {path: len(set(map(repr, values.values()))) for path, values in comparison.spec_diff.items()}
    differing = sorted(
        (item for item in comparison.spec_diff.items() if values_of[item[0]] > 1),
        key=lambda item: (-len(item[1]), -values_of[item[0]], item[0]),
    )
    if len(ids) < FEWEST_JOBS or len(differing) < FEWEST_FIELDS:
        return None
    axes = [_axis(path, [values.get(job_id, _ABSENT) for job_id in ids]) for path, values in differing[:MAX_FIELDS]]
    scores = [row.last.mean for row in comparison.table]
    known = [score for score in scores if score is not None]
    if known:
        places, ticks = _numbers(known)
        standing = iter(places)
        axes.append(
            {
                "label": metric_words(comparison.metric),
                "at": [None if score is None else next(standing) for score in scores],
                "ticks": ticks,
                "texts": [number(score) for score in scores],
            }
        )
    return {"axes": axes, "scored": bool(known), "left_out": max(0, len(differing) - MAX_FIELDS)}


_ABSENT = object()


def _axis(path: str, values: Sequence[Any]) -> dict[str, Any]:
    texts = ["–" if value is _ABSENT else value_words(value) for value in values]
    present = [value for value in values if value is not _ABSENT]
    if all(isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) for value in present):
        places, ticks = _numbers([float(value) for value in present])
    else:
        words = list(dict.fromkeys(text for text, value in zip(texts, values, strict=True) if value is not _ABSENT))
        at = {text: (index + 0.5) / len(words) for index, text in enumerate(words)}
        places = [at[text] for text, value in zip(texts, values, strict=True) if value is not _ABSENT]
        ticks = _thinned([{"at": at[text], "text": text} for text in words])
    if len(present) < len(values):
        # Those without the field stand below all that have it.
        places = [_LIFT + (1 - _LIFT) * place for place in places]
        ticks = [{"at": 0.0, "text": "–"}, *({**tick, "at": _LIFT + (1 - _LIFT) * tick["at"]} for tick in ticks)]
    standing = iter(places)
    at_jobs = [0.0 if value is _ABSENT else next(standing) for value in values]
    return {"label": path, "at": at_jobs, "ticks": ticks, "texts": texts}


_LIFT = 0.16


def _numbers(values: Sequence[float]) -> tuple[list[float], list[dict[str, Any]]]:
    """Places between 0 and 1, and ticks: at each value if they are few, else at the ends and between them."""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high > _LOG_FROM * low

    def place(value: float) -> float:
        if low == high:
            return 0.5
        if logarithmic:
            return log10(value / low) / log10(high / low)
        return (value - low) / (high - low)

    ticked = sorted(set(values))
    if len(ticked) > MAX_TICKS:
        parts = [part / 4 for part in range(5)]
        ticked = [low * (high / low) ** part if logarithmic else low + (high - low) * part for part in parts]
        ticked = [low, *ticked[1:-1], high]
    ticks: list[dict[str, Any]] = []
    for value in ticked:
        at = place(value)
        if not ticks or at - ticks[-1]["at"] > 0.06:
            ticks.append({"at": at, "text": number(value, digits=3)})
    return [place(value) for value in values], ticks


def _thinned(ticks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return ticks[:: -(-len(ticks) // (2 * MAX_TICKS))]
