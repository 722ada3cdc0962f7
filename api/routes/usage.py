"""What an owner uses of the quotas."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import func, select

from api.auth.scopes import ScopedRoute, check_owner
from api.dependencies import ReadService
from api.errors import declared
from models import answers
from models.status import LIVE, RunStatus
from models.storage_usage import storage_usage
from models.tables import Run

router = APIRouter(tags=["operations"], route_class=ScopedRoute)


@router.get("/v1/usage", summary="Show storage and runs against the quotas", responses=declared())
def get_usage(
    service: ReadService,
    owner: Annotated[
        str | None, Query(max_length=64, description="Another owner, for admins; by default that of the key.")
    ] = None,
) -> answers.Usage:
    """Bytes in storage, bytes that unfinished runs are expected to add, queued and running runs, with their limits."""
    principal, settings = service.principal, service.settings
    if owner is None:
        owner = principal.owner
    check_owner(principal, owner)
    with service.database.read() as session:
        used = storage_usage(session, owner)
        by_status = select(Run.status, func.count()).where(Run.owner == owner).group_by(Run.status)
        runs = dict(session.execute(by_status.where(Run.status.in_({RunStatus.QUEUED} | LIVE))).all())
    is_exempt = principal.is_admin and owner == principal.owner
    return answers.Usage(
        owner=owner,
        stored_bytes=answers.StoredBytes(
            datasets=used.datasets, artifacts=used.artifacts, checkpoints=used.checkpoints, total=used.stored
        ),
        expected_bytes=used.expected,
        max_stored_bytes=None if is_exempt else settings.max_stored_bytes,
        queued_runs=runs.get(RunStatus.QUEUED, 0),
        max_queued_runs=None if is_exempt else settings.max_queued_runs,
        running_runs=sum(runs.get(status, 0) for status in LIVE),
        max_running_runs=settings.max_running_runs,
    )
