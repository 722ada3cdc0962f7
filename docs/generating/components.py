"""components.md: every choice that a spec can make."""

from inspect import cleandoc
from typing import Any

from docs.generating.markdown import ORIGIN, Parts, bounds, default, table
from models.spec.component import Component, choices, per_run_fields
from models.spec.families import FAMILIES


def components() -> Parts:
    yield "# Components"
    yield ORIGIN
    yield (
        "Every choice that a spec can make. A bare name stands for the component with its defaults: "
        '`"optimizer": "adam"` is `"optimizer": {"kind": "adam"}`. '
        "Fields marked • may differ between runs that train together in one cohort; any other difference makes "
        "another cohort."
    )
    for family, union in FAMILIES.items():
        yield f"## {family.capitalize()}"
        for component in choices(union):
            yield from _component(component)


def _component(component: type[Component]) -> Parts:
    yield f"### `{component.model_fields['kind'].default}`"
    yield cleandoc(component.__doc__ or "")
    fields: dict[str, dict[str, Any]] = component.model_json_schema()["properties"]
    per_run = per_run_fields(component)
    rows = [
        (f"`{name}`{' •' if name in per_run else ''}", default(field), _allowed(field), field.get("description", ""))
        for name, field in fields.items()
        if name != "kind"
    ]
    if rows:
        yield table(("field", "default", "allowed", "meaning"), rows)


def _allowed(field: dict[str, Any]) -> str:
    if isinstance(field.get("default"), dict):
        return "component" if "kind" in field["default"] else "object"
    return (
        ", ".join(bounds(field)) or " ".join(f"`{value}`" for value in field.get("enum", ())) or field.get("type", "")
    )
