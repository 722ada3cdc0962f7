"""A run's status and its legal transitions."""

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands. The legal moves are in `TRANSITIONS`."""

    QUEUED = "queued"
    """Accepted and waiting for a worker."""
    RUNNING = "running"
    """A worker trains it and renews its heartbeat."""
    CANCELLING = "cancelling"
    """Its owner no longer wants it; its worker will let go within two seconds."""
    SUCCEEDED = "succeeded"
    """Trained to its end, by budget or by early stopping."""
    FAILED = "failed"
    """Ended without a result; `status_reason` says why."""
    CANCELLED = "cancelled"
    """Ended by its owner."""

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL

    @property
    def is_live(self) -> bool:
        """Held by a worker."""
        return self in LIVE


class StatusReason(StrEnum):
    """Why a run has its status, where the status alone does not tell."""

    STOPPED_EARLY = "stopped_early"
    """Succeeded: early stopping ended it before its budget."""
    DIVERGED = "diverged"
    """Failed: the loss became NaN or infinite."""
    WORKER_LOST = "worker_lost"
    """Its worker vanished. Queued: it will train again. Failed: that happened too often."""
    WORKER_DRAINED = "worker_drained"
    """Queued: its worker was shut down in good order."""
    ROUND_BEFORE_FAILED = "round_before_failed"
    """Failed: it could only have gone on from a run that failed."""
    ERROR = "error"
    """Failed: the engine raised; `status_detail` carries the message."""
    CANCELLED_BY_USER = "cancelled_by_user"
    """Cancelled by a request."""


TERMINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})
LIVE = frozenset({RunStatus.RUNNING, RunStatus.CANCELLING})

TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLING, RunStatus.QUEUED}),
    RunStatus.CANCELLING: frozenset({RunStatus.CANCELLED, RunStatus.SUCCEEDED, RunStatus.FAILED}),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED}),
    RunStatus.CANCELLED: frozenset({RunStatus.QUEUED}),
}


def job_status(counts: dict[RunStatus, int]) -> RunStatus:
    """A job's status, derived from how many of its runs stand where.

    Anything still going on wins over anything that has ended; among endings the worst is named first.
    """
    for status in (
        RunStatus.RUNNING,
        RunStatus.CANCELLING,
        RunStatus.QUEUED,
        RunStatus.FAILED,
        RunStatus.CANCELLED,
    ):
        if counts.get(status):
            # A job of which some runs have ended and others wait is under way, not waiting.
            started = status is RunStatus.QUEUED and any(counts.get(s) for s in TERMINAL)
            return RunStatus.RUNNING if started else status
    return RunStatus.SUCCEEDED
