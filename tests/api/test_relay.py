"""Idle workers are woken, lost runs return, and one relay of many does it."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from sqlalchemy import create_engine, select, text, update
from structlog.testing import capture_logs

from api.relay import Relay, Watch
from models import analysing, lifecycle, owner
from models.database import Database
from models.settings import Settings
from models.status import RunStatus, StatusReason
from models.tables import Run, Worker, now
from tests.models.outages import eventually, impatient, sql_away
from tests.models.transactions import claim, commit, runs_of, statuses, submit, the_run
from tests.servers import Valkey

LEASE_SECONDS = 1.0
TICK_SECONDS = 0.1


# ── heartbeats ───────────────────────────────────────────────────────────────────────────────────


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.moment = 1_000.0

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch[str]:
    return Watch[str](30, clock)


def test_a_heartbeat_is_still_once_it_has_not_moved_for_a_lease(watch: Watch[str], clock: Clock) -> None:
    assert watch.still({"a": 5}) == [], "whoever is new is alive"
    for seconds, still in ((29.9, []), (0.1, ["a"]), (100, ["a"])):
        clock.moment += seconds
        assert watch.still({"a": 5}) == still


def test_whatever_moves_is_alive(watch: Watch[str], clock: Clock) -> None:
    for count in (5, 6, 7, 0, 1):
        assert watch.still({"a": count}) == []
        clock.moment += 29
    assert watch.still({"a": 1}) == []
    clock.moment += 1
    assert watch.still({"a": 1}) == ["a"]
    assert watch.still({"a": 2}) == []


def test_each_heartbeat_is_watched_for_itself(watch: Watch[str], clock: Clock) -> None:
    watch.still({"a": 0, "b": 0})
    clock.moment += 15
    watch.still({"a": 0, "b": 1, "c": 0})
    clock.moment += 15
    assert watch.still({"a": 0, "b": 1, "c": 0}) == ["a"]
    clock.moment += 15
    assert watch.still({"a": 1, "b": 1, "c": 0}) == ["b", "c"]


def test_whoever_was_away_begins_anew(watch: Watch[str], clock: Clock) -> None:
    watch.still({"a": 0})
    clock.moment += 20
    assert watch.still({}) == []
    clock.moment += 20
    assert watch.still({"a": 0}) == []
    clock.moment += 30
    assert watch.still({"a": 0}) == ["a"]


# ── relays ───────────────────────────────────────────────────────────────────────────────────────

StartRelay = Callable[..., Relay]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.relay.TICK_SECONDS", TICK_SECONDS)


@pytest.fixture
def start_relay(settings: Settings) -> Iterator[StartRelay]:
    """Starts relays, each with connections of its own; where the lease is not given, nobody is ever taken for lost."""
    relays: list[tuple[Relay, Database]] = []

    def start(lease_seconds: float = 3_600) -> Relay:
        database = Database(settings.database())
        relay = Relay(database, settings.model_copy(update={"lease_seconds": lease_seconds}))
        relays.append((relay, database))
        relay.start()
        return relay

    yield start
    for relay, database in relays:
        relay.stop()
        database.dispose()


@pytest.fixture
def wake_ups(valkey: Valkey, settings: Settings) -> Iterator[Callable[[], dict[str, int]]]:
    """Counts the wake-ups in the broker, which is empty."""
    with redis.Redis.from_url(valkey.metrics_url(database=0)) as client:
        client.flushdb()
        yield lambda: {queue: int(client.llen(queue)) for queue in ("cpu", "gpu")}
        client.flushdb()


def arrive(database: Database, worker_id: str, device: str = "cpu", *, busy: bool = False) -> None:
    fields: dict[str, Any] = {"host": "here", "process_id": 1, "description": {}, "started_at": now(), "seen_at": now()}
    with database.write() as session:
        session.add(Worker(id=worker_id, device=device, busy=busy, **fields))


def workers(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(Worker.id)))


def a_few_ticks() -> None:
    time.sleep(3 * TICK_SECONDS)


def test_idle_workers_are_woken_for_runs_that_they_can_train(
    database: Database, start_relay: StartRelay, wake_ups: Callable[[], dict[str, int]]
) -> None:
    for number in range(3):
        arrive(database, f"cpu_{number}")
    arrive(database, "cpu_busy", busy=True)
    arrive(database, "gpu_1", "cuda")
    relay = start_relay()
    a_few_ticks()
    assert wake_ups() == {"cpu": 0, "gpu": 0}, "nothing waits"
    submit(database, device="cpu")
    relay.nudge()
    eventually(lambda: wake_ups()["cpu"] == 3, "each idle worker is woken")
    a_few_ticks()
    assert wake_ups() == {"cpu": 3, "gpu": 0}, "once, and only those that can train it"
    submit(database, device="auto")
    relay.nudge()
    eventually(lambda: wake_ups() == {"cpu": 3, "gpu": 1}, "any worker can train this one")


def test_nobody_is_woken_for_what_trains_already(
    database: Database, start_relay: StartRelay, wake_ups: Callable[[], dict[str, int]]
) -> None:
    arrive(database, "cpu_1")
    submit(database)
    claim(database)
    submit(database, device="cuda")
    start_relay()
    a_few_ticks()
    assert wake_ups() == {"cpu": 0, "gpu": 0}


def test_a_run_whose_heartbeat_stands_still_returns_to_the_queue(database: Database, start_relay: StartRelay) -> None:
    jobs = [submit(database, optimizer=optimizer) for optimizer in ("adam", "sgd", "adagrad", "rmsprop")]
    kept, lost, cancelled, hopeless = (claim(database) for _ in jobs)
    commit(database, owner.cancel, jobs[2])
    with database.write() as session:
        session.get_one(Run, hopeless.runs[0].id).crashes = lifecycle.MAX_CRASHES
    relay = start_relay(lease_seconds=LEASE_SECONDS)
    gone = {lost.runs[0].id: RunStatus.QUEUED, cancelled.runs[0].id: RunStatus.CANCELLED}
    gone[hopeless.runs[0].id] = RunStatus.FAILED

    def all_returned() -> bool:
        commit(database, lifecycle.renew, kept.cohort_id)
        return {run_id: the_run(database, run_id).status for run_id in gone} == gone

    eventually(all_returned, "lost runs return")
    assert statuses(database, jobs[0]) == [RunStatus.RUNNING], "a run that is renewed stays where it is"
    eventually(lambda: relay.lost_runs == 3, "it counts")
    returned, failed = the_run(database, lost.runs[0].id), the_run(database, hopeless.runs[0].id)
    assert (returned.crashes, returned.status_reason) == (1, StatusReason.WORKER_LOST)
    assert (failed.crashes, failed.status_reason) == (lifecycle.MAX_CRASHES + 1, StatusReason.WORKER_LOST)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_run_that_was_claimed_again_has_a_lease_of_its_own(database: Database, start_relay: StartRelay) -> None:
    lease_seconds = 0.4
    job_id = submit(database)
    claim(database)
    relay = start_relay(lease_seconds=lease_seconds)
    eventually(lambda: statuses(database, job_id) == [RunStatus.QUEUED], "it returns")
    claimed_at = time.monotonic()
    successor = claim(database, "worker_2").runs[0]
    eventually(lambda: statuses(database, job_id) == [RunStatus.QUEUED], "it returns again")
    assert time.monotonic() - claimed_at >= lease_seconds
    # It counts once the transaction that this test saw is over.
    eventually(lambda: relay.lost_runs == 2, "it counts")
    assert the_run(database, successor.id).crashes == 2


def test_a_worker_whose_heartbeat_stands_still_is_forgotten(database: Database, start_relay: StartRelay) -> None:
    arrive(database, "alive")
    arrive(database, "dead", busy=True)
    start_relay(lease_seconds=LEASE_SECONDS)

    def is_forgotten() -> bool:
        with database.write() as session:
            session.execute(update(Worker).where(Worker.id == "alive").values(heartbeat=Worker.heartbeat + 1))
        return "dead" not in workers(database)

    eventually(is_forgotten, "the dead worker is forgotten")
    assert workers(database) == {"alive"}


def test_workers_of_every_device_are_woken_for_an_analysis(
    database: Database, start_relay: StartRelay, wake_ups: Callable[[], dict[str, int]]
) -> None:
    job_id = submit(database)
    claim(database)
    arrive(database, "cpu_1")
    arrive(database, "gpu_1", "cuda")
    relay = start_relay()
    a_few_ticks()
    assert wake_ups() == {"cpu": 0, "gpu": 0}
    commit(database, analysing.ask, [run.id for run in runs_of(database, job_id)], {"kind": "hessian"}, 0)
    relay.nudge()
    eventually(lambda: wake_ups() == {"cpu": 1, "gpu": 1}, "whoever is idle is woken")


def test_the_analysis_of_a_worker_that_was_forgotten_returns(database: Database, start_relay: StartRelay) -> None:
    job_id = submit(database)
    claim(database)
    commit(database, analysing.ask, [run.id for run in runs_of(database, job_id)], {"kind": "hessian"}, 0)
    arrive(database, "dead", busy=True)
    held = commit(database, analysing.claim, "dead")
    assert held is not None
    assert commit(database, analysing.claim, "other") is None
    start_relay(lease_seconds=LEASE_SECONDS)
    eventually(lambda: commit(database, analysing.claim, "other") is not None, "another worker may have it")


def test_one_relay_leads_and_another_takes_over_when_it_stops(database: Database, start_relay: StartRelay) -> None:
    first = start_relay()
    eventually(lambda: first.is_leader, "the first one leads")
    second, third = start_relay(), start_relay()
    ends = time.monotonic() + 6 * TICK_SECONDS
    while time.monotonic() < ends:
        assert [relay.is_leader for relay in (first, second, third)] == [True, False, False]
        time.sleep(TICK_SECONDS / 4)
    first.stop()
    assert not first.is_leader
    eventually(lambda: second.is_leader or third.is_leader, "another one leads")
    assert not (second.is_leader and third.is_leader)


def test_a_relay_outlives_a_database_that_is_away(
    database: Database, settings: Settings, wake_ups: Callable[[], dict[str, int]]
) -> None:
    arrive(database, "cpu_1")
    with impatient(settings) as its_own:
        relay = Relay(its_own, settings)
        relay.start()
        eventually(lambda: relay.is_leader, "it leads")
        with sql_away(database), capture_logs() as logs:
            eventually(lambda: any(one["event"] == "relay.retrying" for one in logs), "it notices")
        submit(database)
        eventually(lambda: wake_ups()["cpu"] == 1, "it works again")
        relay.stop()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_leader_that_lost_its_session_leads_under_a_new_one(
    database: Database, settings: Settings, start_relay: StartRelay
) -> None:
    leader = start_relay()
    eventually(lambda: leader.is_leader, "it leads")
    engine = create_engine(settings.database(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        holder = text("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")
        process_id = connection.scalar(holder)
        assert connection.scalar(text(f"SELECT pg_terminate_backend({process_id})"))
        eventually(lambda: connection.scalar(holder) not in (None, process_id), "it holds the lock again")
        eventually(lambda: leader.is_leader, "it leads again")
    engine.dispose()
