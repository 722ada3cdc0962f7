"""Writes down what a cohort reports: to Redis within a fraction of a second, to SQL in segments, endings at once.

The engine's thread only appends to an inbox. A thread of the recorder's own packs, publishes, saves, renews the lease
and looks for cancellations, so that training never waits for a disk or a network.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import redis
import structlog
from numpy.typing import NDArray
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models import analysing, lifecycle
from models.database import Database
from models.lifecycle import Claim
from models.metric_stream import LiveState, publish
from models.settings import Settings
from models.status import RunStatus
from models.storage import Storage
from models.tables import DATASET, PREDICTIONS, WEIGHTS, Cohort, MetricSegment, Run, Snapshot
from worker import artifacts
from worker.run_record import Packed, RunRecord
from worker.training.boundary import Ending, Leave, Mode

PUBLISH_SECONDS = 0.2
SAVE_SECONDS = 2.0
DIRECTIVES_SECONDS = 0.5
REDIS_PAUSE_SECONDS = 2.0

log = structlog.get_logger()


@dataclass
class _Chore:
    """What the recorder's thread does again and again; a chore that failed stays due."""

    do: Callable[[], None]
    every_seconds: float
    due: float


class Recorder:
    """Hears one cohort from its first step to its last ending.

    Use it as a context manager around the training; leaving the block waits until every ending is written. An exception
    in the block becomes the ending of every run that was still in training, and goes no further.
    """

    def __init__(
        self,
        claim: Claim,
        database: Database,
        client: "redis.Redis",
        storage: Storage,
        config: Settings,
        draining: Callable[[], bool],
    ) -> None:
        self._claim = claim
        self._rows = [RunRecord(run) for run in claim.runs]
        self._database = database
        self._redis = client
        self._storage = storage
        self._config = config
        self._draining = draining
        self._lock = threading.Lock()
        self._directives: dict[int, Leave] = {}
        self._wake = threading.Event()
        self._heard = False
        self._mode: Mode | None = None
        self._renewed = time.monotonic()
        self._redis_silent_until = 0.0
        self._thread = threading.Thread(target=self._serve, name="recorder", daemon=True)

    # ── the engine's side ────────────────────────────────────────────────────────────────────────

    def mode(self, mode: Mode) -> None:
        if mode.compiled or mode.reason:  # nothing to add to what the claim recorded otherwise
            self._mode = mode

    def points(self, metric: str, rows: Sequence[int], steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        with self._lock:
            for column, row in enumerate(rows):
                self._rows[row].take(metric, steps, values[:, column])
        if not self._heard:
            # Whoever has just submitted a job waits for a sign of life.
            self._heard = True
            self._wake.set()

    def snapshot(self, row: int, step: int, content: dict[str, Any]) -> None:
        with self._lock:
            self._rows[row].snapshots.append((step, content))

    def ended(self, row: int, ending: Ending) -> None:
        with self._lock:
            self._rows[row].ending = ending
        self._wake.set()

    def directives(self) -> Mapping[int, Leave]:
        if self._draining():
            return dict.fromkeys(range(len(self._rows)), Leave.RELEASED) | self._directives
        return self._directives

    # ── the block ────────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if error is not None:
            log.error("cohort.failed", cohort_id=self._claim.cohort_id, exc_info=error)
            with self._lock:
                for row in self._rows:
                    if row.ending is None:
                        row.ending = Ending(Leave.RELEASED, row.step, 0.0, None)
                        row.failure = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else None
        self._wake.set()
        self._thread.join()
        return isinstance(error, Exception)

    # ── the recorder's own thread ────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        moment, heartbeat = time.monotonic(), self._config.heartbeat_seconds
        chores = [
            _Chore(self._publish, PUBLISH_SECONDS, moment),
            _Chore(self._look_for_directives, DIRECTIVES_SECONDS, moment),
            _Chore(self._save, SAVE_SECONDS, moment + SAVE_SECONDS),
            _Chore(self._renew, heartbeat, moment + heartbeat),
        ]
        while not all(row.done for row in self._rows):
            self._wake.wait(PUBLISH_SECONDS)
            self._wake.clear()
            try:
                for chore in chores:
                    if time.monotonic() >= chore.due:
                        chore.do()
                        chore.due = time.monotonic() + chore.every_seconds
                if any(row.ending and not row.done for row in self._rows):
                    self._save()
            except (SQLAlchemyError, OSError) as error:
                log.warning("recorder.retrying", error=f"{type(error).__name__}: {error}".splitlines()[0])
                time.sleep(DIRECTIVES_SECONDS)
            if time.monotonic() - self._renewed > self._config.lease_seconds * 25 / 30:
                self._let_go()

    def _publish(self) -> None:
        with self._lock:
            live = [row for row in self._rows if not row.done and row.ending is None]
            packed = [row.pack() for row in live if row.columns]
            cancelled = {row for row, leave in self._directives.items() if leave is Leave.CANCELLED}
            states = {
                row.run.id: LiveState(RunStatus.CANCELLING if position in cancelled else RunStatus.RUNNING, row.step)
                for position, row in enumerate(self._rows)
                if row in live
            }
        self._send(packed, states)

    def _send(self, packed: Sequence[Packed], states: Mapping[str, LiveState]) -> None:
        """Publish what can be published: a Redis that is away costs nothing but liveness, SQL has every point."""
        if time.monotonic() < self._redis_silent_until:
            return
        try:
            publish(
                self._redis,
                packed,
                states,
                stream_seconds=self._config.stream_seconds,
                state_seconds=self._config.lease_seconds,
            )
        except redis.RedisError as error:
            log.warning("recorder.redis_away", error=type(error).__name__)
            self._redis_silent_until = time.monotonic() + REDIS_PAUSE_SECONDS

    def _save(self) -> None:
        """Write chunks, snapshots and endings in one transaction, for the runs that are still held."""
        with self._lock:
            rows = [row for row in self._rows if not row.done]
            for row in rows:
                if row.last_chunk is None and (status := row.status()):
                    row.last_chunk = row.pack(end=status[0])
            chunks = [list(row.unsaved) for row in rows]
            snapshots = [list(row.snapshots) for row in rows]
            ending = [row.ending is not None for row in rows]
        for row in rows:
            self._store_files(row)
        with self._database.write() as session:
            held = lifecycle.held(session, self._claim.cohort_id)
            ours = [row.run.id in held for row in rows]
            if self._mode is not None and any(ours):
                self._write_mode(session, self._mode)
            for row, mine, unsaved, predicted, last in zip(rows, ours, chunks, snapshots, ending, strict=True):
                if mine:
                    self._write_history(session, row, unsaved, predicted)
                    if last:
                        self._write_ending(session, row)
        self._mode = None
        with self._lock:
            for row, mine, unsaved, predicted, last in zip(rows, ours, chunks, snapshots, ending, strict=True):
                del row.unsaved[: len(unsaved)], row.snapshots[: len(predicted)]
                row.done = last or not mine
        ended = [
            (row, status[0])
            for row, mine, last in zip(rows, ours, ending, strict=True)
            if mine and last and (status := row.status())
        ]
        if ended:
            states = {row.run.id: LiveState(status, row.step) for row, status in ended}
            self._send([row.last_chunk for row, _ in ended if row.last_chunk], states)

    def _write_mode(self, session: Session, mode: Mode) -> None:
        cohort = session.get_one(Cohort, self._claim.cohort_id)
        found = {"mode": "compiled" if mode.compiled else "eager", "mode_reason": mode.reason}
        cohort.provenance = {**(cohort.provenance or {}), **found}

    def _write_history(
        self,
        session: Session,
        row: RunRecord,
        unsaved: Sequence[Packed],
        snapshots: Sequence[tuple[int, dict[str, Any]]],
    ) -> None:
        if unsaved:
            session.add(
                MetricSegment(
                    run_id=row.run.id,
                    attempt=row.run.attempt,
                    first_number=unsaved[0].cursor.number,
                    last_number=unsaved[-1].cursor.number,
                    payload=b"".join(chunk.payload for chunk in unsaved),
                )
            )
            session.execute(update(Run).where(Run.id == row.run.id).values(step=row.step))
        session.add_all(Snapshot(run_id=row.run.id, step=step, content=content) for step, content in snapshots)

    def _write_ending(self, session: Session, row: RunRecord) -> None:
        assert row.ending is not None
        status = row.status()
        if status is None:
            lifecycle.release(session, row.run.id, row.run.attempt)
            return
        finished = lifecycle.finish(
            session,
            row.run.id,
            row.run.attempt,
            status[0],
            reason=status[1],
            detail=row.failure,
            step=row.ending.step,
            train_seconds=row.ending.train_seconds,
            summary=row.summary(),
        )
        for artifact in row.artifacts or ():
            session.merge(artifact)
        if finished and status[0] is RunStatus.SUCCEEDED:
            for analysis in row.run.spec.analyses:
                analysing.ask(session, [row.run.id], analysis.model_dump(mode="json"), row.run.spec.priority)

    def _store_files(self, row: RunRecord) -> None:
        """Put weights and predictions in storage before the rows that name them are written."""
        if row.artifacts is None and row.ending is not None:
            ending = row.ending
            told = {DATASET: json.dumps(ending.description)} if ending.description is not None else None
            files = {WEIGHTS: (ending.weights, told), PREDICTIONS: (ending.predictions, None)}
            row.artifacts = [
                artifacts.store(self._storage, row.run.id, row.run.attempt, name, content, header)
                for name, (content, header) in files.items()
                if content is not None
            ]

    def _look_for_directives(self) -> None:
        with self._database.read() as session:
            held = lifecycle.held(session, self._claim.cohort_id)
        directives = {}
        for position, row in enumerate(self._rows):
            if row.run.id not in held:
                directives[position] = Leave.LOST
            elif held[row.run.id] is RunStatus.CANCELLING:
                directives[position] = Leave.CANCELLED
        self._directives = directives

    def _renew(self) -> None:
        with self._database.write() as session:
            lifecycle.renew(session, self._claim.cohort_id)
        self._renewed = time.monotonic()

    def _let_go(self) -> None:
        """The lease may be over and the runs another worker's: stop, and write nothing more about them."""
        log.error("cohort.lease_over", cohort_id=self._claim.cohort_id)
        with self._lock:
            self._directives = dict.fromkeys(range(len(self._rows)), Leave.LOST)
            for row in self._rows:
                row.done = True
