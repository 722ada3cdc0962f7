"""Data sets: upload, look at, delete."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from api import uploads
from api.auth.audit import record
from api.auth.scopes import ScopedRoute
from api.dependencies import UPLOADS, ReadService, Service, SubmitService
from api.errors import (
    DISK_FULL,
    NAME_TAKEN,
    NOT_FOUND,
    OVER_QUOTA,
    STILL_NEEDED,
    TOO_LARGE,
    UNREADABLE,
    Refusal,
    declared,
    invalid,
)
from api.pages import PageAfter, PageLimit, PageSort, listed
from api.parsing import Options
from api.quotas.limits import storage_left
from models import answers
from models.stored import Description, Preview
from models.tables import Dataset, Job

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=ScopedRoute)

Format = Literal["auto", "csv", "tsv", "parquet", "npy", "npz", "images", "idx", "cifar"]


@router.post(
    "",
    status_code=201,
    summary="Upload a data set",
    dependencies=[UPLOADS],
    response_model=answers.Dataset,
    responses=declared(
        NAME_TAKEN,
        TOO_LARGE,
        UNREADABLE,
        DISK_FULL,
        OVER_QUOTA,
        also={200: {"model": answers.Dataset, "description": "These bytes were uploaded before"}},
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {
                    "schema": {"type": "string", "format": "binary"},
                    "example": "hours,passed\n1.5,no\n4,yes\n6,yes\n2,no\n",
                }
            },
        }
    },
)
async def upload_dataset(
    request: Request,
    response: Response,
    service: SubmitService,
    name: Annotated[
        str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="By which specs may call it.")
    ] = "",
    format: Annotated[Format, Query(description='"auto" goes by the content.')] = "auto",
    image_size: Annotated[
        int | None,
        Query(ge=1, le=1_024, description="Side in pixels to which the images of class folders are resized."),
    ] = None,
) -> answers.Dataset:
    """Store a file as a data set. The body is the file itself: CSV or TSV (also gzip), Parquet, npy, npz, a zip of
    class folders of PNG or JPEG images, a zip of IDX files (images and labels), CIFAR's binary files.

    The same bytes twice are one data set, which keeps its first name. A process of its own reads the file, within
    limits of memory, time and size; what cannot be read is refused with the reason, and nothing of it is kept.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        detail = "this is a form: send the file itself as the body (curl --data-binary @FILE)"
        raise invalid("", "multipart", detail)
    options = Options(format=format, image_size=image_size)
    async with uploads.scratch(service.settings) as folder:
        upload = await uploads.receive(request.stream(), folder / "upload")
        if not upload.size:
            raise invalid("", "empty", "the body is empty: send the file itself")
        equal, stored_bytes = await run_in_threadpool(_equal_or_left, service, upload, options, name)
        if equal is None:
            parsed = await uploads.read(service, upload, options, stored_bytes)
            dataset = await run_in_threadpool(uploads.keep, service, name, upload, options, parsed)
            equal = _answer(dataset, parsed.description)
        else:
            response.status_code = 200
    response.headers["Location"] = f"/v1/datasets/{equal.id}"
    return equal


def _equal_or_left(
    service: Service, upload: uploads.Upload, options: Options, name: str
) -> tuple[answers.Dataset | None, int | None]:
    """Return the data set that was made of the same bytes before, if there is one, and the rest of the owner's quota.

    Raises:
        Refusal: if there is none, and the name is taken or the quota is full.

    """
    with service.database.read() as session:
        equal = uploads.find_equal(session, service.principal.owner, upload, options)
        if equal is not None:
            return _answer(equal), None
        if name:
            uploads.demand_free(session, service.principal.owner, name)
        return None, storage_left(session, service.principal, service.settings)


def _answer(dataset: Dataset, description: Description | None = None) -> answers.Dataset:
    told = description or Description.model_validate(dataset.description)
    return answers.Dataset(
        **_summary(dataset).model_dump(),
        layout=told.layout,
        columns=list(told.columns),
        grid=list(told.grid),
        notes=list(told.notes),
    )


def _summary(dataset: Dataset) -> answers.DatasetSummary:
    return answers.DatasetSummary.model_validate(dataset, from_attributes=True)


@router.get("", summary="List data sets", responses=declared())
def list_datasets(
    service: ReadService, sort: PageSort = "newest", limit: PageLimit = 50, after: PageAfter = ""
) -> answers.Page[answers.DatasetSummary]:
    """A page of the data sets that were uploaded. Those that come with Descent are among the components."""
    with service.database.read() as session:
        return listed(
            session,
            select(Dataset),
            Dataset.created_at,
            Dataset.id,
            after=after,
            limit=limit,
            sort=sort,
            items=lambda datasets: [_summary(dataset) for dataset in datasets],
        )


def _find(session: Session, owner: str, dataset_id: str) -> Dataset:
    """By id or name; where several owners have one of the name, the asker's own."""
    statement = select(Dataset).options(undefer(Dataset.description), undefer(Dataset.preview))
    named = statement.where((Dataset.id == dataset_id) | (Dataset.name == dataset_id))
    found = session.scalars(named.order_by(Dataset.owner != owner, Dataset.created_at, Dataset.id)).first()
    if found is None:
        raise Refusal(NOT_FOUND, f"there is no data set {dataset_id}")
    return found


@router.get("/{dataset_id}", summary="Get a data set", responses=declared(NOT_FOUND))
def get_dataset(dataset_id: str, service: ReadService) -> answers.Dataset:
    """Its columns with type, empty cells, range, and values where they are few. The name does for the id."""
    with service.database.read() as session:
        return _answer(_find(session, service.principal.owner, dataset_id))


@router.get("/{dataset_id}/preview", summary="Look into a data set", responses=declared(NOT_FOUND))
def get_preview(dataset_id: str, service: ReadService) -> answers.DatasetPreview:
    """Its columns with type, empty cells, range and values, its first rows, and some of its images."""
    with service.database.read() as session:
        dataset = _find(session, service.principal.owner, dataset_id)
    preview, described = Preview.model_validate(dataset.preview), Description.model_validate(dataset.description)
    columns = list(described.columns[: len(preview.columns)])
    return answers.DatasetPreview(columns=columns, rows=preview.rows, thumbnails=preview.thumbnails)


@router.delete(
    "/{dataset_id}", status_code=204, summary="Delete a data set", responses=declared(NOT_FOUND, STILL_NEEDED)
)
def delete_dataset(dataset_id: str, service: SubmitService) -> None:
    """Delete a data set that no job needs, with its files."""
    with service.database.write() as session:
        dataset = _find(session, service.principal.owner, dataset_id)
        # Locked, so that no job can be stored that needs it.
        session.execute(select(Dataset.id).where(Dataset.id == dataset.id).with_for_update())
        jobs = session.scalar(select(func.count()).where(Job.dataset_id == dataset.id)) or 0
        if jobs:
            told = "1 job reads" if jobs == 1 else f"{jobs:,} jobs read"
            raise Refusal(STILL_NEEDED, f"{told} it: delete them first")
        files = list(Description.model_validate(dataset.description).sizes)
        session.delete(dataset)
        record(session, service.principal, "deleted", dataset, name=dataset.name)
    uploads.remove_unless_named(service, dataset.owner, dataset.id, [uploads.key(dataset.id, file) for file in files])
