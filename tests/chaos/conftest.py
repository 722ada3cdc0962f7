"""Installations to break, and what their jobs must come to."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from descent import Client
from tests.chaos.load import Members, references_for
from tests.chaos.stack import Stack, running_on, running_stack
from tests.servers import PostgresqlDatabases

StartStack = Callable[..., Stack]

SPEC: dict[str, Any] = {
    "dataset": "sine",
    "network": {"kind": "mlp", "hidden": [16, 16]},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "budget": {"steps": 60_000},
    "seeds": [3],
}
"""Some seconds of training: time enough for something to go wrong."""


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """An installation of its own kind: its database, how many workers, settings and what is broken about it."""
    with ExitStack() as running:

        def start(kind: str = "sqlite", workers: int = 1, settings: Mapping[str, str] | None = None) -> Stack:
            return running.enter_context(running_stack(tmp_path, kind, workers, settings))

        yield start


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    """Of database."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One installation with one worker, which tests break and leave mended."""
    folder: Path = tmp_path_factory.mktemp("stack")
    with _fresh_database(request, kind, folder) as url, running_on(url, folder, 1) as running:
        yield running


@pytest.fixture
def fresh_stack(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[StartStack]:
    """An installation for one test: how many workers, and its settings."""
    with ExitStack() as running:
        url = running.enter_context(_fresh_database(request, kind, tmp_path))

        def start(workers: int = 1, settings: Mapping[str, str] | None = None) -> Stack:
            return running.enter_context(running_on(url, tmp_path, workers, settings))

        yield start


@contextmanager
def _fresh_database(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[str]:
    """A fresh database of a kind, on the servers of the whole session."""
    if kind == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        (folder / "descent.sqlite3").write_bytes(template.read_bytes())
        yield f"sqlite:///{folder / 'descent.sqlite3'}"
    else:
        databases: PostgresqlDatabases = request.getfixturevalue("postgresql_databases")
        with databases.database() as url:
            yield url


@pytest.fixture(scope="session")
def peaceful(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """What the run of `SPEC` comes to, without any disturbance."""
    (found,) = references_for([SPEC], tmp_path_factory.mktemp("peace"))
    return found[3]


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, patience_seconds=60) as client:
        yield client
