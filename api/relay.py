"""Brings queued runs to idle workers, and lost runs back to the queue.

Every API process has a relay; one at a time is active. It works from SQL alone, so nothing that it forgets, sends twice
or sends in vain can lose a run.
"""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import structlog
from filelock import FileLock, Timeout
from kombu.exceptions import OperationalError as BrokerAway
from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from models import analysing, crashes, lifecycle
from models.database import Database
from models.queue import wake
from models.settings import Settings
from models.status import LIVE
from models.tables import Run, Worker

TICK_SECONDS = 0.5
_ADVISORY_LOCK = 0x72656C6179
"""Any fixed number that nothing else in the database uses: "relay" in ASCII."""

Key = TypeVar("Key", bound=Hashable)

log = structlog.get_logger()


class Watch(Generic[Key]):
    """Tells which heartbeats stand still, by this process's own monotonic clock: wall clocks may jump."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[Key, tuple[int, float]] = {}

    def still(self, heartbeats: dict[Key, int]) -> list[Key]:
        """The keys whose counter has not moved for the lease. Keys that are absent now are forgotten."""
        moment = self._clock()
        self._seen = {
            key: before if (before := self._seen.get(key)) and before[0] == count else (count, moment)
            for key, count in heartbeats.items()
        }
        return [key for key, (_, since) in self._seen.items() if moment - since >= self._seconds]


class Relay:
    """A thread that ticks twice a second, and at once when nudged."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._runs = Watch[tuple[str, int]](settings.lease_seconds)
        self._workers = Watch[str](settings.lease_seconds)
        self._nudged = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="relay", daemon=True)
        self.lost_runs = 0
        self.is_leader = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._nudged.set()
        self._thread.join(timeout=10)

    def nudge(self) -> None:
        """Something was queued: look now."""
        self._nudged.set()

    def _serve(self) -> None:
        while not self._stopping:
            try:
                with _leadership(self._database) as is_alive:
                    self.is_leader = True
                    while not self._stopping and is_alive():
                        self._nudged.clear()
                        self._tick()
                        self._nudged.wait(TICK_SECONDS)
            except _NotTheLeader:
                self._pause()
            except Exception as error:  # the relay outlives whatever is down, and tries again
                log.warning("relay.retrying", error=f"{type(error).__name__}: {error}".splitlines()[0])
                self._pause()
            self.is_leader = False

    def _pause(self) -> None:
        self._nudged.clear()
        self._nudged.wait(2 * TICK_SECONDS)

    def _tick(self) -> None:
        self._return_lost_runs()
        self._forget_lost_workers()
        self._return_lost_analyses()
        self._wake_idle_workers()

    def _wake_idle_workers(self) -> None:
        with self._database.read() as session:
            waiting = select(Run.id).where(lifecycle.ready())
            to_measure = analysing.waits(session)
            idle = {
                device: lanes
                for device, lanes in session.execute(
                    select(Worker.device, func.count()).where(Worker.busy.is_(False)).group_by(Worker.device)
                )
                if to_measure or session.scalar(waiting.where(Run.device.in_(lifecycle.CLAIMABLE[device])).limit(1))
            }
        try:
            for device, lanes in idle.items():
                wake(device, lanes)
        except BrokerAway as error:
            # The next tick tries again; what has to be returned to the queue needs no broker.
            log.warning("relay.broker_away", error=type(error).__name__)

    def _return_lost_runs(self) -> None:
        with self._database.read() as session:
            rows = session.execute(select(Run.id, Run.attempt, Run.heartbeat).where(Run.status.in_(LIVE)))
            heartbeats = {(row.id, row.attempt): row.heartbeat for row in rows}
        for run_id, attempt in self._runs.still(heartbeats):
            with self._database.write() as session:
                status = crashes.return_lost(session, run_id, attempt)
            if status is not None:
                self.lost_runs += 1
                log.warning("run.lost", run_id=run_id, attempt=attempt, status=status)

    def _forget_lost_workers(self) -> None:
        with self._database.read() as session:
            heartbeats = {row.id: row.heartbeat for row in session.execute(select(Worker.id, Worker.heartbeat))}
        if lost := self._workers.still(heartbeats):
            with self._database.write() as session:
                session.execute(delete(Worker).where(Worker.id.in_(lost)))
            log.warning("workers.lost", worker_ids=lost)

    def _return_lost_analyses(self) -> None:
        with self._database.read() as session:
            lost = analysing.lost(session)
        if lost:
            with self._database.write() as session:
                analysing.return_lost(session, lost)
            log.warning("analyses.lost", analysis_ids=[analysis_id for analysis_id, _ in lost])


class _NotTheLeader(Exception):
    """Another API process runs the relay."""


@contextmanager
def _leadership(database: Database) -> Iterator[Callable[[], bool]]:
    """Hold the lock of the one active relay; yields a check that it is still held.

    Raises:
        _NotTheLeader: if another process holds it.

    """
    if database.is_sqlite:
        try:
            with FileLock(f"{database.engine.url.database}.relay-lock", timeout=0):
                yield lambda: True
        except Timeout:
            raise _NotTheLeader from None
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(text(f"SELECT pg_try_advisory_lock({_ADVISORY_LOCK})")):
            raise _NotTheLeader
        try:
            yield lambda: _answers(connection)
        finally:
            # The pool would keep the session, and the lock with it.
            connection.invalidate()


def _answers(connection: Connection) -> bool:
    try:
        return bool(connection.scalar(text("SELECT 1")))
    except SQLAlchemyError:
        return False
