"""What has had its time, and what nobody names: found, counted, and removed.

Rows go first, files after them: whatever stops half way leaves orphans, which the next round finds. No transaction is
open while storage is asked.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from threading import Event

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select
from sqlalchemy.orm import Session

from models import answers, checkpoints
from models.database import Database
from models.settings import Settings
from models.status import TERMINAL
from models.storage import PARTIAL, Storage, StoredFile
from models.tables import Artifact, Checkpoint, CheckpointRow, Dataset, MetricSegment, Run, Snapshot, now

RUNS_AT_ONCE = 50
"""Whose rows go in one transaction: nobody else should have to wait for it."""
KEYS_AT_ONCE = 500
MOST_KEYS_TOLD = 100
FOLDERS = ("runs", "checkpoints", "datasets")

NOTHING = answers.Removed(count=0, bytes=0)

_has_points = exists().where(MetricSegment.run_id == Run.id)
_has_snapshots = exists().where(Snapshot.run_id == Run.id)
_has_artifacts = exists().where(Artifact.run_id == Run.id)
_has_checkpoints = exists().where(CheckpointRow.run_id == Run.id)
_is_needed = exists().where(CheckpointRow.checkpoint_id == Checkpoint.id)


class Housekeeper:
    """Tidies one installation; a rehearsal changes nothing and reports the same numbers."""

    def __init__(self, database: Database, storage: Storage, settings: Settings) -> None:
        self._database = database
        self._storage = storage
        self._settings = settings
        self._stopping = Event()

    def stop(self) -> None:
        """End soon; what is left is for the next round."""
        self._stopping.set()

    def tidy(self, *, rehearses: bool) -> answers.Housekeeping:
        """Do, or count, all that is due.

        Raises:
            OSError: if storage does not answer; what was done by then stays done.

        """
        # All that is told comes before all that is done: so a rehearsal tells the same.
        orphans = list(self._orphans())
        damaged = self._damaged()
        report = answers.Housekeeping(
            dry_run=rehearses,
            checkpoints=self._expired_checkpoints(rehearses=rehearses),
            histories=self._expired_histories(rehearses=rehearses),
            artifacts=self._expired_artifacts(rehearses=rehearses),
            orphans=answers.Removed(count=len(orphans), bytes=sum(file.size for file in orphans)),
            orphan_keys=[file.key for file in orphans[:MOST_KEYS_TOLD]],
            damaged=damaged,
        )
        if not rehearses:
            self._remove_orphans(orphans)
        return report

    # ── what has had its time ────────────────────────────────────────────────────────────────────

    def _ended_before(self, days: float) -> ColumnElement[bool]:
        return Run.status.in_(TERMINAL) & (Run.finished_at < now() - timedelta(days=days))

    def _expired_checkpoints(self, *, rehearses: bool) -> answers.Removed:
        """Of runs that ended so long ago that nobody extends or retries them from where they were."""
        due = self._ended_before(self._settings.final_checkpoint_days)
        still_needed = select(CheckpointRow.checkpoint_id).where(CheckpointRow.run_id.not_in(select(Run.id).where(due)))
        of_due = Checkpoint.id.not_in(still_needed)
        removed = self._count(select(func.count(), func.coalesce(func.sum(Checkpoint.size), 0)).where(of_due))

        def remove(session: Session, run_ids: Sequence[str]) -> Sequence[str]:
            return checkpoints.prune(session, run_ids, most=0)

        if not rehearses:
            self._in_parts(due & _has_checkpoints, remove)
            self._remove_needless()
        return removed

    def _remove_needless(self) -> None:
        """Checkpoints from which no run can go on, though nobody removed them."""
        with self._database.write() as session:
            ids = session.scalars(select(Checkpoint.id).where(~_is_needed).limit(KEYS_AT_ONCE)).all()
            keys = checkpoints.remove_unneeded(session, ids)
        self._storage.delete(keys)

    def _expired_histories(self, *, rehearses: bool) -> answers.Removed:
        """Points and snapshots; what they came to stays with the run."""
        if not self._settings.history_days:
            return NOTHING
        due = self._ended_before(self._settings.history_days) & or_(_has_points, _has_snapshots)
        size = func.sum(func.length(MetricSegment.payload))
        of_due = MetricSegment.run_id.in_(select(Run.id).where(due))
        points = select(func.coalesce(size, 0)).where(of_due).scalar_subquery()

        def remove(session: Session, run_ids: Sequence[str]) -> Sequence[str]:
            session.execute(delete(MetricSegment).where(MetricSegment.run_id.in_(run_ids)))
            session.execute(delete(Snapshot).where(Snapshot.run_id.in_(run_ids)))
            return ()

        with self._database.read() as session:
            count, size_of_points = session.execute(select(func.count(), points).select_from(Run).where(due)).one()
        if not rehearses:
            self._in_parts(due, remove)
        return answers.Removed(count=count, bytes=size_of_points)

    def _expired_artifacts(self, *, rehearses: bool) -> answers.Removed:
        """Weights and predictions."""
        if not self._settings.artifact_days:
            return NOTHING
        due = self._ended_before(self._settings.artifact_days)
        of_due = Artifact.run_id.in_(select(Run.id).where(due))
        removed = self._count(select(func.count(), func.coalesce(func.sum(Artifact.size), 0)).where(of_due))

        def remove(session: Session, run_ids: Sequence[str]) -> Sequence[str]:
            gone = delete(Artifact).where(Artifact.run_id.in_(run_ids)).returning(Artifact.storage_key)
            return session.scalars(gone).all()

        if not rehearses:
            self._in_parts(due & _has_artifacts, remove)
        return removed

    def _count(self, counted: Select[int, int]) -> answers.Removed:
        with self._database.read() as session:
            count, size = session.execute(counted).one()
        return answers.Removed(count=count, bytes=size)

    def _in_parts(self, due: ColumnElement[bool], remove: Callable[[Session, Sequence[str]], Sequence[str]]) -> None:
        """Remove what these runs have, some runs at a time: rows in one transaction, then their files."""
        last = ""
        while not self._stopping.is_set():
            # Locked: none of them is queued again meanwhile.
            part = select(Run.id).where(due, Run.id > last).order_by(Run.id).limit(RUNS_AT_ONCE)
            with self._database.write() as session:
                run_ids = session.scalars(part.with_for_update(of=Run, skip_locked=True)).all()
                keys = remove(session, run_ids) if run_ids else ()
            self._storage.delete(keys)
            if len(run_ids) < RUNS_AT_ONCE:
                return
            last = run_ids[-1]

    # ── what nobody names, and what is not there ─────────────────────────────────────────────────

    def _orphans(self) -> Iterator[StoredFile]:
        """Files are written before the rows that name them: what is listed first and asked for then is no newborn."""
        oldest = time.time() - self._settings.orphan_hours * 3600
        for folder in FOLDERS:
            old = [file for file in self._storage.list(folder) if file.modified < oldest]
            for part in _parts(old):
                named = self._named(folder, [file.key for file in part])
                yield from (file for file in part if file.key not in named)

    def _named(self, folder: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys that a row names."""
        with self._database.read() as session:
            match folder:
                case "runs":
                    return set(session.scalars(select(Artifact.storage_key).where(Artifact.storage_key.in_(keys))))
                case "checkpoints":
                    return set(session.scalars(select(Checkpoint.storage_key).where(Checkpoint.storage_key.in_(keys))))
                case _:
                    ids = {key.split("/")[1] for key in keys}
                    known = set(session.scalars(select(Dataset.id).where(Dataset.id.in_(ids))))
                    return {key for key in keys if key.split("/")[1] in known and not key.endswith(PARTIAL)}

    def _remove_orphans(self, orphans: Sequence[StoredFile]) -> None:
        """An upload that was forgotten may have come again meanwhile, under the same keys: that is looked at last."""
        for file in orphans:
            if self._stopping.is_set():
                return
            folder = file.key.partition("/")[0]
            if folder == "datasets" and (self._storage.find(file.key) != file or self._named(folder, [file.key])):
                continue
            self._storage.delete([file.key])

    def _damaged(self) -> list[str]:
        """Checkpoints whose files are gone or cut short: their runs go on from the ones before."""
        there = {file.key: file.size for file in self._storage.list("checkpoints")}
        with self._database.read() as session:
            rows = session.execute(select(Checkpoint.storage_key, Checkpoint.size)).all()
        suspects = [row for row in rows if there.get(row.storage_key) != row.size][:MOST_KEYS_TOLD]
        # One that was written since the files were looked at is whole now, and one that was pruned is nobody's.
        still = [row.storage_key for row in suspects if not self._is_whole(row.storage_key, row.size)]
        named = self._named("checkpoints", still)
        return [key for key in still if key in named]

    def _is_whole(self, key: str, size: int) -> bool:
        file = self._storage.find(key)
        return file is not None and file.size == size


def _parts(files: Sequence[StoredFile]) -> Iterator[Sequence[StoredFile]]:
    for start in range(0, len(files), KEYS_AT_ONCE):
        yield files[start : start + KEYS_AT_ONCE]
