import os
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import delete, select

from models.database import Database
from models.settings import Settings
from models.tables import Worker, now
from tests.models.outages import eventually, impatient, sql_away
from tests.models.transactions import commit
from worker.presence import Presence

SECONDS = 0.05


@pytest.fixture
def presence(database: Database) -> Iterator[Presence]:
    """A training process that has arrived."""
    presence = Presence(database, "cpu", {"threads": 2}, SECONDS)
    presence.arrive()
    yield presence
    presence.leave()


def rows(database: Database) -> list[Worker]:
    with database.read() as session:
        return list(session.scalars(select(Worker)))


def heartbeat(database: Database) -> int:
    return max((row.heartbeat for row in rows(database)), default=-1)


def test_a_process_that_arrives_says_what_it_is(database: Database) -> None:
    presence = Presence(database, "cuda", {"threads": 2}, 3_600)
    assert rows(database) == []
    before = now()
    presence.arrive()
    (row,) = rows(database)
    assert (row.id, row.device, row.description) == (presence.worker_id, "cuda", {"threads": 2})
    assert (row.process_id, row.heartbeat, row.busy) == (os.getpid(), 0, False)
    assert row.host
    assert row.started_at <= before <= row.seen_at <= now()
    presence.leave()
    assert rows(database) == []


def test_its_heart_beats_until_it_leaves_for_good(database: Database, presence: Presence) -> None:
    first = rows(database)[0].seen_at
    eventually(lambda: heartbeat(database) >= 3, "its heart beats")
    assert rows(database)[0].seen_at > first
    presence.leave()
    time.sleep(4 * SECONDS)
    assert rows(database) == []


def test_it_is_busy_from_the_transaction_that_says_so(database: Database, presence: Presence) -> None:
    with database.write() as session:
        presence.mark(session, busy=True)
        assert not rows(database)[0].busy
    assert rows(database)[0].busy
    commit(database, presence.mark, busy=False)
    assert not rows(database)[0].busy


def test_a_process_that_was_forgotten_comes_back_as_it_was(database: Database, presence: Presence) -> None:
    for busy in (True, False):
        commit(database, presence.mark, busy=busy)
        commit(database, lambda session: session.execute(delete(Worker)))
        eventually(lambda: rows(database), "it comes back")
        (row,) = rows(database)
        assert (row.id, row.device, row.description) == (presence.worker_id, "cpu", {"threads": 2})
        assert row.busy is busy
    eventually(lambda: heartbeat(database) > 1, "its heart beats again")


def test_two_processes_beat_for_themselves(database: Database, presence: Presence) -> None:
    other = Presence(database, "cpu", {}, 3_600)
    other.arrive()
    eventually(lambda: heartbeat(database) >= 2, "one heart beats")
    assert {row.id: row.heartbeat > 0 for row in rows(database)} == {presence.worker_id: True, other.worker_id: False}
    other.leave()
    assert [row.id for row in rows(database)] == [presence.worker_id]


def test_its_heart_goes_on_when_the_database_comes_back(database: Database, settings: Settings) -> None:
    with impatient(settings) as its_own:
        presence = Presence(its_own, "cpu", {}, SECONDS)
        presence.arrive()
        with sql_away(database):
            time.sleep(6 * SECONDS)
        before = heartbeat(database)
        eventually(lambda: heartbeat(database) > before, "its heart beats again")
        presence.leave()
