"""Labs: experiments that come with Descent, for whoever wants to run them."""

from functools import cache
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth.scopes import ScopedRoute, requires
from api.errors import NOT_FOUND, Refusal, declared
from api.pages import single_page
from api.responses import UNCHANGED, IfNoneMatch, not_modified, strong_etag
from models.access import Scope
from models.answers import Page
from models.lab_plans import LabPlan, LabSummary
from models.labs import shipped

router = APIRouter(prefix="/v1/labs", tags=["labs"], route_class=ScopedRoute, dependencies=[requires(Scope.READ)])


@cache
def _page() -> Page[LabSummary]:
    return single_page([LabSummary.of(lab) for lab in shipped().values()])


@cache
def _plan(name: str, *, quick: bool) -> tuple[str, str]:
    """As JSON, and its ETag."""
    lab = shipped()[name]
    content = LabPlan.of(lab.as_quick() if quick else lab).model_dump_json()
    return content, strong_etag(content)


@router.get("", summary="List labs", responses=declared())
def list_labs() -> Page[LabSummary]:
    """Claims as they are taught, each with the jobs that can support or refute it."""
    return _page()


@router.get("/{name}", summary="Get a lab", response_model=LabPlan, responses=declared(NOT_FOUND, also=UNCHANGED))
def get_lab(
    name: str,
    quick: Annotated[bool, Query(description="The smaller version: few seeds and short runs.")] = False,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """All that it takes to run a lab: its jobs, what is chosen first, what is opened, and the claims to judge.

    Nothing of it is a result: a verdict comes from POST /v1/verdicts once the jobs have ended.
    """
    if name not in shipped():
        raise Refusal(NOT_FOUND, f'there is no lab "{name}": there are {", ".join(shipped())}')
    content, etag = _plan(name, quick=quick)
    if unchanged := not_modified(if_none_match, etag):
        return unchanged
    return Response(content, media_type="application/json", headers={"ETag": etag, "Cache-Control": "no-cache"})
