"""Housekeeping: remove what has had its time and what nobody names, or only say what that would be."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.auth.audit import Whole, record
from api.auth.scopes import ScopedRoute
from api.dependencies import AdminService
from api.errors import declared
from api.housekeeping import Housekeeper
from models import answers

router = APIRouter(prefix="/v1/housekeeping", tags=["operations"], route_class=ScopedRoute)


@router.post("", summary="Remove what has had its time", responses=declared())
def tidy(
    service: AdminService,
    dry_run: Annotated[bool, Query(description="Remove nothing; report the same numbers.")] = False,
) -> answers.Housekeeping:
    """Checkpoints, histories and artifacts beyond the settings' days, and files in storage that nothing names.

    It happens by itself once an hour.
    """
    report = Housekeeper(service.database, service.storage, service.settings).tidy(rehearses=dry_run)
    if not dry_run:
        with service.database.write() as session:
            record(session, service.principal, "house_kept", Whole())
    return report
