"""api.md: every route of the service, from its own OpenAPI document."""

from collections.abc import Iterable
from html import escape
from inspect import cleandoc
from typing import Any, NamedTuple

from pydantic import SecretStr

from api.app import create_app
from docs.generating.markdown import ORIGIN, Parts, table
from docs.generating.schemas import Schema, Schemas
from models.settings import Settings

PROBLEM = "application/problem+json"
JSON = "application/json"
_A_KEY = "only-to-have-the-application-put-together"


class Route(NamedTuple):
    """One method of one path, as OpenAPI describes it."""

    method: str
    path: str
    told: dict[str, Any]

    @property
    def is_open(self) -> bool:
        return not self.told.get("security")

    @property
    def scope(self) -> str:
        """The scope of the keys that it takes."""
        (requirement,) = self.told["security"]
        (scope,) = requirement["key"]
        return str(scope)

    @property
    def problems(self) -> dict[str, Schema]:
        """What can go wrong, by its code."""
        return {
            code: example["value"]
            for answer in self.told["responses"].values()
            for code, example in answer.get("content", {}).get(PROBLEM, {}).get("examples", {}).items()
        }


def routes() -> Parts:
    document = create_app(Settings(admin_key=SecretStr(_A_KEY))).openapi()
    schemas = Schemas(document)
    found = [
        Route(method, path, told) for path, methods in document["paths"].items() for method, told in methods.items()
    ]
    everywhere = set.intersection(*(set(route.problems) for route in found if not route.is_open))
    yield "# HTTP"
    yield ORIGIN
    yield cleandoc(document["info"]["description"])
    yield (
        "A running service shows the same at `/docs`, where every route can be tried, and hands out the OpenAPI "
        "document at `/openapi.json`. For Python there is [a client](how-to/use-the-client.md)."
    )
    yield from _conventions(found, everywhere)
    for tag in dict.fromkeys(route.told["tags"][0] for route in found):
        yield f"## {tag.capitalize()}"
        for route in found:
            if route.told["tags"][0] == tag:
                yield from _route(route, schemas, everywhere)
    yield "## Schemas"
    yield "What bodies and answers are made of. A field without a default is required, and in an answer always there."
    yield from schemas.tables()


def _conventions(found: Iterable[Route], everywhere: set[str]) -> Parts:
    yield "## Conventions"
    yield "### Access"
    yield (
        "Every request carries `Authorization: Bearer <key>`, unless its route says that no key is needed. The scope "
        "that the key has to have stands beside each route. See [keys and owners](security.md#keys-and-owners)."
    )
    yield "### Pages"
    yield (
        "Lists come in pages: `data` holds the entries, `has_more` says whether others follow, and `next_after` is to "
        "be sent back as `after` for the next page."
    )
    yield "### Errors"
    yield (
        "An error is a [Problem](#problem) of type `urn:descent:problem:<code>`, whose `errors` point to the places in "
        "the body that are wrong. Codes marked • may come from every route that takes a key."
    )
    problems = {code: problem for route in found for code, problem in route.problems.items()}
    rows = [
        (
            f"`{code}`{' •' if code in everywhere else ''}",
            str(problem["status"]),
            problem["title"],
            escape(problem["detail"]),
        )
        for code, problem in sorted(problems.items(), key=lambda item: (item[1]["status"], item[0]))
    ]
    yield table(("code", "status", "title", "for example"), rows)


def _route(route: Route, schemas: Schemas, everywhere: set[str]) -> Parts:
    told = route.told
    yield f"### {told['summary']}"
    method = route.method.upper()
    scope = "no key needed" if route.is_open else f"scope `{route.scope}`"
    yield f"`{method} {route.path}` ({scope})"
    yield cleandoc(told.get("description", ""))
    if parameters := told.get("parameters"):
        rows = [
            (f"`{one['name']}`", one["in"], schemas.type_of(one["schema"]), _default(one), one.get("description", ""))
            for one in parameters
        ]
        yield table(("parameter", "in", "type", "default", "meaning"), rows)
    lines = []
    if body := told.get("requestBody"):
        lines.append(f"- Body: {_content(body['content'], schemas)}")
    lines += [
        f"- Answer {status}: {_answer(one, schemas)}" for status, one in told["responses"].items() if status < "4"
    ]
    if special := [f"{problem['status']} `{code}`" for code, problem in _special(route, everywhere)]:
        lines.append(f"- Errors: {', '.join(special)}")
    yield "\n".join(lines)


def _default(parameter: Schema) -> str:
    if "default" in parameter["schema"]:
        value = parameter["schema"]["default"]
        return f"`{value}`" if value not in ("", []) else "none"
    return "required" if parameter["required"] else "none"


def _special(route: Route, everywhere: set[str]) -> list[tuple[str, Schema]]:
    found = ((code, problem) for code, problem in route.problems.items() if code not in everywhere)
    return sorted(found, key=lambda item: (item[1]["status"], item[0]))


def _answer(answer: Schema, schemas: Schemas) -> str:
    said = answer["description"]
    content = _content(answer.get("content", {}), schemas) or "nothing"
    return content if said == "Successful Response" else f"{content}: {said[0].lower()}{said[1:]}"


def _content(content: dict[str, Schema], schemas: Schemas) -> str:
    return " or ".join(
        schemas.type_of(of["schema"]) if kind == JSON and of.get("schema") else f"`{kind}`"
        for kind, of in content.items()
        if kind != PROBLEM
    )
