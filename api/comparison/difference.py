"""What sets the contenders apart: the spec fields in which they differ."""

from collections.abc import Iterator, Sequence
from typing import Any

from api.comparison.history import JobHistory


def spec_difference(jobs: Sequence[JobHistory]) -> dict[str, dict[str, Any]]:
    """Only the fields that differ: dotted path → job id → value. A job that has no such field is absent.

    Names and labels do not count. Regularizers stand under their kind (`regularizers.l2.weight`), since each stands
    only once in a spec and their positions mean nothing.
    """
    fields: dict[str, dict[str, Any]] = {}
    for job in jobs:
        for path, value in _leaves("", _by_kind(job.spec.canonical())):
            fields.setdefault(path, {})[job.job_id] = value
    return {path: values for path, values in fields.items() if _differ(values, len(jobs))}


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
