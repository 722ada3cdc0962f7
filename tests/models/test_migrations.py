"""The tables come from migrations alone, whoever starts first and however often."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import delete, inspect, make_url, select, text
from sqlalchemy.exc import IntegrityError

from models import lifecycle
from models.database import Database
from models.settings import settings
from models.spec.job import JobSpec
from models.storage_usage import StorageUsage, storage_usage
from models.tables import Dataset, Job, Run, Snapshot, Table
from tests.models.transactions import submit
from tests.servers import drop_postgresql_database, postgresql_url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty database, which the settings of this process name."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'folder' / 'descent.sqlite3'}"
    else:
        server: str = request.getfixturevalue("postgresql")
        url = postgresql_url(server, f"test_{uuid4().hex}")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{make_url(url).database}"')
    monkeypatch.setenv("DESCENT_DATABASE_URL", url)
    settings.cache_clear()
    yield url
    settings.cache_clear()
    if request.param == "postgresql":
        drop_postgresql_database(server, url)


@pytest.fixture
def alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", "migrations:")
    return config


def columns(url: str) -> dict[str, dict[str, bool]]:
    """Per table, its columns and whether each may be empty."""
    database = Database(make_url(url))
    found = inspect(database.engine)
    tables = {
        name: {column["name"]: bool(column["nullable"]) for column in found.get_columns(name)}
        for name in found.get_table_names()
        if name != "alembic_version"
    }
    database.dispose()
    return tables


EXPECTED = {
    table.name: {column.name: bool(column.nullable) for column in table.columns}
    for table in Table.metadata.sorted_tables
}


def test_an_empty_database_gets_every_table(url: str, alembic: Config) -> None:
    command.upgrade(alembic, "head")
    assert columns(url) == EXPECTED


def test_migrating_again_changes_nothing(url: str, alembic: Config) -> None:
    command.upgrade(alembic, "head")
    database = Database(make_url(url))
    job_id = submit(database)
    command.upgrade(alembic, "head")
    with database.read() as session:
        assert session.scalars(select(Job.id)).all() == [job_id]
    database.dispose()


def test_migrations_can_be_taken_back_and_made_again(url: str, alembic: Config) -> None:
    command.upgrade(alembic, "head")
    command.downgrade(alembic, "base")
    assert columns(url) == {}
    command.upgrade(alembic, "head")
    assert columns(url) == EXPECTED


def test_what_was_there_before_there_were_owners_is_the_admins_and_stays(url: str, alembic: Config) -> None:
    command.upgrade(alembic, "0005")
    database = Database(make_url(url))
    spec = JobSpec.model_validate({"dataset": "sine", "optimizer": "adam"}).model_dump_json()
    rows = {
        "datasets": "'dataset_1', 'mine', 'csv', '', '{}', 1, 1, '{}', '{}', '2026-01-01'",
        "jobs": f"'job_1', '', '', '[]', '', 0, '{spec}', 'hash', '2026-01-01', 1, 'dataset_1'",
        "runs": "'run_1', 'job_1', 0, 0, 'cpu', 0, 'key', 'queued', 0, 0, 0, '2026-01-01', 0, 100",
        "snapshots": "'run_1', 1, '{}'",
    }
    columns = {
        "datasets": "id, name, format, sha256, options, size, rows, description, preview, created_at",
        "jobs": "id, name, experiment, tags, notes, priority, spec, spec_hash, created_at, version, dataset_id",
        "runs": "id, job_id, position, seed, device, priority, cohort_key, status, attempt, crashes, heartbeat, "
        "queued_at, step, total_steps",
        "snapshots": "run_id, step, content",
    }
    with database.write() as session:
        for table, values in rows.items():
            session.execute(text(f"INSERT INTO {table} ({columns[table]}) VALUES ({values})".replace(":", r"\:")))
    command.upgrade(alembic, "head")
    with database.of("admin").read() as session:
        assert session.get_one(Job, "job_1").dataset_id == session.get_one(Dataset, "dataset_1").id
        assert session.get_one(Run, "run_1").owner == "admin"
        assert session.get(Snapshot, ("run_1", 1)) is not None
    with database.of("ada").read() as session:
        assert session.get(Job, "job_1") is None
    with database.write() as session:
        found = lifecycle.claim(session, "worker_1", "cpu", lambda _: 1)
        assert found is not None, "it is still trained"
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(delete(Dataset))
    command.downgrade(alembic, "0005")
    with database.read() as session:
        assert session.execute(text("SELECT dataset_id FROM jobs")).all() == [("dataset_1",)]
    database.dispose()


def test_files_that_were_stored_before_there_was_a_quota_for_them_count_towards_it(url: str, alembic: Config) -> None:
    command.upgrade(alembic, "0006")
    database = Database(make_url(url))
    description = '{"sizes": {"rows.npy": 3000000000, "targets.npy": 5}}'
    day, digest = "'2026-01-01'", f"'{'0' * 64}'"
    dataset = f"'ada', 'csv', {digest}, '{{}}', 1, 1, '{{}}', {day}"
    checkpoint = f"1, 7, {digest}, 'key', {day}"
    columns = {
        "datasets": "owner, format, sha256, options, size, rows, preview, created_at, id, name, description",
        "jobs": "owner, id, name, experiment, tags, notes, priority, spec, spec_hash, created_at, version",
        "runs": "owner, id, job_id, position, seed, device, priority, cohort_key, status, attempt, crashes, heartbeat, "
        "queued_at, step, total_steps",
        "artifacts": "id, run_id, name, media_type, size, sha256, storage_key, created_at",
        "checkpoints": "id, step, size, sha256, storage_key, created_at",
        "checkpoint_rows": 'run_id, checkpoint_id, "row"',
    }
    rows = (
        ("datasets", f"{dataset}, 'dataset_1', 'one', '{description}'"),
        ("datasets", f"{dataset}, 'dataset_2', 'other', '{{}}'"),
        ("jobs", f"'ada', 'job_1', '', '', '[]', '', 0, '{{}}', {digest}, {day}, 1"),
        ("runs", f"'ada', 'run_1', 'job_1', 0, 0, 'cpu', 0, 'key', 'running', 0, 0, 0, {day}, 0, 100"),
        ("artifacts", f"'artifact_1', 'run_1', 'weights', '', 9, {digest}, 'key', {day}"),
        ("checkpoints", f"'checkpoint_1', {checkpoint}"),
        ("checkpoints", f"'checkpoint_2', {checkpoint}"),
        ("checkpoint_rows", "'run_1', 'checkpoint_1', 0"),
    )
    with database.write() as session:
        for table, values in rows:
            session.execute(text(f"INSERT INTO {table} ({columns[table]}) VALUES ({values})".replace(":", r"\:")))
    command.upgrade(alembic, "head")
    with database.read() as session:
        assert storage_usage(session, "ada") == StorageUsage(3_000_000_005, artifacts=9, checkpoints=7, expected=0)
    command.downgrade(alembic, "0006")
    command.upgrade(alembic, "head")
    with database.read() as session:
        assert storage_usage(session, "ada").stored == 3_000_000_021
    database.dispose()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_the_tables_in_code_are_those_of_the_migrations(url: str, alembic: Config) -> None:
    command.upgrade(alembic, "head")
    command.check(alembic)


STARTER = """
import models.tables
from migrations.__main__ import main

print("ready", flush=True)
input()
main()
"""


def test_three_starters_at_once_are_as_good_as_one(url: str) -> None:
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"DESCENT_DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    said = [starter.communicate(timeout=60)[0] for starter in starters]
    assert [starter.returncode for starter in starters] == [0, 0, 0], said
    assert columns(url) == EXPECTED
