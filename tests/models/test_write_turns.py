import signal
import threading
import time
from typing import NoReturn

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from models.database import Database
from models.write_turns import WriteTurns
from tests.models.outages import eventually


def waiting(turns: WriteTurns) -> int:
    return sum(len(writers) for writers in turns._waiting.values())


def test_owners_take_turns_however_many_writers_one_of_them_has(sqlite_database_url: str) -> None:
    database = Database(make_url(sqlite_database_url))
    served: list[str] = []

    def write(owner: str) -> None:
        with database.of(owner).write():
            served.append(owner)

    threads = []
    with database.write():
        for owner in "aaabcb":
            threads.append(threading.Thread(target=write, args=(owner,)))
            threads[-1].start()
            eventually(lambda: waiting(database._turns) == len(threads), f"the writer of {owner} waits")
    for thread in threads:
        thread.join()
    database.dispose()
    assert served == ["a", "b", "c", "a", "b", "a"]


def test_a_timeout_removes_only_the_writer_that_timed_out() -> None:
    turns = WriteTurns()
    assert turns.acquire("a", 0)
    assert not turns.acquire("b", 0.01)
    assert waiting(turns) == 0
    turns.release()
    assert turns.acquire("c", 0)


def test_a_writer_that_is_interrupted_loses_its_place_and_nothing_else() -> None:
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    turns = WriteTurns()
    assert turns.acquire("a", 0)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            turns.acquire("b", 10)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert waiting(turns) == 0
    turns.release()
    assert turns.acquire("c", 0)


@pytest.mark.parametrize("timeout", [0.05, 0.0])
def test_a_write_that_cannot_begin_in_time_fails_like_one_that_sqlite_refused(
    sqlite_database_url: str, timeout: float
) -> None:
    database = Database(make_url(sqlite_database_url), lock_seconds=timeout)
    with database.write(), pytest.raises(OperationalError, match="locked"), database.write():
        pass
    with database.write() as session:
        session.execute(text("SELECT 1"))
    database.dispose()


def test_a_commit_waits_for_readers_in_full_however_long_the_turn_took(sqlite_database_url: str) -> None:
    database = Database(make_url(sqlite_database_url), lock_seconds=3.0)
    query, write = text("SELECT count(*) FROM sweeps"), text("UPDATE sweeps SET name = 'x'")

    def read_for_a_while() -> None:
        with database.read() as session:
            session.execute(query)
            is_reading.set()
            time.sleep(1.0)

    is_reading = threading.Event()
    reader = threading.Thread(target=read_for_a_while)
    holder = threading.Timer(2.5, database._turns.release)
    assert database._turns.acquire("holder", 0)
    holder.start()
    with database.write() as session:
        session.execute(write)
        reader.start()
        assert is_reading.wait(10)
    reader.join()
    holder.join()
    database.dispose()
