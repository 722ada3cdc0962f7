"""One service for all pages, as `descent up` would have started it in the folder of each."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from descent import Client
from descent.local.state import State
from tests.docs.pages import REPOSITORY
from tests.docs.quick import forking_descent
from tests.docs.surroundings import typing_environment
from tests.journey.service import Service, running_service
from tests.servers import KEY, running_valkey

_NOT_LINKED = {".descent", ".env", ".venv", "build", "secrets"}
"""What is written by who follows a page, and so has to be its own."""


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    """The folder in which the service keeps everything."""
    state = State.at(tmp_path_factory.mktemp("service") / ".descent")
    state.prepare()
    return state


@pytest.fixture(scope="module")
def service(state: State, sqlite_template: Path) -> Iterator[Service]:
    """The service with a worker and a predictor, its key and its address where `descent` looks for them."""
    state.database.write_bytes(sqlite_template.read_bytes())
    state.key_file.write_text(KEY)
    storage = {"DESCENT_STORAGE_URL": str(state.storage)}
    with (
        running_valkey(state.redis) as valkey,
        running_service(state.folder, f"sqlite:///{state.database}", valkey, storage) as running,
    ):
        running.start_predictor()
        running.start_worker()
        state.announce(running.url)
        yield running


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The program that stands for `descent`."""
    with forking_descent(tmp_path_factory.mktemp("quick"), typing_environment()) as program:
        yield program


@pytest.fixture
def place(service: Service, state: State, quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a page can be followed: the repository's files, the service's folder, nobody's jobs."""
    for path in REPOSITORY.iterdir():
        if path.name not in _NOT_LINKED and not path.name.startswith(".git"):
            (tmp_path / path.name).symlink_to(path)
    _link_programs(tmp_path / ".venv", quick)
    (tmp_path / ".descent").symlink_to(state.folder)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DESCENT_")]:
        monkeypatch.delenv(name)
    _empty(service)
    return tmp_path


def _link_programs(folder: Path, quick: Path) -> None:
    """The environment that the tests run in, with a quicker `descent`."""
    (folder / "bin").mkdir(parents=True)
    for path in Path(sys.prefix).iterdir():
        if path.name != "bin":
            (folder / path.name).symlink_to(path)
    for path in (Path(sys.prefix) / "bin").iterdir():
        (folder / "bin" / path.name).symlink_to(quick if path.name == quick.name else path)
    activate = (folder / "bin" / "activate").read_text(encoding="utf-8")
    (folder / "bin" / "activate").unlink()
    (folder / "bin" / "activate").write_text(activate.replace(sys.prefix, str(folder)), encoding="utf-8")


def _empty(service: Service) -> None:
    with Client(service.url, key=KEY) as client:
        jobs = list(client.jobs())
        for job in jobs:
            if not job.is_terminal:
                client.cancel(job)
        for job in jobs:
            client.delete(client.wait(job))
        for dataset in list(client.datasets()):
            client.delete_dataset(dataset)
