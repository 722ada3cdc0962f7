"""A base spec times a grid: the specs of a sweep."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from itertools import product
from math import prod
from typing import Any, NamedTuple

from pydantic import ValidationError

from api.errors import Refusal, invalid, several
from api.http.limits import MAX_JSON_DEPTH
from api.planning import Planned
from api.pointers import body_errors, pointer_to
from models.answers import ProblemError
from models.spec.component import Component
from models.spec.job import JobSpec
from models.spec.plan import PlanError

MAX_NAME = 200
MAX_BYTES = 64 * 1024**2
"""Of the specs of a sweep as they are stored: each job has a copy of the base."""

Grid = Mapping[str, Sequence[Any]]


class Choice(NamedTuple):
    """One value of the grid."""

    path: str
    position: int
    """Among the values of its path."""
    value: Any
    text: str
    """The value as it appears in the names of jobs."""


def expand(
    name: str,
    base: dict[str, Any],
    grid: Grid,
    seeds: int | Sequence[int] | None,
    check: Callable[[JobSpec], Planned],
    *,
    most_jobs: int,
    most_runs: int,
) -> list[Planned]:
    """What `check` makes of one spec per combination of the grid, the last path turning fastest.

    Raises:
        Refusal: if there are too many, a path leads nowhere, or a combination is no valid spec; the pointer names the
            grid's entry where it is to blame, and else the place in the base.

    """
    count = prod(len(values) for values in grid.values())
    if count > most_jobs:
        raise invalid("/grid", "too_many", f"{count:,} combinations exceed the limit of {most_jobs:,} jobs")
    size = count * len(json.dumps(base))
    if size > MAX_BYTES:
        detail = f"{count:,} copies of this base take {size:,} bytes, more than {MAX_BYTES:,}: shorten it, or the grid"
        raise invalid("/base", "too_large", detail)
    choices = [
        [Choice(path, position, value, _words(value)) for position, value in enumerate(values)]
        for path, values in grid.items()
    ]
    planned: list[Planned] = []
    runs = 0
    for chosen in product(*choices):
        planned.append(_combined(name, base, chosen, seeds, check))
        runs += len(planned[-1].settled.spec.runs)
        if runs > most_runs:
            raise invalid("/grid", "too_many", f"the sweep exceeds the limit of {most_runs:,} runs")
    return planned


def _combined(
    name: str,
    base: dict[str, Any],
    chosen: Sequence[Choice],
    seeds: int | Sequence[int] | None,
    check: Callable[[JobSpec], Planned],
) -> Planned:
    raw = dict(base)
    if seeds is not None:
        raw["seeds"] = seeds
    for choice in chosen:
        _put(raw, choice.path, choice.value)
    raw["experiment"] = raw.get("experiment") or name
    if all(choice.path != "name" for choice in chosen):
        raw["name"] = job_name(name or str(raw.get("name", "")), chosen)
    try:
        return check(JobSpec.model_validate(raw))
    except ValidationError as error:
        found = body_errors(error.errors(include_url=False), raw)
    except PlanError as error:
        found = [ProblemError(pointer=error.pointer, code=error.code, detail=str(error))]
    except Refusal as error:
        found = error.errors
    blamed = {pointer_to(choice.path.split(".")): choice for choice in chosen}
    raise several([one.model_copy(update={"pointer": _blame(one.pointer, blamed)}) for one in found])


def _put(raw: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path. A bare name on the way is spelled out, a missing object is made.

    The objects on the way are copied first: all combinations share the base and the values of the grid.
    """
    *parts, last = path.split(".")
    if len(parts) > MAX_JSON_DEPTH:
        raise _no_such_path(path, f"no object of a spec is nested deeper than {MAX_JSON_DEPTH}")
    node: Any = raw
    for part in parts:
        node = _child(node, part, path)
    if isinstance(node, list):
        node[_position(node, last, path)] = value
    else:
        node[last] = value


def _child(node: Any, part: str, path: str) -> Any:
    """Return a copy of a node's child, which takes its place."""
    key: Any = _position(node, part, path) if isinstance(node, list) else part
    if isinstance(node, dict) and part not in node:
        default = JobSpec.model_fields[part].default if part in JobSpec.model_fields else None
        node[part] = {"kind": default.kind} if isinstance(default, Component) else {}
    child = {"kind": node[key]} if isinstance(node[key], str) else node[key]
    if not isinstance(child, dict | list):
        raise _no_such_path(path, f'the base has no object at "{part}" of this path')
    node[key] = copy(child)
    return node[key]


def _position(node: list[Any], part: str, path: str) -> int:
    if not (part.isascii() and part.isdigit() and len(part) < 6 and int(part) < len(node)):
        raise _no_such_path(path, f'the base has no element "{part}" of this path')
    return int(part)


def _no_such_path(path: str, detail: str) -> Refusal:
    return invalid(pointer_to(("grid", path)), "no_such_path", detail)


def _blame(pointer: str, blamed: Mapping[str, Choice]) -> str:
    """The grid's entry that a combination's error comes from, or the place in the base."""
    for place, choice in blamed.items():
        if f"{pointer}/".startswith(f"{place}/") or (pointer and f"{place}/".startswith(f"{pointer}/")):
            return pointer_to(("grid", choice.path, choice.position))
    # What concerns the whole spec arises from the combination.
    return f"/base{pointer}" if pointer or not blamed else "/grid"


def job_name(name: str, chosen: Sequence[Choice]) -> str:
    """`name · learning_rate=0.01, batch_size=32`; whole paths where their last parts are not distinct."""
    labels = [choice.path.rpartition(".")[2] for choice in chosen]
    if len(set(labels)) < len(labels):
        labels = [choice.path for choice in chosen]
    settings = ", ".join(f"{label}={choice.text}" for label, choice in zip(labels, chosen, strict=True))
    full = " · ".join(part for part in (name, settings) if part)
    return full if len(full) <= MAX_NAME else f"{full[: MAX_NAME - 1]}…"


def _words(value: Any) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    return json.dumps(value)
