"""Puts in storage what runs leave and what they go on from, on a thread of its own: storage may be slow, or away."""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from models.checkpoints import CheckpointFile
from models.status import StatusReason
from models.storage import Storage
from models.tables import DATASET, PREDICTIONS, WEIGHTS, Artifact
from worker import artifacts, checkpoints
from worker.run_record import RunRecord
from worker.training.boundary import Saved

AGAIN_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Stowed:
    """A checkpoint on its way into storage."""

    rows: tuple[RunRecord, ...]
    """In the order of its tensors."""
    step: int
    file: "Future[CheckpointFile]"


@dataclass
class _Files:
    """What an ended run leaves, on its way into storage."""

    stored: "Future[list[Artifact]]"
    since: float
    again_at: float | None = None


class Stowage:
    """Of one cohort. Whoever asks is never kept waiting; `wake` is called when something has arrived."""

    def __init__(self, storage: Storage, cohort_id: str, patience_seconds: float, wake: Callable[[], None]) -> None:
        self._storage = storage
        self._cohort_id = cohort_id
        self._patience_seconds = patience_seconds
        self._wake = wake
        self._thread = ThreadPoolExecutor(1, "stowage")
        self._checkpoints: list[Stowed] = []
        self._files: dict[str, _Files] = {}

    def close(self) -> None:
        """Wait for what is under way."""
        self._thread.shutdown()

    # ── checkpoints ──────────────────────────────────────────────────────────────────────────────

    def save(self, rows: Sequence[RunRecord], saved: Saved) -> None:
        """Begin to store a checkpoint of these runs."""
        for waiting in self._checkpoints:
            # If storage is slower than the cohort is saved, only the newest is of use.
            if set(map(id, waiting.rows)) <= set(map(id, rows)):
                waiting.file.cancel()
        summaries = [row.told() for row in rows]
        file = self._thread.submit(checkpoints.write, self._storage, self._cohort_id, saved, summaries)
        self._checkpoints.append(Stowed(tuple(rows), saved.step, file))
        file.add_done_callback(lambda _: self._wake())

    def arrived(self) -> list[Stowed]:
        """Checkpoints whose files are whole. One that storage did not take is given up: the one before still stands."""
        whole = []
        for stowed in list(self._checkpoints):
            if not stowed.file.done():
                continue
            if stowed.file.cancelled():
                self._checkpoints.remove(stowed)
            elif (error := stowed.file.exception()) is not None:
                log.warning("checkpoint.not_stored", step=stowed.step, error=f"{type(error).__name__}: {error}")
                self._checkpoints.remove(stowed)
            else:
                whole.append(stowed)
        return whole

    def settle(self, arrived: Sequence[Stowed]) -> None:
        """These are on record now."""
        self._checkpoints = [stowed for stowed in self._checkpoints if stowed not in arrived]

    def expects(self, row: RunRecord) -> bool:
        """Whether a checkpoint of this run is still on its way."""
        return any(row is one and not stowed.file.done() for stowed in self._checkpoints for one in stowed.rows)

    # ── what ended runs leave ────────────────────────────────────────────────────────────────────

    def has_left(self, row: RunRecord) -> bool:
        """Whether all that an ended run leaves lies in storage; begins to store it where it does not.

        Where storage does not take it within the patience, the run fails instead.
        """
        if row.artifacts is not None:
            return True
        if row.failure is not None or row.ending is None or row.ending.weights is None:
            row.artifacts = []
            return True
        files = self._files.get(row.run.id)
        if files is None:
            self._files[row.run.id] = _Files(self._begin(row), time.monotonic())
            return False
        if files.stored.done():
            self._collect(row, files)
        return row.artifacts is not None

    def _begin(self, row: RunRecord) -> "Future[list[Artifact]]":
        stored = self._thread.submit(_store, self._storage, row)
        stored.add_done_callback(lambda _: self._wake())
        return stored

    def _collect(self, row: RunRecord, files: _Files) -> None:
        error = files.stored.exception()
        if error is None:
            row.artifacts = files.stored.result()
            return
        moment = time.monotonic()
        if moment - files.since > self._patience_seconds:
            log.error("run.not_stored", run_id=row.run.id, error=f"{type(error).__name__}: {error}")
            row.failure = StatusReason.STORAGE_FAILED, f"its weights could not be stored: {error}"
            row.artifacts = []
        elif files.again_at is None:
            log.warning("run.storing_again", run_id=row.run.id, error=f"{type(error).__name__}: {error}")
            files.again_at = moment + AGAIN_SECONDS
        elif moment > files.again_at:
            files.stored, files.again_at = self._begin(row), None

    def remove(self, keys: Sequence[str]) -> None:
        """Delete files that nobody needs any more. Where storage is away they stay, to be found as orphans."""
        if keys:
            self._thread.submit(_remove, self._storage, keys)


def _store(storage: Storage, row: RunRecord) -> list[Artifact]:
    assert row.ending is not None
    ending = row.ending
    told = {DATASET: json.dumps(ending.description)} if ending.description is not None else None
    files = {WEIGHTS: (ending.weights, told), PREDICTIONS: (ending.predictions, None)}
    return [
        artifacts.store(storage, row.run.id, row.run.attempt, name, content, header)
        for name, (content, header) in files.items()
        if content is not None
    ]


def _remove(storage: Storage, keys: Sequence[str]) -> None:
    try:
        storage.delete(keys)
    except OSError as error:
        log.warning("files.not_removed", keys=list(keys), error=f"{type(error).__name__}: {error}")
