"""An upload's way from the wire into storage: received, read by a process of its own, kept under its content's name."""

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
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
from api.parsing import Limits, Options, Parsed, Refused
from api.parsing.child import parse_in_child
from api.quotas.limits import check_storage_quota, over_quota
from models import shares
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


def limits(settings: Settings, stored_bytes: int | None) -> Limits:
    """Return the limits of the parser; `stored_bytes` is the rest of the owner's quota, None without one."""
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
        stored_bytes=stored_bytes,
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


async def read(service: Service, upload: Upload, options: Options, stored_bytes: int | None) -> Parsed:
    """Have a process of its own make the canonical form of an upload, beside it.

    Args:
        service: the service that the upload came to.
        upload: the bytes as they were sent.
        options: what the uploader says about them.
        stored_bytes: the rest of the owner's storage quota; None without one.

    Raises:
        Refusal: if it is no data set, asks for too much, or exceeds the quota.

    """
    allowed = limits(service.settings, stored_bytes)
    async with service.requests.parsers_of(service.principal), service.parsers:
        try:
            return await run_in_threadpool(parse_in_child, upload.path, _made(upload), options, allowed)
        except Refused as refused:
            if refused.code == "over_quota":
                raise over_quota(refused.detail) from None
            error = ProblemError(pointer="", code=refused.code, detail=refused.detail)
            raise Refusal(UNREADABLE, refused.detail, [error]) from None


def _made(upload: Upload) -> Path:
    folder = upload.path.parent / "made"
    folder.mkdir(exist_ok=True)
    return folder


def keep(service: Service, name: str, upload: Upload, options: Options, parsed: Parsed) -> Dataset:
    """Put the files into storage, then the row that names them into the database.

    Raises:
        Refusal: if another data set has the name, or the owner's quota is too small. No file stays in storage then.

    """
    owner, read_as = service.principal.owner, {"image_size": options.image_size}
    description = parsed.description
    dataset_id = f"dataset_{digest([owner, upload.sha256, description.format, read_as])[:32]}"
    dataset = Dataset(
        id=dataset_id,
        owner=owner,
        name=name or dataset_id,
        format=description.format,
        known=description.known,
        sha256=upload.sha256,
        options=read_as,
        size=upload.size,
        stored_bytes=sum(description.sizes.values()),
        rows=description.rows,
        description=description.model_dump(mode="json"),
        preview=parsed.preview.model_dump(mode="json"),
        created_at=now(),
    )
    files = {key(dataset_id, file): _made(upload) / file for file in description.sizes}
    with service.database.read() as session:
        check_storage_quota(session, service.principal, service.settings, dataset.stored_bytes)
    try:
        _put(service, files)
        with _locked(service, owner) as session:
            check_storage_quota(session, service.principal, service.settings, dataset.stored_bytes)
            session.add(dataset)
            record(session, service.principal, "uploaded", dataset, name=dataset.name, size=upload.size)
            # A request with the same bytes may have been refused meanwhile, and have removed the files.
            _put(service, {file: path for file, path in files.items() if service.storage.find(file) is None})
    except (IntegrityError, Refusal, OSError):
        equal = remove_unless_named(service, owner, dataset_id, list(files))
        if equal is not None:
            return equal
        with service.database.read() as session:
            demand_free(session, owner, name)
        raise
    return dataset


def _put(service: Service, files: Mapping[str, Path]) -> None:
    for storage_key, path in files.items():
        service.storage.put(storage_key, path)


def remove_unless_named(service: Service, owner: str, dataset_id: str, keys: Sequence[str]) -> Dataset | None:
    """Remove the files of a data set that has no row, or return the one that another upload of the same bytes stored.

    No such upload stores its row between the look-up and the removal: both hold the owner's lock.
    """
    with _locked(service, owner) as session:
        equal = session.get(Dataset, dataset_id)
        if equal is None:
            service.forget_files(keys)
    return equal


@contextmanager
def _locked(service: Service, owner: str) -> Iterator[Session]:
    """Begin a transaction that keeps every other upload of an owner out until it ends."""
    with service.database.write() as session:
        shares.enrol(session, owner)
        shares.hold(session, owner)
        yield session
