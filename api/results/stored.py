"""The files from which results are put together, read from storage."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.results.predictions import Predictions
from models.status import RunStatus
from models.storage import Storage
from models.tables import Artifact, Run


class Stored(NamedTuple):
    """Where a file of a run lies."""

    run_id: str
    seed: int
    member: int
    key: str


def stored(session: Session, job_id: str, name: str) -> list[Stored]:
    """The files of this name that the succeeded runs of a job left, by position."""
    rows = session.execute(
        select(Run.id, Run.seed, Run.member, Artifact.storage_key)
        .join(Artifact, Artifact.run_id == Run.id)
        .where(Run.job_id == job_id, Run.status == RunStatus.SUCCEEDED, Artifact.name == name)
        .order_by(Run.position)
    )
    return [Stored(*row) for row in rows]


def read_by_seed(
    files: Sequence[Stored], storage: Storage, *, in_order: bool
) -> Iterator[tuple[int, list[Predictions]]]:
    """The predictions of one seed after the other, as all of them at once may be much."""
    for seed, rows in groupby(files, key=lambda row: row.seed):
        members = []
        for place, row in enumerate(rows):
            if in_order and row.member != place:
                break  # without a round between them, those after it mean nothing
            members.append(Predictions.read(row.run_id, row.member, content(storage, row.key)))
        if members:
            yield seed, members


def content(storage: Storage, key: str) -> bytes:
    with storage.open(key) as file:
        return file.read()
