"""A worker in slow motion: each test says what is claimed, published to Redis, saved to SQL, and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import redis

from models import checkpoints, crashes, lifecycle
from models.checkpoints import CheckpointFile
from models.database import Database
from models.lifecycle import ClaimedRun
from models.metric_stream import FROM_NOTHING, Chunk, Cursor, LiveState, connect, pack, publish
from models.settings import Settings
from models.status import RunStatus, StatusReason
from models.tables import MetricSegment, Snapshot, Worker, now

Points = Mapping[str, tuple[Sequence[int], Sequence[float]]]


@dataclass
class FakeRun:
    """One claimed run; `publish` and `save` can be called in any order, or left out."""

    claimed: ClaimedRun
    database: Database
    client: "redis.Redis"
    cohort_id: str = ""
    resume_step: int = 0
    next_number: int = 0
    unsaved: list[tuple[int, bytes]] = field(default_factory=list)

    def report(
        self,
        points: Points,
        *,
        to_redis: bool = True,
        end: RunStatus | None = None,
        from_step: int | None = None,
        state: RunStatus | None = RunStatus.RUNNING,
    ) -> Cursor:
        """Make the next chunk; it waits to be saved, and is published unless told otherwise."""
        cursor = Cursor(self.claimed.attempt, self.next_number)
        columns = {
            name: (np.array(steps, np.int32), np.array(values, np.float32)) for name, (steps, values) in points.items()
        }
        begins = (self.resume_step or FROM_NOTHING) if cursor.number == 0 else None
        start = from_step if from_step is not None else begins
        payload = pack(Chunk(cursor, columns, from_step=start, end=end))
        self.next_number += 1
        self.unsaved.append((cursor.number, payload))
        if to_redis:
            self.send([(self.claimed.id, cursor, payload)], end or state)
        return cursor

    def send(self, entries: Sequence[tuple[str, Cursor, bytes]], state: RunStatus | None) -> None:
        states = {} if state is None else {self.claimed.id: LiveState(state, 0)}
        publish(self.client, entries, states, stream_seconds=600, state_seconds=30)

    def save(self) -> None:
        """Write every chunk that waits to SQL, as one segment."""
        if not self.unsaved:
            return
        with self.database.write() as session:
            session.add(
                MetricSegment(
                    run_id=self.claimed.id,
                    attempt=self.claimed.attempt,
                    first_number=self.unsaved[0][0],
                    last_number=self.unsaved[-1][0],
                    payload=b"".join(payload for _, payload in self.unsaved),
                )
            )
        self.unsaved.clear()

    def finish(
        self,
        status: RunStatus = RunStatus.SUCCEEDED,
        *,
        reason: StatusReason | None = None,
        to_redis: bool = True,
        summary: dict[str, Any] | None = None,
    ) -> None:
        """Write the last chunk and the ending, SQL first, as a worker does."""
        cursor = self.report({}, to_redis=False, end=status)
        payload = self.unsaved[-1][1]
        self.save()
        with self.database.write() as session:
            assert lifecycle.finish(
                session,
                self.claimed.id,
                self.claimed.attempt,
                status,
                reason=reason,
                step=100,
                train_seconds=1.5,
                summary=summary or {},
            )
        if to_redis:
            self.send([(self.claimed.id, cursor, payload)], status)

    def checkpoint(self, step: int, size: int = 9) -> None:
        """Be saved after a step, with all that was reported by then, as a worker does: SQL has every point before."""
        self.save()
        file = CheckpointFile(f"checkpoints/{self.cohort_id}/{step}.safetensors", size, "0" * 64)
        with self.database.write() as session:
            checkpoints.point(session, self.cohort_id, step, file, [self.claimed.id], 2)

    def snapshot(self, step: int, content: dict[str, Any]) -> None:
        with self.database.write() as session:
            session.add(Snapshot(run_id=self.claimed.id, step=step, content=content))


@dataclass
class FakeWorker:
    """Claims what waits, one cohort at a time."""

    database: Database
    client: "redis.Redis"

    @classmethod
    def of(cls, database: Database, settings: Settings) -> "FakeWorker":
        return cls(database, connect(settings.metrics()))

    def claim(self, limit: int = 1_000) -> list[FakeRun]:
        with self.database.write() as session:
            claim = lifecycle.claim(session, "worker_fake", "cpu", lambda _: limit)
        assert claim is not None, "nothing waits"
        return [FakeRun(run, self.database, self.client, claim.cohort_id, claim.resume_step) for run in claim.runs]

    def vanish(self, run: FakeRun) -> None:
        """The relay notices that the worker is gone."""
        with self.database.write() as session:
            assert crashes.return_lost(session, run.claimed.id, run.claimed.attempt)

    def release(self, run: FakeRun) -> RunStatus | None:
        """Give a run back in good order: paused, cancelled, or queued again."""
        with self.database.write() as session:
            return lifecycle.release(session, run.claimed.id, run.claimed.attempt)

    def arrive(self, device: str = "cpu") -> None:
        """Stand in the list of workers, busy, so that the relay sends no wake-ups."""
        with self.database.write() as session:
            session.add(
                Worker(
                    id=f"worker_{device}",
                    host="test",
                    process_id=1,
                    device=device,
                    description={"threads": 1},
                    started_at=now(),
                    seen_at=now(),
                    busy=True,
                )
            )
