"""An upload's way from the wire into storage: received, read by a process of its own, kept under its content's name."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.auth.audit import record
from api.dependencies import Service
from api.errors import DISK_FULL, NAME_TAKEN, UNREADABLE, Refusal
from api.parsing import Limits, Options, Parsed, Refused, parse_in_child
from api.quotas.limits import demand_room_in_storage
from models.answers import ProblemError
from models.settings import Settings
from models.spec.job import digest
from models.tables import Dataset, now

WRITE_BYTES = 1024**2


@dataclass(frozen=True)
class Upload:
    """Bytes that have arrived."""

    path: Path
    size: int
    sha256: str


def limits(settings: Settings) -> Limits:
    return Limits(
        memory_bytes=settings.parser_memory_bytes,
        cpu_seconds=settings.parser_cpu_seconds,
        inflated_bytes=settings.max_inflated_bytes,
        inflation=settings.max_inflation,
        rows=settings.max_dataset_rows,
        columns=settings.max_dataset_columns,
        entries=settings.max_archive_entries,
        line_bytes=settings.max_line_bytes,
        image_pixels=settings.max_image_pixels,
        classes=settings.max_dataset_classes,
    )


def key(dataset_id: str, file: str) -> str:
    """Under which a file of a data set lies in storage."""
    return f"datasets/{dataset_id}/{file}"


@asynccontextmanager
async def scratch(settings: Settings) -> AsyncIterator[Path]:
    """A folder that is gone afterwards, whatever happens; a full disk becomes a refusal."""
    try:
        if settings.scratch_dir:
            Path(settings.scratch_dir).mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix="descent-upload-", dir=settings.scratch_dir or None)
        try:
            yield Path(folder.name)
        finally:
            # To unlink a large file takes a moment, in which others want to be served.
            await run_in_threadpool(folder.cleanup)
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        raise Refusal(DISK_FULL, "the service has no room for these data: nothing of them was kept") from None


async def receive(stream: AsyncIterator[bytes], path: Path) -> Upload:
    """Write a body to a file as it comes in, a piece at a time."""
    sha256, size, waiting = hashlib.sha256(), 0, bytearray()
    with path.open("wb") as file:

        def take() -> None:
            sha256.update(waiting)
            file.write(waiting)

        async for piece in stream:
            waiting += piece
            size += len(piece)
            if len(waiting) >= WRITE_BYTES:
                await run_in_threadpool(take)
                waiting.clear()
        await run_in_threadpool(take)
    return Upload(path, size, sha256.hexdigest())


def find_equal(session: Session, owner: str, upload: Upload, options: Options) -> Dataset | None:
    """The owner's data set of the same bytes that was read in the same way, if there is one."""
    same = session.scalars(
        select(Dataset).where(Dataset.owner == owner, Dataset.sha256 == upload.sha256).order_by(Dataset.created_at)
    )
    wanted = {"image_size": options.image_size}
    return next((one for one in same if one.options == wanted and options.format in ("auto", one.format)), None)


def demand_free(session: Session, owner: str, name: str) -> None:
    """Let a name pass.

    Raises:
        Refusal: if another data set of the owner has it.

    """
    named = (Dataset.name == name) | (Dataset.id == name)
    other = session.scalar(select(Dataset.id).where(Dataset.owner == owner, named))
    if other is not None:
        raise Refusal(NAME_TAKEN, f'"{name}" is {other} already: take another name, or delete that one')


async def read(service: Service, upload: Upload, options: Options) -> Parsed:
    """Have a process of its own make the canonical form of an upload, beside it.

    Raises:
        Refusal: if it is no data set, or asks for too much.

    """
    async with service.parsers:
        try:
            return await run_in_threadpool(
                parse_in_child, upload.path, _made(upload), options, limits(service.settings)
            )
        except Refused as refused:
            error = ProblemError(pointer="", code=refused.code, detail=refused.detail)
            raise Refusal(UNREADABLE, refused.detail, [error]) from None


def _made(upload: Upload) -> Path:
    folder = upload.path.parent / "made"
    folder.mkdir(exist_ok=True)
    return folder


def keep(service: Service, name: str, upload: Upload, options: Options, parsed: Parsed) -> Dataset:
    """Put the files into storage, then the row that names them into the database.

    Raises:
        Refusal: if another data set has the name.

    """
    owner, read_as = service.principal.owner, {"image_size": options.image_size}
    dataset_id = f"dataset_{digest([owner, upload.sha256, parsed.description.format, read_as])[:32]}"
    for file in parsed.description.sizes:
        service.storage.put(key(dataset_id, file), _made(upload) / file)
    dataset = Dataset(
        id=dataset_id,
        owner=owner,
        name=name or dataset_id,
        format=parsed.description.format,
        known=parsed.description.known,
        sha256=upload.sha256,
        options=read_as,
        size=upload.size,
        rows=parsed.description.rows,
        description=parsed.description.model_dump(mode="json"),
        preview=parsed.preview.model_dump(mode="json"),
        created_at=now(),
    )
    try:
        with service.database.write() as session:
            demand_room_in_storage(session, service.principal, service.settings, upload.size)
            session.add(dataset)
            record(session, service.principal, "uploaded", dataset, name=dataset.name, size=upload.size)
    except IntegrityError:
        # Somebody was faster: with the same bytes, or with the same name.
        with service.database.read() as session:
            equal = session.get(Dataset, dataset_id)
            if equal is not None:
                return equal
            service.storage.delete([key(dataset_id, file) for file in parsed.description.sizes])
            demand_free(session, owner, name)
        raise
    return dataset
