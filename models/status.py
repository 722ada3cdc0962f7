"""A run's status and its legal transitions."""

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands. The legal moves are in `TRANSITIONS`."""

    QUEUED = "queued"
    """Accepted and waiting for a worker."""
    RUNNING = "running"
    """A worker trains it and renews its heartbeat."""
    PAUSING = "pausing"
    """Its owner wants it to rest; its worker saves it and lets go within two seconds."""
    PAUSED = "paused"
    """Rests at its last checkpoint until its owner lets it go on."""
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
    EXCEEDED_MAX_SECONDS = "exceeded_max_seconds"
    """Failed: it trained for longer than its budget allows."""
    OUT_OF_MEMORY = "out_of_memory"
    """Failed: its training process asked for more memory than there is."""
    SEGFAULT = "segfault"
    """Failed: its training process broke down; `status_detail` names the signal or the exit code."""
    HUNG = "hung"
    """Failed: a step of it, or an evaluation, did not end."""
    STORAGE_FAILED = "storage_failed"
    """Failed: what it leaves could not be stored; `status_detail` says why."""
    COHORT_SPLIT = "cohort_split"
    """Queued: its cohort broke down, and it trains on in a smaller one, so that whoever broke it fails alone."""
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
    PAUSED_BY_USER = "paused_by_user"
    """Paused by a request."""


TERMINAL = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED})
UNFINISHED = frozenset(RunStatus) - TERMINAL
LIVE = frozenset({RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.CANCELLING})

TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.PAUSED, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.RUNNING: frozenset(
        {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.PAUSING, RunStatus.CANCELLING, RunStatus.QUEUED}
    ),
    RunStatus.PAUSING: frozenset(
        {RunStatus.PAUSED, RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.RUNNING, RunStatus.CANCELLING}
    ),
    RunStatus.PAUSED: frozenset({RunStatus.QUEUED, RunStatus.CANCELLED, RunStatus.FAILED}),
    RunStatus.CANCELLING: frozenset({RunStatus.CANCELLED, RunStatus.SUCCEEDED, RunStatus.FAILED}),
    # A larger budget lets a succeeded run go on.
    RunStatus.SUCCEEDED: frozenset({RunStatus.QUEUED}),
    RunStatus.FAILED: frozenset({RunStatus.QUEUED}),
    RunStatus.CANCELLED: frozenset({RunStatus.QUEUED}),
}


PRECEDENCE = (
    RunStatus.RUNNING,
    RunStatus.PAUSING,
    RunStatus.CANCELLING,
    RunStatus.QUEUED,
    RunStatus.PAUSED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
    RunStatus.SUCCEEDED,
)
"""Of a job whose runs stand differently, which status it has: the first of these."""


def job_status(counts: dict[RunStatus, int]) -> RunStatus:
    """A job's status, derived from how many of its runs stand where.

    Anything still going on wins over anything that has ended; among endings the worst is named first.
    """
    for status in PRECEDENCE:
        if counts.get(status):
            # A job of which some runs have ended and others wait is under way, not waiting.
            started = status is RunStatus.QUEUED and any(counts.get(s) for s in TERMINAL)
            return RunStatus.RUNNING if started else status
    return RunStatus.SUCCEEDED
