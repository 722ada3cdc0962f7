"""How requests name things, in paths, parameters and bodies."""

from collections.abc import Sequence
from typing import Any

from models.answers import Job, Run
from models.spec.job import JobSpec

Parameters = Sequence[tuple[str, str]]
"""Query parameters in order; a name may stand more than once."""

Spec = JobSpec | dict[str, Any]

PAGE_SIZE = 200


def id_of(named: str | Job | Run) -> str:
    return named if isinstance(named, str) else named.id


def given(**parameters: str | None) -> list[tuple[str, str]]:
    """Those that have a value."""
    return [(name, value) for name, value in parameters.items() if value is not None]


def as_body(spec: Spec) -> dict[str, Any]:
    return spec.model_dump(mode="json") if isinstance(spec, JobSpec) else spec


def as_header(idempotency_key: str | None) -> dict[str, str]:
    return {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
