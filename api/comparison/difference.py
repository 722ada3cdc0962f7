"""What sets the contenders apart: the spec fields in which they differ."""

from collections.abc import Iterator, Sequence
from typing import Any

from api.comparison.history import JobHistory

Fields = dict[str, dict[str, Any]]
"""Dotted path → job id → value. A job that has no such field is absent."""


def spec_fields(jobs: Sequence[JobHistory]) -> Fields:
    """Every field of the specs but names and labels. Regularizers stand under their kind (`regularizers.l2.weight`),
    since each stands only once in a spec and their positions mean nothing.
    """
    fields: Fields = {}
    for job in jobs:
        for path, value in _leaves("", _by_kind(job.canonical)):
            fields.setdefault(path, {})[job.job_id] = value
    return fields


def spec_difference(fields: Fields, jobs: int) -> Fields:
    """Only the fields in which so many jobs differ."""
    return {path: values for path, values in fields.items() if _differ(values, jobs)}


def _by_kind(canonical: dict[str, Any]) -> dict[str, Any]:
    return canonical | {"regularizers": {part["kind"]: part for part in canonical["regularizers"]}}


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Lists are values: `hidden` differs as a whole."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    else:
        yield path, value


def _differ(values: dict[str, Any], jobs: int) -> bool:
    first = next(iter(values.values()))
    return len(values) < jobs or any(value != first for value in values.values())
