"""The second half of api.md: what bodies and answers are made of, as tables of fields."""

import re
from collections import Counter
from inspect import cleandoc
from typing import Any

from docs.generating.markdown import Parts, bounds, default, table
from models.spec.component import choices
from models.spec.families import FAMILIES

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_FAMILY_OF = {component.__name__: family for family, union in FAMILIES.items() for component in choices(union)}
_A_COMPONENT = [{"type": "string"}, {"additionalProperties": True, "type": "object"}]
"""Of a body: a bare name, or any object, so that whoever sends a wrong one is told what is wrong with it."""
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
_FORMATS = {"date-time": "time", "binary": "bytes", "uri": "address"}


class Schemas:
    """The schemas of an OpenAPI document, by the names that a reader sees.

    What is sent and what comes back are one schema to a reader, and so are the components of a family, which have a
    page of their own.
    """

    def __init__(self, document: Schema) -> None:
        self._all: dict[str, Schema] = document["components"]["schemas"]
        last = Counter(key.rpartition("__")[2] for key in self._all)
        self._names = {key: self._name(key, ambiguous=last[key.rpartition("__")[2]] > 1) for key in self._all}

    def _name(self, key: str, *, ambiguous: bool) -> str:
        *modules, name = key.removesuffix("-Input").removesuffix("-Output").split("__")
        return f"{name} ({modules[1]})" if ambiguous else name

    def tables(self) -> Parts:
        """Every schema that is neither a component nor a page of others, by name."""
        shown = {self._names[key]: key for key in self._all if not self._is_elsewhere(key)}
        for name in sorted(shown, key=str.lower):
            yield f"### {name}"
            yield from self._table(self._all[shown[name].replace("-Output", "-Input")])

    def _is_elsewhere(self, key: str) -> bool:
        return self._names[key] in _FAMILY_OF or key.startswith("Page_") or self._all[key].get("anyOf") == _A_COMPONENT

    def _table(self, schema: Schema) -> Parts:
        if description := schema.get("description"):
            yield cleandoc(description)
        if "properties" not in schema:
            yield f"One of {self.type_of(schema)}." if "enum" in schema else f"{self.type_of(schema).capitalize()}."
            return
        required = schema.get("required", ())
        answered = self._all.get(f"{schema['title']}-Output", schema)["properties"]
        rows = []
        for name, field in schema["properties"].items():
            kind = self.type_of(answered.get(name, field) if _names_components(field) else field)
            rows.append((f"`{name}`", kind, _given(field, is_required=name in required), field.get("description", "")))
        yield table(("field", "type", "default", "meaning"), rows)

    def type_of(self, schema: Schema) -> str:
        """What a value may be, in words, with links to what it is made of."""
        if "$ref" in schema:
            return self._link(schema["$ref"].removeprefix(_REFERENCE))
        if alternatives := schema.get("anyOf") or schema.get("oneOf"):
            return self._either(alternatives)
        if "enum" in schema or "const" in schema:
            return " ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
        kind = schema.get("type")
        if kind == "array":
            return self._list(schema)
        if kind == "object":
            inner = schema.get("additionalProperties")
            return f"object of {self.type_of(inner)}" if isinstance(inner, dict) else "object"
        word = _FORMATS.get(schema.get("format", ""), _WORDS.get(kind or "", "anything"))
        return ", ".join([word, *bounds(schema), *_length(schema, "maxLength", "characters")])

    def _list(self, schema: Schema) -> str:
        if places := schema.get("prefixItems"):
            return f"list of {', '.join(self.type_of(place) for place in places)}"
        of = self.type_of(schema.get("items", {}))
        return ", ".join([f"list of {of}", *_length(schema, "maxItems", "of them")])

    def _either(self, alternatives: list[Schema]) -> str:
        if alternatives == _A_COMPONENT:
            return "component"
        return " or ".join(dict.fromkeys(map(self.type_of, alternatives)))

    def _link(self, key: str) -> str:
        if page := re.fullmatch(r"Page_(\w+)_", key):
            return f"[page](#pages) of {self._link(page[1])}"
        name = self._names[key]
        if name in _FAMILY_OF:
            return f"[{_FAMILY_OF[name]}](components.md#{_FAMILY_OF[name]})"
        if self._all[key].get("anyOf") == _A_COMPONENT:
            return "component"
        return f"[{name}](#{re.sub(r'[^a-z0-9 _-]', '', name.lower()).replace(' ', '-')})"


def _names_components(field: Schema) -> bool:
    return _A_COMPONENT in (field.get("anyOf"), field.get("items", {}).get("anyOf"))


def _given(field: Schema, *, is_required: bool) -> str:
    if "default" in field:
        return default(field)
    return "" if is_required else "`null`"


def _length(schema: Schema, name: str, of_what: str) -> list[str]:
    return [f"at most {schema[name]:,} {of_what}"] if name in schema else []
