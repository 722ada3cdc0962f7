"""What one transaction of a recorder writes: histories, checkpoints and endings, of the runs that it still holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from models import analysing, checkpoints, crashes, lifecycle
from models.status import RunStatus, StatusReason
from models.tables import Artifact, Cohort, MetricSegment, Run, Snapshot
from worker.run_record import Packed, RunRecord
from worker.stowage import Stowed
from worker.training.boundary import Mode


@dataclass
class Share:
    """What it writes of one run."""

    row: RunRecord
    is_ready: bool
    """Whether all that its ending needs is at hand."""
    chunks: Sequence[Packed]
    snapshots: Sequence[tuple[int, dict[str, Any]]]
    is_ours: bool = False
    """Whether the cohort still held it when this was written."""

    def write_history(self, session: Session) -> None:
        """Add the points and snapshots to what SQL has."""
        run = self.row.run
        if self.chunks:
            session.add(
                MetricSegment(
                    run_id=run.id,
                    attempt=run.attempt,
                    first_number=self.chunks[0].cursor.number,
                    last_number=self.chunks[-1].cursor.number,
                    payload=b"".join(chunk.payload for chunk in self.chunks),
                )
            )
            session.execute(update(Run).where(Run.id == run.id).values(step=self.row.step))
        session.add_all(Snapshot(run_id=run.id, step=step, content=content) for step, content in self.snapshots)

    def settle(self, outcome: Mapping[str, RunStatus], *, has_broken_down: bool) -> None:
        """It is committed: the run has nothing to write of this any more, and maybe nothing at all."""
        row = self.row
        del row.unsaved[: len(self.chunks)], row.snapshots[: len(self.snapshots)]
        row.done = not self.is_ours or row.run.id in outcome or has_broken_down


@dataclass
class Delivery:
    """What there is to write, and what came of it."""

    shares: Sequence[Share]
    stowed: Sequence[Stowed]
    """Checkpoints whose files are whole."""
    mode: Mode | None
    breakdown: tuple[StatusReason, str] | None
    outcome: dict[str, RunStatus] = field(default_factory=dict)
    """The status of every run that ended or was given back."""
    unneeded: list[str] = field(default_factory=list)
    """Files that nobody needs once this is committed."""

    def write(self, session: Session, cohort_id: str, kept_checkpoints: int) -> None:
        """Write all of it about the runs that the cohort still holds, and nothing about others."""
        held = lifecycle.held(session, cohort_id)
        for share in self.shares:
            share.is_ours = share.row.run.id in held
        ours = [share for share in self.shares if share.is_ours]
        if self.mode is not None and ours:
            _write_mode(session, cohort_id, self.mode)
        for share in ours:
            share.write_history(session)
        for stowed in self.stowed:
            ids = [row.run.id for row in stowed.rows]
            file = stowed.file.result()
            self.unneeded += checkpoints.point(session, cohort_id, stowed.step, file, ids, kept_checkpoints)
        for share in ours:
            if share.is_ready:
                self._write_ending(session, share.row)
        if self.breakdown:
            self.outcome |= crashes.break_down(session, cohort_id, *self.breakdown)

    def _write_ending(self, session: Session, row: RunRecord) -> None:
        assert row.ending is not None
        status = row.status()
        if status is None:
            given_back = lifecycle.release(session, row.run.id, row.run.attempt)
            self.outcome[row.run.id] = given_back or RunStatus.QUEUED
            return
        finished = lifecycle.finish(
            session,
            row.run.id,
            row.run.attempt,
            status[0],
            reason=status[1],
            detail=row.failure[1] if row.failure else None,
            step=row.ending.step,
            train_seconds=row.ending.train_seconds,
            summary=row.summary(),
        )
        self.outcome[row.run.id] = status[0]
        if finished:
            self._leave_files(session, row, status)
        if finished and status[0] is RunStatus.SUCCEEDED:
            for analysis in row.run.spec.analyses:
                analysing.ask(session, [row.run.id], analysis.model_dump(mode="json"), row.run.spec.priority)

    def _leave_files(self, session: Session, row: RunRecord, status: tuple[RunStatus, StatusReason | None]) -> None:
        """What this attempt leaves takes the place of what an earlier one left, under a smaller budget."""
        before = session.scalars(
            delete(Artifact).where(Artifact.run_id == row.run.id).returning(Artifact.storage_key)
        ).all()
        for artifact in row.artifacts or ():
            session.merge(artifact)
        # Nobody goes on from a run that stopped early; from one that spent its budget, a larger budget does.
        most = 0 if status[1] is StatusReason.STOPPED_EARLY else 1
        self.unneeded += [*before, *checkpoints.prune(session, [row.run.id], most)]


def _write_mode(session: Session, cohort_id: str, mode: Mode) -> None:
    cohort = session.get_one(Cohort, cohort_id)
    found = {"mode": "compiled" if mode.compiled else "eager", "mode_reason": mode.reason}
    cohort.provenance = {**(cohort.provenance or {}), **found}
