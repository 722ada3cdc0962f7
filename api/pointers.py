"""From pydantic's errors to JSON pointers and sentences."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

from models.answers import ProblemError
from models.spec.component import choices
from models.spec.families import FAMILIES
from models.spec.job import JobSpec

MOST_ERRORS = 20
"""Maximum number of errors reported per request."""

Location = Sequence[int | str]


def pointer_to(parts: Iterable[int | str]) -> str:
    """RFC 6901: ~ and / inside a part are escaped."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def body_pointer(location: Location, body: Any) -> str:
    """Where in the body an error lies: `location` without the tags that pydantic puts in for the members of a union."""
    parts: list[int | str] = []
    node = body
    for position, element in enumerate(location):
        if isinstance(node, dict):
            if element in node:
                node = node[element]
            elif element == node.get("kind") or position < len(location) - 1:
                continue
            else:
                node = None
        elif isinstance(node, list):
            if not isinstance(element, int) or not 0 <= element < len(node):
                continue
            node = node[element]
        else:
            break
        parts.append(element)
    return pointer_to(parts)


def body_errors(found: Iterable[Mapping[str, Any]], body: Any) -> list[ProblemError]:
    """One error per place, in the order of their first mention; several messages about one place are joined.

    Returns:
        The errors of the first MOST_ERRORS places.

    """
    by_pointer: dict[str, list[ProblemError]] = {}
    for error in found:
        pointer = body_pointer(error["loc"], body)
        if pointer not in by_pointer and len(by_pointer) == MOST_ERRORS:
            break
        by_pointer.setdefault(pointer, []).append(
            ProblemError(pointer=pointer, code=_code(error), detail=_detail(error))
        )
    # A list whose elements are refused is then also too short, which helps nobody.
    return [
        _joined(errors)
        for pointer, errors in by_pointer.items()
        if errors[0].code != "too_short" or not any(other.startswith(f"{pointer}/") for other in by_pointer)
    ]


def parameter_errors(found: Iterable[Mapping[str, Any]]) -> list[ProblemError]:
    """Errors in query parameters (`?limit`), path parameters and headers (by name), the first MOST_ERRORS of them."""
    return [
        ProblemError(pointer=_parameter(error["loc"]), code=_code(error), detail=_detail(error))
        for error in islice(found, MOST_ERRORS)
    ]


def _parameter(location: Location) -> str:
    place, name = location[0], location[1] if len(location) > 1 else ""
    return f"?{name}" if place == "query" else str(name)


def _joined(errors: Sequence[ProblemError]) -> ProblemError:
    details = list(dict.fromkeys(error.detail for error in errors))
    return errors[0].model_copy(update={"detail": ", or ".join(details)})


def _code(error: Mapping[str, Any]) -> str:
    code = str(error["type"])
    return {"union_tag_invalid": "unknown_kind", "union_tag_not_found": "kind_missing"}.get(code, code)


def _detail(error: Mapping[str, Any]) -> str:
    family = _family(error["loc"])
    match error["type"]:
        case "union_tag_invalid":
            return _unknown(error["ctx"]["tag"], family, _quoted_words(error["ctx"]["expected_tags"]))
        case "union_tag_not_found":
            return f'say which {family} with "kind"'
        case "literal_error" if isinstance(error["input"], str):
            name = family if error["loc"][-1] == "kind" else str(error["loc"][-1])
            return _unknown(error["input"], name, _quoted_words(error["ctx"]["expected"]))
        case "model_attributes_type" | "model_type":
            return "this must be an object" + (f', or the name of a {family} such as "…"' if family != "kind" else "")
        case "missing":
            return "this is required"
        case "extra_forbidden":
            return _no_such_field(error["loc"])
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            message = str(error["msg"])
            return message[:1].lower() + message[1:]


def _no_such_field(location: Location) -> str:
    name, kind = str(location[-1]), location[-2] if len(location) > 1 else None
    for component in choices(FAMILIES.get(_family(location), ())):
        if component.model_fields["kind"].default == kind:
            return _unknown(name, f"field of {kind}", [field for field in component.model_fields if field != "kind"])
    near = get_close_matches(name, JobSpec.model_fields, n=1)
    return "there is no such field" + (f': did you mean "{near[0]}"?' if near else "")


def _family(location: Location) -> str:
    names = [str(part).removesuffix("s") for part in location]
    return next((name for name in reversed(names) if name in FAMILIES), "kind")


def _quoted_words(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _unknown(given: str, family: str, known: Sequence[str]) -> str:
    shown = given if len(given) <= 40 else f"{given[:39]}…"
    near = get_close_matches(given, known, n=1)
    guess = f'did you mean "{near[0]}"? Known are' if near else "known are"
    return f'"{shown}" is no known {family}: {guess} {", ".join(known)}'
