"""Components: every choice that a spec can name, read from the contract itself."""

from functools import cache
from inspect import cleandoc
from typing import Any

from fastapi import APIRouter, Response

from api.auth.scopes import ScopedRoute, requires
from api.errors import NOT_FOUND, Refusal, declared
from api.pages import single_page
from api.responses import UNCHANGED, IfNoneMatch, not_modified, strong_etag
from models.access import Scope
from models.answers import ComponentChoice, Page
from models.spec.component import Component, choices, per_run_fields
from models.spec.families import FAMILIES

router = APIRouter(
    prefix="/v1/components", tags=["components"], route_class=ScopedRoute, dependencies=[requires(Scope.READ)]
)


@cache
def _choices(family: str) -> list[ComponentChoice]:
    return [_choice(family, component) for component in choices(FAMILIES[family])]


def _choice(family: str, component: type[Component]) -> ComponentChoice:
    kind = component.model_fields["kind"].default
    defaults: dict[str, Any] = component.model_construct(kind=kind).model_dump(mode="json")
    return ComponentChoice(
        family=family,
        kind=kind,
        summary=cleandoc(component.__doc__ or ""),
        schema=component.model_json_schema(),
        defaults=defaults,
        per_run=sorted(per_run_fields(component)),
    )


def _answer(families: list[str], if_none_match: str | None, response: Response) -> Page[ComponentChoice] | Response:
    page = single_page([choice for family in families for choice in _choices(family)])
    etag = strong_etag(page.model_dump_json(by_alias=True))
    if unchanged := not_modified(if_none_match, etag):
        return unchanged
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "no-cache"
    return page


@router.get(
    "",
    summary="List components",
    response_model=Page[ComponentChoice],
    responses=declared(also=UNCHANGED),
)
def list_components(response: Response, if_none_match: IfNoneMatch = None) -> Page[ComponentChoice] | Response:
    """Every kind of every family: fields with units and bounds, defaults, formula and source."""
    return _answer(list(FAMILIES), if_none_match, response)


@router.get(
    "/{family}",
    summary="List a family of components",
    response_model=Page[ComponentChoice],
    responses=declared(NOT_FOUND, also=UNCHANGED),
)
def list_family(family: str, response: Response, if_none_match: IfNoneMatch = None) -> Page[ComponentChoice] | Response:
    """Every kind of one family: dataset, network, optimizer, schedule, regularizer or evaluation."""
    if family not in FAMILIES:
        raise Refusal(NOT_FOUND, f'there is no family "{family}": there are {", ".join(FAMILIES)}')
    return _answer([family], if_none_match, response)
