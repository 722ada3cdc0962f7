"""Uploaded data sets, brought to this machine: mapped where storage is a folder here, else copied from it once."""

import shutil
from pathlib import Path

import structlog
from filelock import FileLock
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.settings import Settings
from models.storage import Storage
from models.stored import Description
from models.tables import Dataset, Job
from worker.training.stored import StoredData

log = structlog.get_logger()


def describe(session: Session, job_id: str) -> tuple[str, Description] | None:
    """The id of the data set that a job reads, and what it is; None where it came with Descent."""
    statement = select(Dataset.id, Dataset.description).join(Job, Job.dataset_id == Dataset.id).where(Job.id == job_id)
    row = session.execute(statement).one_or_none()
    return None if row is None else (row[0], Description.model_validate(row[1]))


def bring(dataset_id: str, description: Description, storage: Storage, config: Settings) -> StoredData:
    """Have its files on this machine's disk.

    Raises:
        FileNotFoundError: if they are gone from storage.

    """
    key = f"datasets/{dataset_id}"
    folder = storage.folder(key) or _copied(key, dataset_id, description, storage, config)
    for file, size in description.sizes.items():
        if not (folder / file).is_file() or (folder / file).stat().st_size != size:
            raise FileNotFoundError(f"{file} of {dataset_id} is gone from storage, or not whole")
    return StoredData(dataset_id, folder, description)


def _copied(key: str, dataset_id: str, description: Description, storage: Storage, config: Settings) -> Path:
    cache = Path(config.worker_cache_dir).expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / dataset_id
    # One copies, the others of this machine wait for it.
    with FileLock(cache / "lock"):
        if not folder.is_dir():
            _make_room(cache, sum(description.sizes.values()), config.worker_cache_bytes)
            partial = cache / f"{dataset_id}.part"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            for file in description.sizes:
                storage.get(f"{key}/{file}", partial / file)
            partial.replace(folder)
            log.info("dataset.copied", dataset_id=dataset_id, bytes=sum(description.sizes.values()))
        folder.touch()
    return folder


def _make_room(cache: Path, needed: int, most: int) -> None:
    """Remove what was not used for longest. Whoever has it mapped keeps it until it is done."""
    kept = sorted((folder for folder in cache.iterdir() if folder.is_dir()), key=lambda folder: folder.stat().st_mtime)
    sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in kept}
    total = needed + sum(sizes.values())
    for folder in kept:
        if total <= most:
            return
        shutil.rmtree(folder, ignore_errors=True)
        total -= sizes[folder]
