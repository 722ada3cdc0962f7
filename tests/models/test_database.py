import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from models.database import Database, wal_is_safe
from models.tables import Cohort, Job, Run, Sweep, new_id, now
from tests.models.transactions import commit, runs_of, submit

ON_SQLITE = pytest.mark.parametrize("lasting_database", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("lasting_database", ["postgresql"], indirect=True)


def sweep(sweep_id: str = "sweep_1", name: str = "") -> Sweep:
    return Sweep(id=sweep_id, owner="ada", name=name, base={}, grid={}, created_at=now())


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Sweep.name).order_by(Sweep.id)))


def test_a_block_that_ends_well_is_kept(database: Database) -> None:
    with database.write() as session:
        session.add(sweep(name="kept"))
        assert names(database) == [], "nobody else sees it before, and nobody has to wait"
    assert names(database) == ["kept"]


def test_a_block_that_raises_leaves_no_trace(database: Database) -> None:
    def go_wrong(session: Session) -> None:
        session.add(sweep())
        session.flush()
        raise KeyError

    with pytest.raises(KeyError):
        commit(database, go_wrong)
    assert names(database) == []
    with database.write() as session:
        session.add(sweep())
    assert names(database) == [""]


def test_what_is_done_while_looking_is_not_kept(database: Database) -> None:
    with database.read() as session:
        session.add(sweep())
        session.flush()
    assert names(database) == []


def test_what_was_found_can_be_used_after_the_block(database: Database) -> None:
    with database.write() as session:
        session.add(written := sweep(name="a"))
    with database.read() as session:
        found = session.get_one(Sweep, "sweep_1")
    assert (written.name, found.name) == ("a", "a")


def test_one_reader_sees_one_moment_after_another(database: Database) -> None:
    with database.read() as session:
        assert session.scalars(select(Sweep.id)).all() == []
    with database.write() as session:
        session.add(sweep())
    with database.read() as session:
        assert session.scalars(select(Sweep.id)).all() == ["sweep_1"]


def test_a_row_that_belongs_to_nothing_is_refused(database: Database) -> None:
    job_id = submit(database)
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(update(Run).values(cohort_id="cohort_of_nobody"))
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(update(Job).values(sweep_id="sweep_of_nobody"))
    assert runs_of(database, job_id)[0].cohort_id is None


TEXT = "θ ← θ − η g · 试验 🧪 \" ' \\ % :name\n"


def test_text_of_every_script_comes_back_as_it_was(database: Database) -> None:
    with database.write() as session:
        session.add(
            Sweep(id="sweep_1", owner="ada", name=TEXT, base={TEXT: [TEXT, 0.1, None]}, grid={}, created_at=now())
        )
    with database.read() as session:
        found = session.get_one(Sweep, "sweep_1")
        assert (found.name, found.base) == (TEXT, {TEXT: [TEXT, 0.1, None]})


def test_moments_come_back_aware_and_in_utc(database: Database) -> None:
    noon = datetime(2026, 7, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    with database.write() as session:
        session.add(Cohort(id="cohort_1", worker_id="worker_1", size=1, created_at=noon))
    with database.read() as session:
        found = session.get_one(Cohort, "cohort_1").created_at
        assert (found, found.utcoffset()) == (noon, timedelta(0))


def test_identifiers_are_unique_and_sort_by_birth() -> None:
    older = new_id("run")
    time.sleep(0.005)
    younger = [new_id("run") for _ in range(1_000)]
    assert len(set(younger)) == 1_000
    assert all(older < one and one.startswith("run_") and len(one) <= 40 for one in younger)


# ── at once ──────────────────────────────────────────────────────────────────────────────────────


@ON_SQLITE
def test_writers_at_once_wait_for_one_another(database: Database) -> None:
    with database.write() as session:
        session.add(Cohort(id="cohort_1", worker_id="worker_1", size=0, created_at=now()))

    def count_to_fifty() -> None:
        for _ in range(50):
            with database.write() as session:
                session.get_one(Cohort, "cohort_1").size += 1

    in_threads(count_to_fifty, 3)
    with database.read() as session:
        assert session.get_one(Cohort, "cohort_1").size == 150


def in_threads(act: Callable[[], None], count: int) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@ON_POSTGRESQL
def test_a_lock_that_is_not_given_ends_in_an_error(database: Database) -> None:
    with database.write() as session:
        session.add(sweep())
    with database.write() as holder:
        holder.execute(update(Sweep).values(name="mine"))
        began = time.monotonic()

        def wait_for_the_lock(session: Session) -> None:
            # So that this test ends even where the lock has no limit.
            session.execute(text("SET LOCAL statement_timeout = '4s'"))
            session.execute(update(Sweep).values(name="yours"))

        with pytest.raises(OperationalError, match="lock timeout"):
            commit(database, wait_for_the_lock)
        assert 1 < time.monotonic() - began < 5
    assert names(database) == ["mine"]


@ON_POSTGRESQL
def test_postgresql_ends_what_takes_too_long_or_idles_in_a_transaction(database: Database) -> None:
    with database.read() as session:
        limits = {
            name: session.scalar(text(f"SHOW {name}"))
            for name in ("statement_timeout", "idle_in_transaction_session_timeout")
        }
    assert limits == {"statement_timeout": "5s", "idle_in_transaction_session_timeout": "10s"}


@ON_POSTGRESQL
def test_connections_that_the_server_closed_are_replaced(database: Database) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    killer = create_engine(database.engine.url)
    with killer.connect() as connection:
        closed = connection.execute(text(f"{others} AND pid <> pg_backend_pid()")).all()
    killer.dispose()
    assert closed
    assert names(database) == []


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_write_ahead_logging_is_for_a_sqlite_that_does_not_lose_commits(
    version: tuple[int, int, int], safe: bool
) -> None:
    assert wal_is_safe(version) is safe


def test_a_sqlite_file_is_made_with_its_folders_and_journals_as_its_version_allows(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "descent.sqlite3"
    database = Database(make_url(f"sqlite:///{path}"))
    with database.read() as session:
        journal, synchronous = (session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous"))
    database.dispose()
    assert path.exists()
    assert path.parent.stat().st_mode & 0o077 == 0
    assert (journal, synchronous) == (("wal", 1) if wal_is_safe() else ("truncate", 2))
