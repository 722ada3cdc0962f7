"""What becomes of runs whose training process vanished or broke down.

A loss of infrastructure is nobody's fault: the run trains on from its last checkpoint, a few times. What breaks a
process by itself would do so again: a run that was alone fails with the reason, and a cohort is split into smaller
ones, so that whoever broke it fails alone and its neighbours finish.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.lifecycle import MAX_CRASHES, fail_followers, give_up, held, move
from models.status import RunStatus, StatusReason
from models.tables import Cohort, Run, now

PARTS = 8
"""Into how many a cohort is split: three times make single runs of the largest."""


def return_lost(session: Session, run_id: str, attempt: int) -> RunStatus | None:
    """Take a run from a worker that is gone.

    Returns:
        The run's new status, or None where it had moved on by itself.

    """
    lost = session.execute(
        select(Run.crashes, Run.most_together, Cohort.size)
        .join(Cohort, Cohort.id == Run.cohort_id)
        .where(Run.id == run_id, Run.attempt == attempt)
        # Locked: a checkpoint that is being recorded forgives the crashes that are counted here.
        .with_for_update(of=Run)
    ).one_or_none()
    if lost is None:
        return None
    crashes = lost.crashes + 1
    reason = StatusReason.WORKER_LOST
    if crashes > MAX_CRASHES:
        detail = f"the worker vanished {crashes} times in a row while training this run"
        return _fail(session, run_id, attempt, reason, detail, crashes=crashes)
    return give_up(
        session,
        run_id,
        attempt,
        RunStatus.QUEUED,
        status_reason=reason,
        crashes=crashes,
        most_together=_company(crashes, lost.size, lost.most_together),
        queued_at=now(),
    )


def _company(crashes: int, size: int, most: int | None) -> int | None:
    # Whatever takes whole workers down may be one of the runs: it has ever less company, and is alone at last.
    if crashes < MAX_CRASHES - 1:
        return most
    return 1 if crashes == MAX_CRASHES else max(1, size // PARTS)


def break_down(session: Session, cohort_id: str, reason: StatusReason, detail: str) -> dict[str, RunStatus]:
    """Take its runs from a cohort whose training broke down for a reason of its own: fail a lone run, else split.

    Returns:
        The new status of every run that the cohort held.

    """
    attempts = dict(
        session.execute(select(Run.id, Run.attempt).where(Run.id.in_(holding := list(held(session, cohort_id))))).all()
    )
    company = max(1, len(holding) // PARTS)
    moved = {}
    for run_id in holding:
        if len(holding) == 1:
            status = _fail(session, run_id, attempts[run_id], reason, detail)
        else:
            status = give_up(
                session,
                run_id,
                attempts[run_id],
                RunStatus.QUEUED,
                status_reason=StatusReason.COHORT_SPLIT,
                status_detail=f"a cohort of {len(holding)} broke down ({reason}: {detail})",
                most_together=company,
                queued_at=now(),
            )
        if status is not None:
            moved[run_id] = status
    return moved


def _fail(
    session: Session, run_id: str, attempt: int, reason: StatusReason, detail: str, **values: int
) -> RunStatus | None:
    ending = {"status_reason": reason, "status_detail": detail, "finished_at": now(), "worker_id": None}
    if move(session, run_id, attempt, {RunStatus.PAUSING}, status=RunStatus.FAILED, **ending, **values):
        status: RunStatus | None = RunStatus.FAILED
    else:
        status = give_up(session, run_id, attempt, RunStatus.FAILED, **ending, **values)
    if status is RunStatus.FAILED:
        fail_followers(session, run_id)
    return status
