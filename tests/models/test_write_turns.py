import threading

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from models.database import Database
from models.write_turns import WriteTurns
from tests.models.outages import eventually


def waiting(turns: WriteTurns) -> int:
    return sum(len(writers) for writers in turns._waiting.values())


def test_owners_take_turns_however_many_writers_one_of_them_has(sqlite_url: str) -> None:
    database = Database(make_url(sqlite_url))
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


@pytest.mark.parametrize("timeout", [0.05, 0.0])
def test_a_write_that_cannot_begin_in_time_fails_like_one_that_sqlite_refused(sqlite_url: str, timeout: float) -> None:
    database = Database(make_url(sqlite_url), lock_seconds=timeout)
    with database.write(), pytest.raises(OperationalError, match="locked"), database.write():
        pass
    with database.write() as session:
        session.execute(text("SELECT 1"))
    database.dispose()
