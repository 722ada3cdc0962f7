"""Which checkpoints runs can go on from. The files lie in storage; a row is written when its file is whole."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import Session

from models.lifecycle import Claim, held
from models.tables import Checkpoint, CheckpointRow, Run, new_id, now


@dataclass(frozen=True)
class CheckpointFile:
    """A whole file in storage."""

    storage_key: str
    size: int
    sha256: str
    """Of its bytes, as hexadecimal digits."""


@dataclass(frozen=True)
class Place:
    """Where a run stands in a checkpoint."""

    checkpoint_id: str
    file: CheckpointFile
    row: int


class CheckpointGone(OSError):
    """Somebody else found it damaged meanwhile: the runs go on from elsewhere, once they are claimed again."""


def point(
    session: Session, cohort_id: str, step: int, file: CheckpointFile, run_ids: Sequence[str], most: int
) -> list[str]:
    """Let those of these runs that the cohort still holds go on from here; run k is row k of the file.

    Their crashes are forgotten: they have come further. Each keeps its `most` newest checkpoints.

    Returns:
        Storage keys of files that nobody needs any more; delete them once this is committed.

    """
    ours = held(session, cohort_id)
    rows = [(row, run_id) for row, run_id in enumerate(run_ids) if run_id in ours]
    if not rows:
        return [file.storage_key]
    made = Checkpoint(
        id=new_id("checkpoint"),
        owner=session.scalars(select(Run.owner).where(Run.id == rows[0][1])).one(),
        step=step,
        size=file.size,
        sha256=file.sha256,
        storage_key=file.storage_key,
        created_at=now(),
    )
    session.add(made)
    session.flush()
    session.add_all(CheckpointRow(run_id=run_id, checkpoint_id=made.id, row=row) for row, run_id in rows)
    session.execute(
        update(Run)
        .where(Run.id.in_([run_id for _, run_id in rows]))
        .values(resume_step=step, crashes=0)
        .execution_options(synchronize_session=False)
    )
    session.flush()
    return prune(session, [run_id for _, run_id in rows], most)


def prune(session: Session, run_ids: Sequence[str], most: int) -> list[str]:
    """Let each run keep its `most` newest checkpoints.

    Returns:
        Storage keys of files that nobody needs any more; delete them once this is committed.

    """
    age = func.row_number().over(
        partition_by=CheckpointRow.run_id, order_by=(Checkpoint.step.desc(), Checkpoint.id.desc())
    )
    ranked = (
        select(CheckpointRow.run_id, CheckpointRow.checkpoint_id, age.label("age"))
        .join(Checkpoint, Checkpoint.id == CheckpointRow.checkpoint_id)
        .where(CheckpointRow.run_id.in_(run_ids))
        .subquery()
    )
    old = defaultdict[str, list[str]](list)
    for run_id, checkpoint_id in session.execute(
        select(ranked.c.run_id, ranked.c.checkpoint_id).where(ranked.c.age > most)
    ):
        old[checkpoint_id].append(run_id)
    for checkpoint_id, theirs in old.items():
        session.execute(
            delete(CheckpointRow).where(CheckpointRow.checkpoint_id == checkpoint_id, CheckpointRow.run_id.in_(theirs))
        )
    if most == 0:
        _go_on_from_what_is_left(session, run_ids)
    return remove_unneeded(session, list(old))


def remove_unneeded(session: Session, checkpoint_ids: Sequence[str]) -> list[str]:
    """Delete those of these checkpoints from which no run can go on; the storage keys of their files."""
    needed = exists().where(CheckpointRow.checkpoint_id == Checkpoint.id)
    keys = session.scalars(
        delete(Checkpoint)
        .where(Checkpoint.id.in_(checkpoint_ids), ~needed)
        .returning(Checkpoint.storage_key)
        .execution_options(synchronize_session=False)
    )
    gone = list(keys)
    # Two checkpoints of one file: it stays as long as either is needed.
    named = set(session.scalars(select(Checkpoint.storage_key).where(Checkpoint.storage_key.in_(gone))))
    return [key for key in gone if key not in named]


def discard(session: Session, checkpoint_id: str) -> str | None:
    """Forget a checkpoint whose file is damaged or gone: its runs go on from the one before, or from the beginning.

    Returns:
        The storage key of its file, or None where it was forgotten before.

    """
    theirs = select(CheckpointRow.run_id).where(CheckpointRow.checkpoint_id == checkpoint_id)
    # Locked first, and in one order everywhere: whoever deletes or records meanwhile locks the same rows.
    run_ids = session.scalars(select(Run.id).where(Run.id.in_(theirs)).order_by(Run.id).with_for_update()).all()
    key = session.scalar(delete(Checkpoint).where(Checkpoint.id == checkpoint_id).returning(Checkpoint.storage_key))
    session.execute(delete(CheckpointRow).where(CheckpointRow.checkpoint_id == checkpoint_id))
    _go_on_from_what_is_left(session, run_ids)
    return key


def _go_on_from_what_is_left(session: Session, run_ids: Sequence[str]) -> None:
    newest = (
        select(func.coalesce(func.max(Checkpoint.step), 0))
        .join(CheckpointRow, CheckpointRow.checkpoint_id == Checkpoint.id)
        .where(CheckpointRow.run_id == Run.id)
        .scalar_subquery()
    )
    session.execute(
        update(Run).where(Run.id.in_(run_ids)).values(resume_step=newest).execution_options(synchronize_session=False)
    )


def places(session: Session, claim: Claim) -> list[Place]:
    """Where the runs of a claim stand, in their order; empty where they begin.

    Raises:
        CheckpointGone: if another cohort, whose runs stand in the same file, has discarded it since the claim.

    """
    if claim.resume_step == 0:
        return []
    found = {
        row.run_id: Place(row.id, CheckpointFile(row.storage_key, row.size, row.sha256), row.row)
        for row in session.execute(
            select(
                CheckpointRow.run_id,
                CheckpointRow.row,
                Checkpoint.id,
                Checkpoint.storage_key,
                Checkpoint.size,
                Checkpoint.sha256,
            )
            .join(Checkpoint, Checkpoint.id == CheckpointRow.checkpoint_id)
            .where(
                CheckpointRow.run_id.in_([run.id for run in claim.runs]),
                Checkpoint.step == claim.resume_step,
            )
            .order_by(Checkpoint.id)
        )
    }
    if missing := [run.id for run in claim.runs if run.id not in found]:
        raise CheckpointGone(f"the checkpoint at step {claim.resume_step:,} is gone for {', '.join(missing)}")
    return [found[run.id] for run in claim.runs]
