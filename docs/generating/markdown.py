"""What every generated page is written with."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

Parts = Iterator[str]
"""A page, paragraph by paragraph: headings, tables and lists count as one."""

ORIGIN = "<!-- Written by docs/generate.py: change the code, then `make docs`. -->"

_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return (
            "| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|").replace("``", "–") for cell in cells) + " |"
        )

    return "\n".join([line(headings), line(("---",) * len(headings)), *map(line, rows)])


def bounds(field: dict[str, Any]) -> list[str]:
    """How far the numbers of a JSON schema reach."""
    return [f"{sign} {_number(field[name])}" for name, sign in _SIGNS.items() if name in field]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else str(value)


def default(field: dict[str, Any]) -> str:
    """The default of a JSON schema's property, or that it has none."""
    return f"`{_json(field['default'])}`" if "default" in field else "required"


def _json(value: Any) -> str:
    if isinstance(value, dict) and "kind" in value:
        return str(value["kind"])  # a component with its defaults
    text = {True: "true", False: "false", None: "null"}
    return text[value] if isinstance(value, bool | None) else str(value)
