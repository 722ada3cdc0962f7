"""Writes down what a cohort reports: to Redis within a fraction of a second, to SQL in segments, endings at once.

The engine's thread only appends to an inbox. A thread of the recorder's own packs, publishes, saves, renews the lease,
looks for what owners want, and ends what hangs, so that training never waits for a disk or a network.
"""

import os
import signal
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
from sqlalchemy.exc import SQLAlchemyError

from models import lifecycle
from models.database import Database
from models.lifecycle import Claim
from models.metric_stream import LiveState, fall_silent, publish
from models.settings import Settings
from models.status import RunStatus, StatusReason
from models.storage import Storage
from worker.delivery import Delivery, Share
from worker.run_record import RunRecord
from worker.stowage import Stowage
from worker.training.boundary import Ending, Leave, Mode, Saved

PUBLISH_SECONDS = 0.2
SAVE_SECONDS = 2.0
DIRECTIVES_SECONDS = 0.5
REDIS_PAUSE_SECONDS = 2.0

_WISHES = {RunStatus.CANCELLING: Leave.CANCELLED, RunStatus.PAUSING: Leave.PAUSED}

log = structlog.get_logger()


@dataclass
class _Chore:
    """What the recorder's thread does again and again; a chore that failed stays due."""

    do: Callable[[], None]
    every_seconds: float
    due: float


def end_this_process() -> None:
    """A process in which something hangs cannot be ended by asking it."""
    os.kill(os.getpid(), signal.SIGKILL)


