"""Verdicts: whether what is claimed of jobs is borne out by what they measured."""

from fastapi import APIRouter

from api.comparison.judge import judgement
from api.dependencies import ReadService
from api.errors import NOT_JSON, TOO_LARGE, declared
from api.evidence import Evidence
from api.http.limits import JsonRoute
from models.claims import Claims, Judgement
from models.spec.component import SpecModel

router = APIRouter(prefix="/v1", tags=["comparisons"], route_class=JsonRoute)


class Family(SpecModel):
    """Claims that are judged together: the more there are, the stronger the evidence that each of them needs."""

    claims: Claims


@router.post("/verdicts", summary="Judge claims", responses=declared(TOO_LARGE, NOT_JSON))
def judge_claims(family: Family, service: ReadService) -> Judgement:
    """Supported, refuted or undecided, with effect, interval and p, each claim's Holm-adjusted over all that have one.

    Once all runs of their jobs have ended. Nothing is stored: the same claims come to the same verdicts.
    """
    evidence = Evidence(service, family.claims)
    return judgement([evidence.find(claim, f"/claims/{i}") for i, claim in enumerate(family.claims)])
