"""The bytes in storage that count towards an owner's quota."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, cast, func, select
from sqlalchemy.orm import Session

from models.status import UNFINISHED
from models.tables import Artifact, Checkpoint, CheckpointRow, Dataset, Run

# Tables instead of mapped classes: every query names the owner itself, and the condition that a session adds for its
# own owner (`models.ownership`) would be checked again for each row.
_artifacts, _checkpoints, _datasets = Artifact.__table__.c, Checkpoint.__table__.c, Dataset.__table__.c
_rows, _runs = CheckpointRow.__table__.c, Run.__table__.c


@dataclass(frozen=True)
class StorageUsage:
    """Bytes of one owner."""

    datasets: int
    artifacts: int
    checkpoints: int
    expected: int
    """What the unfinished runs are expected to add until all of them have ended."""

    @property
    def stored(self) -> int:
        return self.datasets + self.artifacts + self.checkpoints

    @property
    def total(self) -> int:
        return self.stored + self.expected


def storage_usage(session: Session, owner: str) -> StorageUsage:
    """Sum the sizes of an owner's files in storage.

    Files that an unfinished run has already are replaced by those that it is expected to leave. So they reduce what is
    still expected.
    """
    unfinished = (_runs.owner == owner) & _runs.status.in_(UNFINISHED)
    resumable = select(_rows.checkpoint_id).where(_rows.run_id == _runs.id, unfinished)
    expected = _sum(session, _runs.expected_bytes, unfinished)
    replaced = _sum(session, _artifacts.size, _artifacts.run_id == _runs.id, unfinished)
    replaced += _sum(session, _checkpoints.size, _checkpoints.id.in_(resumable))
    return StorageUsage(
        datasets=_sum(session, _datasets.stored_bytes, _datasets.owner == owner),
        artifacts=_sum(session, _artifacts.size, _artifacts.owner == owner),
        checkpoints=_sum(session, _checkpoints.size, _checkpoints.owner == owner),
        expected=max(0, expected - replaced),
    )


def _sum(session: Session, size: ColumnElement[Any], *conditions: ColumnElement[bool]) -> int:
    # PostgreSQL sums bigints as a decimal number.
    return session.scalars(select(cast(func.coalesce(func.sum(size), 0), BigInteger)).where(*conditions)).one()
