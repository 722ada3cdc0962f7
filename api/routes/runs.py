"""Runs: what they are, what they measured, what they left behind."""

from collections.abc import Iterator
from typing import IO, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from api.auth.scopes import ScopedRoute
from api.dependencies import FOLLOWS, ReadService
from api.errors import NOT_FOUND, OVER_QUOTA, Refusal, declared, invalid
from api.job_answers import run_answers
from api.pages import single_page
from models import answers
from models.metric_stream import Cursor
from models.tables import Artifact, Checkpoint, CheckpointRow, Run, Snapshot

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=ScopedRoute)

MAX_POINTS = 10_000
MAX_WAIT_SECONDS = 20
DOWNLOAD_BYTES = 256 * 1024

MetricNames = Annotated[list[str], Query(max_length=32, description="Metrics to answer; all, if none is named.")]


def read_cursor(text: str) -> Cursor:
    """Read a `next_after`.

    Raises:
        Refusal: if this server did not give it.

    """
    try:
        return Cursor.parse(text)
    except ValueError as error:
        raise invalid("?after", "not_a_cursor", str(error)) from None


def demand_run(session: Session, run_id: str) -> None:
    """Make sure that there is such a run.

    Raises:
        Refusal: if there is none.

    """
    if not session.scalar(select(exists().where(Run.id == run_id))):
        raise Refusal(NOT_FOUND, f"there is no run {run_id}")


@router.get("/{run_id}", summary="Get a run", responses=declared(NOT_FOUND))
def get_run(run_id: str, service: ReadService) -> answers.Run:
    with service.database.read() as session:
        found = run_answers(session, Run.id == run_id)
    if not found:
        raise Refusal(NOT_FOUND, f"there is no run {run_id}")
    return found[0]


@router.get("/{run_id}/metrics", summary="Get a run's points", responses=declared(NOT_FOUND, OVER_QUOTA))
async def get_metrics(
    run_id: str,
    service: ReadService,
    name: MetricNames = [],  # noqa: B006
    after: Annotated[str, Query(max_length=40, description="`next_after` of the page before; empty: all.")] = "",
    limit: Annotated[
        int, Query(ge=1, le=MAX_POINTS, description="Points of a page; chunks stay whole, and one is always given.")
    ] = MAX_POINTS,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the first new point.")
    ] = 0.0,
    max_points: Annotated[
        int | None,
        Query(ge=5, le=MAX_POINTS, description="Answer the whole history instead, each metric in so many points."),
    ] = None,
) -> answers.MetricsPage:
    """Poll by cursor: every point comes once. After a `rollback`, forget every point past `from_step` first."""
    await service.run_owners.demand(service.principal, run_id)
    if max_points is None:
        cursor = read_cursor(after)
        if not wait:
            return await service.histories.page(run_id, cursor, name, limit=limit)
        async with service.requests.following(service.principal):
            page = await service.histories.page(run_id, cursor, name, limit=limit, wait_seconds=wait)
        await service.keyring.demand_valid(service.principal)
        return page
    if after or wait:
        raise invalid("?max_points", "contradiction", "max_points asks for the whole history: leave out after and wait")
    return await service.histories.sampled(run_id, name, max_points)


@router.get("/{run_id}/checkpoints", summary="List a run's checkpoints", responses=declared(NOT_FOUND))
def list_checkpoints(run_id: str, service: ReadService) -> answers.Page[answers.Checkpoint]:
    """From where the run can go on, the newest first: a few, on one page."""
    with service.database.read() as session:
        demand_run(session, run_id)
        rows = session.scalars(
            select(Checkpoint)
            .join(CheckpointRow, CheckpointRow.checkpoint_id == Checkpoint.id)
            .where(CheckpointRow.run_id == run_id)
            .order_by(Checkpoint.step.desc(), Checkpoint.id.desc())
        ).all()
    return single_page(
        [
            answers.Checkpoint(id=row.id, step=row.step, size=row.size, sha256=row.sha256, created_at=row.created_at)
            for row in rows
        ]
    )


@router.get("/{run_id}/snapshots", summary="List a run's snapshots", responses=declared(NOT_FOUND))
def list_snapshots(run_id: str, service: ReadService) -> answers.Page[answers.Snapshot]:
    """What the network predicted at the steps that the spec names: at most 100, on one page."""
    with service.database.read() as session:
        demand_run(session, run_id)
        rows = session.scalars(select(Snapshot).where(Snapshot.run_id == run_id).order_by(Snapshot.step))
        return single_page([answers.Snapshot(step=row.step, content=row.content) for row in rows])


@router.get("/{run_id}/artifacts", summary="List a run's artifacts", responses=declared(NOT_FOUND))
def list_artifacts(run_id: str, service: ReadService) -> answers.Page[answers.Artifact]:
    """The files to download, on one page."""
    with service.database.read() as session:
        demand_run(session, run_id)
        rows = session.scalars(select(Artifact).where(Artifact.run_id == run_id).order_by(Artifact.id)).all()
    return single_page([answers.Artifact.model_validate(row, from_attributes=True) for row in rows])


@router.get(
    "/{run_id}/artifacts/{artifact_id}",
    summary="Download an artifact",
    dependencies=[FOLLOWS],
    response_class=StreamingResponse,
    responses=declared(
        NOT_FOUND, OVER_QUOTA, also={200: {"content": {"application/octet-stream": {}}, "description": "The file"}}
    ),
)
def download_artifact(run_id: str, artifact_id: str, service: ReadService) -> StreamingResponse:
    """The bytes, under a name that the server made."""
    with service.database.read() as session:
        artifact = session.scalar(select(Artifact).where(Artifact.id == artifact_id, Artifact.run_id == run_id))
    if artifact is None:
        raise Refusal(NOT_FOUND, f"run {run_id} has no artifact {artifact_id}")
    try:
        file = service.storage.open(artifact.storage_key)
    except FileNotFoundError:
        raise Refusal(NOT_FOUND, f"the bytes of artifact {artifact_id} are gone from storage") from None
    suffix = artifact.name.rpartition(".")[2]
    name = f"{artifact_id}.{suffix}" if suffix.isascii() and suffix.isalnum() else artifact_id
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(artifact.size),
        "ETag": f'"{artifact.sha256}"',
    }
    # Never the stored media type: nothing that a browser would open.
    return StreamingResponse(_blocks(file), media_type="application/octet-stream", headers=headers)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(DOWNLOAD_BYTES):
            yield block
