"""Find the components and fields of a spec that no case covers."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

from models.spec.analyses import LaterAnalysis
from models.spec.component import SpecModel, choices
from models.spec.families import FAMILIES
from models.spec.job import LABELS, Budget, JobSpec, Record
from tests.fingerprint.case import Case

COMPONENTS: dict[str, Any] = {**FAMILIES, "analysis": LaterAnalysis}
"""By family: the union of its components, with the analysis that no spec can request."""

UNCHECKED_FIELDS = LABELS | {"kind", "id", "found", "to", "device", "max_seconds", "analyses"}
"""Fields that change no bit on the CPU, or that name what a component reads."""


def uncovered(cases: Iterable[Case]) -> list[str]:
    """Return what no case covers: components, values of a literal, and other values of a field that never varies."""
    values: dict[tuple[type[SpecModel], str], list[Any]] = defaultdict(list)
    for case in cases:
        for part in (part for given in (*case.specs, *case.analyses) for part in _parts(given)):
            for name, value in part:
                values[type(part), name].append(value)
    types: dict[str, type[SpecModel]] = {"the spec": JobSpec, "its budget": Budget, "its record": Record}
    for family, union in COMPONENTS.items():
        types |= {f'the {family} "{part.model_fields["kind"].default}"': part for part in choices(union)}
    missing = []
    for title, type_ in types.items():
        if not any(owner is type_ for owner, _ in values):
            missing.append(title)
            continue
        for name in type_.model_fields.keys() - UNCHECKED_FIELDS:
            annotation, seen = type_.model_fields[name].annotation, values[type_, name]
            if get_origin(annotation) is Literal:
                missing += [f"{name}={value} of {title}" for value in get_args(annotation) if value not in seen]
            elif all(value == seen[0] for value in seen):
                missing.append(f"another {name} of {title}")
    return sorted(missing)


def _parts(part: SpecModel) -> Iterator[SpecModel]:
    """Walk a part of a spec and all parts inside it."""
    yield part
    for _, value in part:
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, SpecModel):
                yield from _parts(inner)