class Recorder:
    """Hears one cohort from its first step to its last ending.

    Use it as a context manager around the training; leaving the block waits until every ending is written. An exception
    in the block breaks the cohort down (see `models.crashes`), and goes no further. A block that reports nothing for
    `stall_seconds` ends with its process.
    """

    def __init__(
        self,
        claim: Claim,
        database: Database,
        client: "redis.Redis",
        storage: Storage,
        config: Settings,
        draining: Callable[[], bool],
        *,
        summaries: Sequence[Mapping[str, Any]] | None = None,
        stall_seconds: float | None = None,
        beat: Callable[[], None] = lambda: None,
        end_process: Callable[[], None] = end_this_process,
    ) -> None:
        """`summaries` are what the histories of resumed runs come to so far; `beat` is called while all is well."""
        self._claim = claim
        told = summaries or [{}] * len(claim.runs)
        self._rows = [RunRecord.of(run, claim.resume_step, one) for run, one in zip(claim.runs, told, strict=True)]
        self._database = database
        self._redis = client
        self._config = config
        self._draining = draining
        self._stall_seconds = stall_seconds or config.stall_seconds
        self._beat = beat
        self._end_process = end_process
        self._lock = threading.Lock()
        self._directives: dict[int, Leave] = {}
        self._wake = threading.Event()
        self._stowage = Stowage(storage, claim.cohort_id, config.storage_patience_seconds, self._wake.set)
        self._heard = False
        self._heard_at = self._renewed = time.monotonic()
        self._mode: Mode | None = None
        self._breakdown: tuple[StatusReason, str] | None = None
        self._redis_silent_until = 0.0
        self._thread = threading.Thread(target=self._serve, name="recorder", daemon=True)

    # ── the engine's side ────────────────────────────────────────────────────────────────────────

    def mode(self, mode: Mode) -> None:
        self._heard_at = time.monotonic()
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

    def saved(self, rows: Sequence[int], saved: Saved) -> None:
        with self._lock:
            self._stowage.save([self._rows[row] for row in rows], saved)

    def ended(self, row: int, ending: Ending) -> None:
        with self._lock:
            self._rows[row].ending = ending
        self._wake.set()

    def directives(self) -> Mapping[int, Leave]:
        self._heard_at = time.monotonic()
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
                if isinstance(error, Exception):
                    self._breakdown = reason_of(error), f"{type(error).__name__}: {error}"
                else:
                    self._give_back_the_rest()
        self._wake.set()
        self._thread.join()
        self._stowage.close()
        return isinstance(error, Exception)

    def _give_back_the_rest(self) -> None:
        for row in self._rows:
            if row.ending is None:
                row.ending = Ending(Leave.RELEASED, row.step, 0.0, None)

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
            self._beat()
            self._notice_a_stall()
            try:
                for chore in chores:
                    if time.monotonic() >= chore.due:
                        chore.do()
                        chore.due = time.monotonic() + chore.every_seconds
                if self._breakdown or any(row.ending and not row.done for row in self._rows) or self._stowage.arrived():
                    self._save()
            except (SQLAlchemyError, OSError) as error:
                log.warning("recorder.retrying", error=f"{type(error).__name__}: {error}".splitlines()[0])
                time.sleep(DIRECTIVES_SECONDS)
            if time.monotonic() - self._renewed > self._config.lease_seconds * 25 / 30:
                self._let_go()
        if self._breakdown and self._breakdown[0] is StatusReason.HUNG:
            self._end_process()

    def _notice_a_stall(self) -> None:
        silent = time.monotonic() - self._heard_at
        if silent > self._stall_seconds and self._breakdown is None and any(not row.ending for row in self._rows):
            log.error("cohort.hung", cohort_id=self._claim.cohort_id, silent_seconds=round(silent))
            self._breakdown = StatusReason.HUNG, f"nothing was heard of it for {silent:.0f} s"

    def _publish(self) -> None:
        with self._lock:
            live = [row for row in self._rows if not row.done and row.ending is None]
            for row in live:
                if row.columns:
                    row.pack()
            wishes = {self._rows[row].run.id: leave for row, leave in self._directives.items()}
            states = {row.run.id: LiveState(_live_status(wishes.get(row.run.id)), row.step) for row in live}
        self._send(states)

    def _send(self, states: Mapping[str, LiveState], silent: Sequence[str] = ()) -> None:
        """Publish what can be published: a Redis that is away costs nothing but liveness, SQL has every point."""
        with self._lock:
            packed = [chunk for row in self._rows for chunk in row.unsent]
            for row in self._rows:
                row.unsent = []
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
            fall_silent(self._redis, silent)
        except redis.RedisError as error:
            log.warning("recorder.redis_away", error=type(error).__name__)
            self._redis_silent_until = time.monotonic() + REDIS_PAUSE_SECONDS

    def _save(self) -> None:
        """Write chunks, snapshots, checkpoints and endings in one transaction, for the runs that are still held."""
        delivery = self._gather()
        with self._database.write() as session:
            delivery.write(session, self._claim.cohort_id, self._config.kept_checkpoints)
        self._settle(delivery)

    def _gather(self) -> Delivery:
        with self._lock:
            rows = [row for row in self._rows if not row.done]
            stowed = self._stowage.arrived()
            ready = [self._is_ready(row) for row in rows]
            for row, is_ready in zip(rows, ready, strict=True):
                if is_ready:
                    row.pack_rest()
                elif row.columns:
                    row.pack()
            # Those that ended well first, or they would be taken for part of what broke down.
            waits = any(row.ending and not is_ready for row, is_ready in zip(rows, ready, strict=True))
            return Delivery(
                [
                    Share(row, is_ready, list(row.unsaved), list(row.snapshots))
                    for row, is_ready in zip(rows, ready, strict=True)
                ],
                stowed,
                self._mode,
                None if waits else self._breakdown,
            )

    def _is_ready(self, row: RunRecord) -> bool:
        return row.ending is not None and self._stowage.has_left(row) and not self._stowage.expects(row)

    def _settle(self, delivery: Delivery) -> None:
        """It is committed."""
        if self._mode is delivery.mode:
            self._mode = None
        with self._lock:
            self._stowage.settle(delivery.stowed)
            for share in delivery.shares:
                share.settle(delivery.outcome, has_broken_down=delivery.breakdown is not None)
        self._stowage.remove(delivery.unneeded)
        steps = {share.row.run.id: share.row.step for share in delivery.shares}
        ended = {run: LiveState(status, steps[run]) for run, status in delivery.outcome.items() if status.is_terminal}
        if delivery.outcome:
            self._send(ended, [run for run in delivery.outcome if run not in ended])

    def _look_for_directives(self) -> None:
        with self._database.read() as session:
            held = lifecycle.held(session, self._claim.cohort_id)
        directives = {}
        for position, row in enumerate(self._rows):
            if row.run.id not in held:
                directives[position] = Leave.LOST
            elif (wish := _WISHES.get(held[row.run.id])) is not None:
                directives[position] = wish
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


def _live_status(wish: Leave | None) -> RunStatus:
    return next((status for status, leave in _WISHES.items() if leave is wish), RunStatus.RUNNING)


def reason_of(error: Exception) -> StatusReason:
    """What an exception of the engine says about the run that caused it."""
    # torch says so in words only, when the processor's memory is meant.
    words = ("can't allocate memory", "not enough memory", "out of memory")
    if isinstance(error, MemoryError) or any(word in str(error) for word in words):
        return StatusReason.OUT_OF_MEMORY
    return StatusReason.ERROR
