"""What the engine says reaches SQL and Redis whole, and once, whatever is away meanwhile."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from safetensors.numpy import load
from sqlalchemy import select
from structlog.testing import capture_logs

from models import checkpoints, crashes, owner, tables
from models.database import Database
from models.lifecycle import Claim
from models.metric_stream import FROM_NOTHING, Chunk, connect, merge, unpack
from models.settings import Settings
from models.status import RunStatus, StatusReason
from models.storage import Storage
from models.tables import Artifact, MetricSegment, Run, Snapshot
from tests.models.outages import eventually, impatient, no_room_in, sql_away
from tests.models.transactions import claim, commit, runs_of, statuses, submit, the_run
from tests.servers import Valkey, running_valkey
from worker.checkpoints import read
from worker.recorder import Recorder, reason_of
from worker.training.boundary import Ending, Leave, Mode, Result, Saved

WEIGHTS = {"layers.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3).T, "layers.0.bias": np.zeros(3, np.float32)}

Series = dict[str, list[tuple[int, bytes]]]
"""Per metric, its steps and the bits of its values."""


@dataclass
class Cohort:
    """Some runs, claimed, and an engine that is driven by hand."""

    database: Database
    settings: Settings
    job_id: str
    claim: Claim
    client: "redis.Redis"
    is_draining: bool = False
    told: dict[int, Series] = field(default_factory=dict)
    """What the engine reported, row by row."""

    def recorder(self, database: Database | None = None) -> Recorder:
        storage = Storage(self.settings.storage_url)
        database = database or self.database
        return Recorder(self.claim, database, self.client, storage, self.settings, lambda: self.is_draining)

    @contextmanager
    def recorded(self, database: Database | None = None) -> Iterator[Recorder]:
        """A recorder at work. It takes every error for the engine's own; what a test finds wrong must go further."""
        wrong = None
        with self.recorder(database) as recorder:
            try:
                yield recorder
            except AssertionError as error:
                wrong = error
                raise
        if wrong:
            raise wrong

    def report(
        self, recorder: Recorder, steps: range, metric: str = "train_loss", rows: Sequence[int] = (0, 1)
    ) -> None:
        values = np.array([[row + 1 / (step + 1) for row in rows] for step in steps], np.float32)
        recorder.points(metric, rows, np.array(steps), values)
        for column, row in enumerate(rows):
            series = self.told.setdefault(row, {}).setdefault(metric, [])
            series += [(step, value.tobytes()) for step, value in zip(steps, values[:, column], strict=True)]

    def in_sql(self, row: int) -> list[Chunk]:
        with self.database.read() as session:
            segments = session.scalars(
                select(MetricSegment)
                .where(MetricSegment.run_id == self.claim.runs[row].id)
                .order_by(MetricSegment.attempt, MetricSegment.first_number)
            ).all()
        chunks = []
        for segment in segments:
            chunks += (found := list(unpack(segment.attempt, segment.payload)))
            assert (segment.first_number, segment.last_number) == (found[0].cursor.number, found[-1].cursor.number)
        return chunks

    def in_redis(self, row: int) -> list[Chunk]:
        chunks: list[Chunk] = []
        entries: Any = self.client.xrange(f"descent:metrics:{self.claim.runs[row].id}")
        for entry_id, fields in entries:
            chunks += unpack(int(entry_id.split(b"-")[0]), fields[b"chunk"])
        return chunks

    def demand_whole(self, *rows: int) -> None:
        """Insist that SQL holds everything that was told about these runs, once."""
        for row in rows:
            chunks = self.in_sql(row)
            assert series(chunks) == self.told[row]
            assert [chunk.cursor.number for chunk in chunks] == list(range(len(chunks)))

    def run(self, row: int = 0) -> Run:
        return the_run(self.database, self.claim.runs[row].id)

    def state_in_redis(self, row: int = 0) -> str:
        text: Any = self.client.get(f"descent:state:{self.claim.runs[row].id}")
        return "" if text is None else str(text, "utf-8")

    def artifacts(self) -> list[Artifact]:
        with self.database.read() as session:
            return list(session.scalars(select(Artifact)))


def series(chunks: Sequence[Chunk]) -> Series:
    return {
        name: [(int(step), value.tobytes()) for step, value in zip(steps, values, strict=True)]
        for name, (steps, values) in merge(chunks).items()
    }


