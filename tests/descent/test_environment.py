import os
import socket
from pathlib import Path

import pytest

from descent import DescentError
from descent.local.environment import environment, free_port, is_free, listens
from descent.local.state import State


def test_a_short_path_keeps_the_socket_in_the_folder_and_a_long_one_does_not(tmp_path: Path) -> None:
    near = State.at(Path("/tmp/short"))
    far = State.at(tmp_path / ("deep/" * 30))
    assert near.folder in near.socket.parents
    assert far.folder not in far.socket.parents
    assert len(os.fsencode(far.socket)) < 104
    assert far.socket != State.at(tmp_path / ("other/" * 30)).socket


def test_no_program_is_given_a_key(tmp_path: Path) -> None:
    given = {"DESCENT_ADMIN_KEY": "a", "descent_key": "b", "DESCENT_BROKER_PASSWORD": "c"}
    found = environment(State.at(tmp_path), "", given)
    assert "DESCENT_ADMIN_KEY" not in found
    assert "descent_key" not in found
    assert found["DESCENT_BROKER_PASSWORD"] == "c"


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    given = {"DESCENT_DATABASE_URL": "postgresql+psycopg://db/x", "DESCENT_WORKER_THREADS": "7", "HOME": "/root"}
    found = environment(State.at(tmp_path), "secret", given)
    assert given.items() <= found.items()
    assert found["DESCENT_STORAGE_URL"] == str(tmp_path / "storage")
    assert found["DESCENT_BROKER_URL"] == f"redis+socket://:secret@{tmp_path}/redis/redis.sock?virtual_host=0"
    assert found["DESCENT_METRICS_URL"] == f"unix://:secret@{tmp_path}/redis/redis.sock?db=1"


def test_a_relative_path_means_what_it_meant_where_the_user_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"DESCENT_DATABASE_URL": "sqlite:///mine.sqlite3", "DESCENT_STORAGE_URL": "files"}
    found = environment(State.at(tmp_path / "state"), "", given)
    assert found["DESCENT_DATABASE_URL"] == f"sqlite:///{tmp_path}/mine.sqlite3"
    assert found["DESCENT_STORAGE_URL"] == f"{tmp_path}/files"
    remote = {"DESCENT_DATABASE_URL": "sqlite:///:memory:", "DESCENT_STORAGE_URL": "s3://bucket/prefix"}
    assert remote.items() <= environment(State.at(tmp_path), "", remote).items()


def test_a_taken_port_is_refused_with_a_free_one_to_take_instead() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(DescentError, match=rf"Port {port} is taken.*--port \d+"):
            free_port(port)
    assert free_port(port) == port


def test_port_zero_is_any_free_port() -> None:
    assert is_free(free_port(0))


def test_a_socket_listens_as_long_as_somebody_accepts(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert not listens(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert listens(path)
    assert path.exists()
    assert not listens(path)


def test_one_folder_holds_one_stack_and_says_where_it_answers(tmp_path: Path) -> None:
    state = State.at(tmp_path)
    state.prepare()
    with state.alone():
        with pytest.raises(DescentError, match="just starting"), State.at(tmp_path).alone():
            pass
        state.announce("http://127.0.0.1:8123")
        with pytest.raises(DescentError, match="at http://127\\.0\\.0\\.1:8123"), State.at(tmp_path).alone():
            pass
    with state.alone():
        pass


def test_the_lock_of_a_killed_stack_is_no_obstacle(tmp_path: Path) -> None:
    state = State.at(tmp_path)
    state.prepare()
    child = os.fork()
    if child == 0:
        with state.alone():
            os._exit(0)
    os.waitpid(child, 0)
    assert (state.folder / "lock").exists()
    with state.alone():
        pass