def end(result: Result | Leave, step: int = 100, weights: Mapping[str, Any] | None = None) -> Ending:
    return Ending(result, step, 2.5, weights)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorders that save, and try Redis again, several times a second."""
    monkeypatch.setattr("worker.recorder.SAVE_SECONDS", 0.2)
    monkeypatch.setattr("worker.recorder.DIRECTIVES_SECONDS", 0.1)
    monkeypatch.setattr("worker.recorder.REDIS_PAUSE_SECONDS", 0.2)


@pytest.fixture
def cohort(database: Database, settings: Settings) -> Iterator[Cohort]:
    """Two runs of one job."""
    yield from _cohort(database, settings)


@pytest.fixture
def cohort_on_sqlite(sqlite_database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Cohort]:
    """The same, for tests to which the kind of database does not matter."""
    settings = Settings(database_url=sqlite_database_url, metrics_url=redis_url, storage_url=str(tmp_path / "storage"))
    database = Database(settings.database())
    yield from _cohort(database, settings)
    database.dispose()


def _cohort(database: Database, settings: Settings) -> Iterator[Cohort]:
    job_id = submit(database, seeds=2)
    client = connect(settings.metrics())
    yield Cohort(database, settings, job_id, claim(database), client)
    client.close()


# ── histories ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("hasty")
def test_sql_and_redis_both_hold_all_that_was_reported(cohort: Cohort) -> None:
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(0, 1), "validation_loss")
        cohort.report(recorder, range(1, 50))
        eventually(lambda: cohort.in_sql(0) and cohort.in_redis(0), "the first points are written")
        assert cohort.run().status == RunStatus.RUNNING
        cohort.report(recorder, range(50, 60), rows=[0])
        cohort.report(recorder, range(50, 55), rows=[1])
        recorder.ended(1, end(Result.STOPPED_EARLY, 54))
        eventually(lambda: cohort.run(1).status == RunStatus.SUCCEEDED, "one run ends before its neighbour")
        assert cohort.run(0).status == RunStatus.RUNNING
        cohort.report(recorder, range(60, 101), rows=[0])
        recorder.ended(0, end(Result.COMPLETED))
    cohort.demand_whole(0, 1)
    for row in (0, 1):
        sql, live = cohort.in_sql(row), cohort.in_redis(row)
        assert series(live) == series(sql) == cohort.told[row]
        assert [(chunk.cursor, chunk.from_step, chunk.end) for chunk in live] == [
            (chunk.cursor, chunk.from_step, chunk.end) for chunk in sql
        ]
        assert [chunk.from_step for chunk in sql] == [FROM_NOTHING] + [None] * (len(sql) - 1)
        assert [chunk.end for chunk in sql] == [None] * (len(sql) - 1) + [RunStatus.SUCCEEDED]
        assert '"succeeded"' in cohort.state_in_redis(row)


@pytest.mark.usefixtures("hasty")
def test_a_run_that_succeeds_leaves_the_analyses_that_its_spec_asks_for(database: Database, settings: Settings) -> None:
    submit(database, seeds=2, analyses=["hessian", {"kind": "sharpness", "rows": 64}])
    client = connect(settings.metrics())
    cohort = Cohort(database, settings, "", claim(database), client)
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 50))
        recorder.ended(0, end(Result.COMPLETED, weights=WEIGHTS))
        recorder.ended(1, end(Result.DIVERGED))
    client.close()
    with database.read() as session:
        waiting = session.execute(select(tables.Analysis.run_id, tables.Analysis.kind, tables.Analysis.status))
        assert sorted(waiting) == [
            (cohort.claim.runs[0].id, "hessian", RunStatus.QUEUED),
            (cohort.claim.runs[0].id, "sharpness", RunStatus.QUEUED),
        ]


@pytest.mark.parametrize(
    ("mode", "found"),
    [
        (Mode(compiled=True), {"hardware": "here", "mode": "compiled", "mode_reason": None}),
        (
            Mode(compiled=False, reason="no compiler"),
            {"hardware": "here", "mode": "eager", "mode_reason": "no compiler"},
        ),
        (Mode(compiled=False), {"hardware": "here", "mode": "eager"}),
    ],
    ids=str,
)
@pytest.mark.usefixtures("hasty")
def test_the_provenance_of_a_cohort_says_how_it_was_computed(
    cohort_on_sqlite: Cohort, mode: Mode, found: dict[str, Any]
) -> None:
    cohort = cohort_on_sqlite
    with cohort.database.write() as session:
        session.get_one(tables.Cohort, cohort.claim.cohort_id).provenance = {"hardware": "here", "mode": "eager"}
    with cohort.recorded() as recorder:
        recorder.mode(mode)
        for row in (0, 1):
            recorder.ended(row, end(Result.COMPLETED))
    with cohort.database.read() as session:
        assert session.get_one(tables.Cohort, cohort.claim.cohort_id).provenance == found


@pytest.mark.usefixtures("hasty")
def test_progress_and_snapshots_can_be_seen_while_a_run_trains(cohort_on_sqlite: Cohort) -> None:
    cohort = cohort_on_sqlite
    with cohort.recorded() as recorder:
        recorder.snapshot(1, 0, {"outputs": [0.5, None]})
        cohort.report(recorder, range(1, 31))
        eventually(lambda: cohort.run(1).step == 30, "progress is written")
        assert '"step": 30' in cohort.state_in_redis(1)
        recorder.snapshot(1, 40, {"outputs": [0.25]})
        for row in (0, 1):
            recorder.ended(row, end(Result.COMPLETED))
    with cohort.database.read() as session:
        found = {(one.run_id, one.step): one.content for one in session.scalars(select(Snapshot))}
    run_id = cohort.claim.runs[1].id
    assert found == {(run_id, 0): {"outputs": [0.5, None]}, (run_id, 40): {"outputs": [0.25]}}


def test_the_hold_on_a_cohort_is_renewed(cohort_on_sqlite: Cohort) -> None:
    cohort = cohort_on_sqlite
    cohort.settings = cohort.settings.model_copy(update={"heartbeat_seconds": 0.1})
    with cohort.recorded() as recorder:
        eventually(lambda: cohort.run(0).heartbeat >= 2 and cohort.run(1).heartbeat >= 2, "heartbeats count")
        assert recorder.directives() == {}
        for row in (0, 1):
            recorder.ended(row, end(Result.COMPLETED))


# ── endings ──────────────────────────────────────────────────────────────────────────────────────


def test_an_ending_brings_status_summary_and_weights(cohort: Cohort) -> None:
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 101))
        recorder.ended(0, end(Result.COMPLETED, weights=WEIGHTS))
        recorder.ended(1, end(Result.DIVERGED, 77))
    done, diverged = cohort.run(0), cohort.run(1)
    assert (done.status, done.status_reason, done.step, done.train_seconds) == (RunStatus.SUCCEEDED, None, 100, 2.5)
    assert (diverged.status, diverged.status_reason) == (RunStatus.FAILED, StatusReason.DIVERGED)
    assert (diverged.step, diverged.status_detail) == (77, None)
    assert done.finished_at is not None
    cohort.demand_whole(0, 1)

    (artifact,) = cohort.artifacts()
    assert (artifact.run_id, artifact.name) == (done.id, "weights.safetensors")
    with Storage(cohort.settings.storage_url).open(artifact.storage_key) as file:
        content = file.read()
    assert (artifact.size, artifact.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    weights = load(content)
    assert weights.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        np.testing.assert_array_equal(weights[name], tensor)


def test_a_summary_tells_the_last_and_the_best_in_the_metrics_direction(cohort_on_sqlite: Cohort) -> None:
    nan, inf = float("nan"), float("inf")
    reported: dict[str, list[list[float]]] = {
        "validation_loss": [[3.0, 1.0], [2.0, nan]],
        "validation_accuracy": [[0.5, 0.75], [0.875, 0.875], [0.25]],
        "gradient_norm": [[3.0], [7.0]],
        "train_loss": [[nan], [4.0, inf]],
        "clean_train_loss": [[nan, inf]],
    }
    with cohort_on_sqlite.recorded() as recorder:
        for metric, windows in reported.items():
            step = 0
            for window in windows:
                steps = np.arange(step + 1, step + 1 + len(window))
                recorder.points(metric, [0], steps, np.array(window, np.float32)[:, None])
                step += len(window)
        recorder.ended(0, end(Result.COMPLETED))
        recorder.ended(1, end(Result.COMPLETED))
    assert cohort_on_sqlite.run(0).summary == {
        "validation_loss": {"last": None, "best": 1.0, "best_step": 2},
        "validation_accuracy": {"last": 0.25, "best": 0.875, "best_step": 3},
        "gradient_norm": {"last": 7.0, "best": None, "best_step": None},
        "train_loss": {"last": None, "best": 4.0, "best_step": 2},
        "clean_train_loss": {"last": None, "best": None, "best_step": None},
    }
    assert cohort_on_sqlite.run(1).summary == {}


def test_an_engine_that_raises_fails_the_runs_that_had_not_ended(cohort: Cohort) -> None:
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 11))
        recorder.ended(0, end(Result.COMPLETED, 10, WEIGHTS))
        cohort.report(recorder, range(11, 21), rows=[1])
        raise ZeroDivisionError("no seeds left")
    done, failed = cohort.run(0), cohort.run(1)
    assert (done.status, done.status_detail) == (RunStatus.SUCCEEDED, None)
    assert (failed.status, failed.status_reason) == (RunStatus.FAILED, StatusReason.ERROR)
    assert failed.status_detail == "ZeroDivisionError: no seeds left"
    assert failed.step == 20
    cohort.demand_whole(0, 1)
    assert [artifact.run_id for artifact in cohort.artifacts()] == [done.id]
    assert '"failed"' in cohort.state_in_redis(1)


def test_a_worker_that_is_interrupted_gives_its_runs_back(cohort_on_sqlite: Cohort) -> None:
    with pytest.raises(KeyboardInterrupt), cohort_on_sqlite.recorded():
        raise KeyboardInterrupt
    assert statuses(cohort_on_sqlite.database, cohort_on_sqlite.job_id) == [RunStatus.QUEUED] * 2
    assert cohort_on_sqlite.run().crashes == 0


# ── directives ───────────────────────────────────────────────────────────────────────────────────


def test_a_cancellation_reaches_the_engine_and_ends_the_run(cohort: Cohort) -> None:
    other = submit(cohort.database)
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 11))
        recorder.ended(1, end(Result.COMPLETED))
        eventually(lambda: cohort.run(1).status == RunStatus.SUCCEEDED, "one run ends")
        assert Leave.CANCELLED not in recorder.directives().values()
        commit(cohort.database, owner.cancel, cohort.job_id)
        asked = time.monotonic()
        eventually(lambda: recorder.directives().get(0) is Leave.CANCELLED, "the engine is told")
        assert time.monotonic() - asked < 5
        eventually(lambda: '"cancelling"' in cohort.state_in_redis(0), "those who watch are told")
        assert cohort.run().status == RunStatus.CANCELLING
        recorder.ended(0, end(Leave.CANCELLED, 12))
    cancelled = cohort.run()
    assert (cancelled.status, cancelled.status_reason) == (RunStatus.CANCELLED, StatusReason.CANCELLED_BY_USER)
    assert cancelled.step == 12
    assert [chunk.end for chunk in cohort.in_sql(0)][-1] is RunStatus.CANCELLED
    cohort.demand_whole(0)
    assert statuses(cohort.database, cohort.job_id) == [RunStatus.CANCELLED, RunStatus.SUCCEEDED]
    assert statuses(cohort.database, other) == [RunStatus.QUEUED]


def test_a_worker_that_drains_gives_its_runs_back(cohort: Cohort) -> None:
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 11))
        recorder.ended(1, end(Result.COMPLETED))
        cohort.is_draining = True
        assert recorder.directives() == {0: Leave.RELEASED, 1: Leave.RELEASED}
        recorder.ended(0, end(Leave.RELEASED, 10))
    released = cohort.run(0)
    assert (released.status, released.status_reason) == (RunStatus.QUEUED, StatusReason.WORKER_DRAINED)
    assert (released.crashes, released.cohort_id) == (0, None)
    assert cohort.run(1).status == RunStatus.SUCCEEDED
    assert all(chunk.end is None for chunk in cohort.in_sql(0)), "it goes on elsewhere"
    cohort.demand_whole(1)
    assert claim(cohort.database, "worker_2").runs[0].attempt == 2


def test_a_cancellation_goes_before_a_drain(cohort_on_sqlite: Cohort) -> None:
    cohort = cohort_on_sqlite
    commit(cohort.database, owner.cancel, cohort.job_id)
    cohort.is_draining = True
    with cohort.recorded() as recorder:
        eventually(lambda: set(recorder.directives().values()) == {Leave.CANCELLED}, "the engine is told")
        for row in (0, 1):
            recorder.ended(row, end(Leave.CANCELLED))
    assert statuses(cohort.database, cohort.job_id) == [RunStatus.CANCELLED] * 2


@pytest.mark.usefixtures("hasty")
def test_nothing_is_written_about_a_run_that_another_worker_has(cohort: Cohort) -> None:
    lost = cohort.claim.runs[0]
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 11))
        eventually(lambda: cohort.in_sql(0), "the first points are written")
        assert commit(cohort.database, crashes.return_lost, lost.id, 1) is RunStatus.QUEUED
        successor = claim(cohort.database, "worker_2")
        cohort.report(recorder, range(11, 21))
        recorder.snapshot(0, 15, {})
        eventually(lambda: recorder.directives() == {0: Leave.LOST}, "the engine is told")
        cohort.report(recorder, range(21, 31))
        recorder.ended(0, end(Result.COMPLETED, weights=WEIGHTS))
        recorder.ended(1, end(Result.COMPLETED))
    run = cohort.run(0)
    assert (run.status, run.attempt, run.worker_id) == (RunStatus.RUNNING, 2, "worker_2")
    assert (run.cohort_id, run.step, run.summary) == (successor.cohort_id, 0, None)
    assert cohort.in_sql(0) == []
    assert cohort.artifacts() == []
    with cohort.database.read() as session:
        assert session.scalars(select(Snapshot)).all() == []
    cohort.demand_whole(1)
    assert cohort.run(1).status == RunStatus.SUCCEEDED


# ── when something is away ───────────────────────────────────────────────────────────────────────


def test_without_redis_everything_is_in_sql(cohort: Cohort) -> None:
    cohort.client = redis.Redis.from_url("unix:///nowhere/valkey.sock")
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 11))
        time.sleep(0.3)
        cohort.report(recorder, range(11, 21))
        for row in (0, 1):
            recorder.ended(row, end(Result.COMPLETED))
    cohort.client.close()
    cohort.demand_whole(0, 1)
    assert statuses(cohort.database, cohort.job_id) == [RunStatus.SUCCEEDED] * 2


@pytest.mark.usefixtures("hasty")
def test_a_redis_that_dies_and_comes_back_hears_what_comes_then(cohort_on_sqlite: Cohort, tmp_path: Path) -> None:
    cohort = cohort_on_sqlite
    folder = tmp_path / "valkey"
    folder.mkdir()

    def use(server: Valkey) -> None:
        cohort.client.close()
        cohort.client = connect(server.metrics_url())

    with running_valkey(folder) as first:
        use(first)
        recorder = cohort.recorder()
        recorder.__enter__()
        cohort.report(recorder, range(1, 11))
        eventually(lambda: cohort.in_redis(0), "Redis hears")
    cohort.report(recorder, range(11, 21))
    eventually(lambda: cohort.run().step == 20, "SQL hears while Redis is dead")
    with running_valkey(folder):
        cohort.report(recorder, range(21, 31))
        eventually(lambda: cohort.state_in_redis(), "Redis hears again")
        for row in (0, 1):
            recorder.ended(row, end(Result.COMPLETED))
        recorder.__exit__(None, None, None)
        assert cohort.in_redis(0)[-1].end is RunStatus.SUCCEEDED
    cohort.demand_whole(0, 1)


@pytest.mark.usefixtures("hasty")
def test_while_sql_does_not_take_it_nothing_is_lost_and_nothing_doubled(cohort: Cohort) -> None:
    def tell_in_vain(recorder: Recorder, steps: range, ending: Ending | None = None) -> None:
        with capture_logs() as logs:
            cohort.report(recorder, steps)
            recorder.snapshot(0, steps[0], {"outputs": [0.5]})
            if ending:
                recorder.ended(0, ending)
                recorder.ended(1, ending)
            eventually(lambda: sum(one["event"] == "recorder.retrying" for one in logs) > 1, "it is tried again")

    with impatient(cohort.settings) as database, cohort.recorded(database) as recorder:
        cohort.report(recorder, range(1, 11))
        recorder.snapshot(0, 5, {"outputs": []})
        eventually(lambda: cohort.in_sql(0), "the first points are written")
        with no_room_in(cohort.database, "snapshots"):
            tell_in_vain(recorder, range(11, 21))
        cohort.report(recorder, range(21, 31))
        with sql_away(cohort.database):
            tell_in_vain(recorder, range(31, 41), end(Result.COMPLETED, weights=WEIGHTS))
    assert statuses(cohort.database, cohort.job_id) == [RunStatus.SUCCEEDED] * 2
    cohort.demand_whole(0, 1)
    assert series(cohort.in_redis(0)) == cohort.told[0]
    with cohort.database.read() as session:
        assert session.scalars(select(Snapshot.step).order_by(Snapshot.step)).all() == [5, 11, 31]
    assert len(cohort.artifacts()) == 2


@pytest.mark.usefixtures("hasty")
def test_a_worker_that_cannot_renew_its_hold_lets_go(cohort: Cohort) -> None:
    cohort.settings = cohort.settings.model_copy(update={"heartbeat_seconds": 0.1, "lease_seconds": 1.2})
    with impatient(cohort.settings) as database, cohort.recorded(database) as recorder:
        cohort.report(recorder, range(1, 11))
        eventually(lambda: cohort.in_sql(0) and cohort.in_sql(1), "the first points are written")
        assert recorder.directives() == {}
        with sql_away(cohort.database):
            cohort.report(recorder, range(11, 21))
            eventually(lambda: recorder.directives() == {0: Leave.LOST, 1: Leave.LOST}, "the engine is told")
        recorder.ended(0, end(Result.COMPLETED, weights=WEIGHTS))
        recorder.ended(1, end(Leave.LOST))
    for row, run in enumerate(runs_of(cohort.database, cohort.job_id)):
        assert (run.status, run.step, run.summary) == (RunStatus.RUNNING, 10, None)
        assert [step for step, _ in series(cohort.in_sql(row))["train_loss"]] == list(range(1, 11))
    assert cohort.artifacts() == []


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────────


def saved_at(step: int, rows: int = 2) -> Saved:
    return Saved(step, {"state.0": np.full((rows, 3), step, np.float32)}, [{}] * rows)


def test_a_checkpoint_stands_with_every_point_up_to_it(cohort: Cohort) -> None:
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 51))
        recorder.saved([0, 1], saved_at(50))
        eventually(lambda: cohort.run().resume_step == 50, "the runs are pointed at it")
        cohort.demand_whole(0, 1)
        for row in (0, 1):
            recorder.ended(row, end(Leave.RELEASED, 50))
    again = claim(cohort.database, "worker_2")
    assert (again.resume_step, len(again.runs)) == (50, 2)
    with cohort.database.read() as session:
        restored = read(Storage(cohort.settings.storage_url), checkpoints.places(session, again))
    assert restored.saved.tensors["state.0"].tolist() == [[50.0] * 3] * 2
    assert [summary["train_loss"][2] for summary in restored.summaries] == [50, 50]


def test_a_resumed_run_takes_back_what_lies_past_its_checkpoint_and_sums_up_the_whole(cohort_on_sqlite: Cohort) -> None:
    cohort = cohort_on_sqlite
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 51))
        recorder.saved([0, 1], saved_at(50))
        cohort.report(recorder, range(51, 71))
        for row in (0, 1):
            recorder.ended(row, end(Leave.RELEASED, 70))
    again = claim(cohort.database, "worker_2")
    storage = Storage(cohort.settings.storage_url)
    with cohort.database.read() as session:
        summaries = read(storage, checkpoints.places(session, again)).summaries
    values = np.full((30, 1), 9.0, np.float32)
    cohort.claim = again
    recorder = Recorder(
        again, cohort.database, cohort.client, storage, cohort.settings, lambda: False, summaries=summaries
    )
    with recorder:
        recorder.points("train_loss", [0], np.arange(51, 81), values)
        recorder.ended(0, end(Result.COMPLETED, 80, WEIGHTS))
        recorder.ended(1, end(Leave.RELEASED, 50))
    steps = [step for step, _ in series(cohort.in_sql(0))["train_loss"]]
    assert steps == list(range(1, 81)), "each point once"
    summary = cohort.run().summary or {}
    assert (summary["train_loss"]["last"], summary["train_loss"]["best_step"]) == (9.0, 50)


def test_a_run_that_is_to_pause_leaves_once_its_checkpoint_stands(cohort: Cohort) -> None:
    commit(cohort.database, owner.pause, cohort.job_id)
    with cohort.recorded() as recorder:
        eventually(lambda: set(recorder.directives().values()) == {Leave.PAUSED}, "the engine is told")
        cohort.report(recorder, range(1, 21))
        recorder.saved([0, 1], saved_at(20))
        for row in (0, 1):
            recorder.ended(row, end(Leave.PAUSED, 20))
    for row in (0, 1):
        run = cohort.run(row)
        assert (run.status, run.resume_step, run.worker_id) == (RunStatus.PAUSED, 20, None)
        assert cohort.state_in_redis(row) == "", "SQL speaks for it now"
    cohort.demand_whole(0, 1)


def test_a_storage_that_takes_no_checkpoint_costs_no_step(
    cohort_on_sqlite: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = cohort_on_sqlite

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 11))
        recorder.saved([0, 1], saved_at(10))
        eventually(lambda: cohort.run().resume_step == 10, "the first stands")
        monkeypatch.setattr(Storage, "write", full)
        cohort.report(recorder, range(11, 21))
        recorder.saved([0, 1], saved_at(20))
        cohort.report(recorder, range(21, 31))
        for row in (0, 1):
            recorder.ended(row, end(Leave.RELEASED, 30))
    assert {cohort.run(row).resume_step for row in (0, 1)} == {10}
    assert cohort.run().crashes == 0


def test_a_run_whose_weights_no_storage_takes_fails_and_says_so(
    cohort_on_sqlite: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = cohort_on_sqlite
    cohort.settings = cohort.settings.model_copy(update={"storage_patience_seconds": 0.5})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Storage, "write", full)
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 11))
        recorder.ended(0, end(Result.COMPLETED, 10, WEIGHTS))
        recorder.ended(1, end(Result.DIVERGED, 10))
    failed = cohort.run(0)
    assert (failed.status, failed.status_reason) == (RunStatus.FAILED, StatusReason.STORAGE_FAILED)
    assert "No space left" in (failed.status_detail or "")
    assert cohort.run(1).status_reason == StatusReason.DIVERGED


def test_an_engine_that_raises_splits_a_cohort_of_several(cohort_on_sqlite: Cohort) -> None:
    cohort = cohort_on_sqlite
    with cohort.recorded() as recorder:
        cohort.report(recorder, range(1, 11))
        raise ZeroDivisionError("somebody")
    for row in (0, 1):
        run = cohort.run(row)
        assert (run.status, run.status_reason, run.most_together) == (RunStatus.QUEUED, StatusReason.COHORT_SPLIT, 1)
        assert "ZeroDivisionError: somebody" in (run.status_detail or "")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), StatusReason.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), StatusReason.OUT_OF_MEMORY),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), StatusReason.OUT_OF_MEMORY),
        (ValueError("no such column"), StatusReason.ERROR),
    ],
)
def test_want_of_memory_is_told_from_other_errors(error: Exception, reason: StatusReason) -> None:
    assert reason_of(error) is reason


def test_a_block_that_reports_nothing_is_taken_for_hung_and_its_process_ended(cohort_on_sqlite: Cohort) -> None:
    cohort, ended = cohort_on_sqlite, threading.Event()
    recorder = Recorder(
        cohort.claim,
        cohort.database,
        cohort.client,
        Storage(cohort.settings.storage_url),
        cohort.settings,
        lambda: False,
        stall_seconds=1.0,
        end_process=ended.set,
    )
    with recorder:
        for _ in range(5):
            time.sleep(0.5)
            assert recorder.directives() == {}, "whoever asks is alive"
        assert ended.wait(timeout=10)
    assert {run.status_reason for run in runs_of(cohort.database, cohort.job_id)} == {StatusReason.COHORT_SPLIT}
    assert "hung" in (cohort.run().status_detail or "")
