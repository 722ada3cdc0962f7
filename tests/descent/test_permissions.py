"""Access of other users of the machine to the files of a local stack."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from descent import DescentError
from descent.local import stack
from descent.local.state import State


def test_the_folders_are_closed_to_others(tmp_path: Path) -> None:
    state = State.at(tmp_path / "state")
    state.prepare()
    assert state.folder.stat().st_mode & 0o077 == 0
    assert state.socket.parent.stat().st_mode & 0o077 == 0


def test_folders_and_files_that_were_open_to_other_users_are_closed(tmp_path: Path) -> None:
    state = State.at(tmp_path / "state")
    append_only = state.redis / "appendonlydir"
    append_only.mkdir(parents=True)
    state.storage.mkdir()
    files = [
        state.database,
        *(state.folder / f"descent.sqlite3{end}" for end in ("-wal", "-shm")),
        state.log,
        state.key_file,
        state.folder / "stack.json",
        state.startup_log,
        append_only / "appendonly.aof",
    ]
    for path in files:
        path.touch()
    for path in (state.folder, *state.folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    notes = state.folder / "notes.txt"
    notes.touch()
    notes.chmod(0o644)
    state.prepare()
    closed = [state.folder, state.storage, state.redis, append_only, *files]
    assert {path: oct(path.stat().st_mode & 0o777) for path in closed if path.stat().st_mode & 0o077} == {}
    assert notes.stat().st_mode & 0o777 == 0o644
    assert state.is_private


def test_a_folder_with_files_of_others_is_not_closed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    project.chmod(0o755)
    (project / "notes.txt").touch()
    with pytest.raises(DescentError, match=r"project is open to other users.*--state.*chmod 700"):
        State.at(project).prepare()
    assert project.stat().st_mode & 0o777 == 0o755
    project.chmod(0o700)
    State.at(project).prepare()


def test_a_sticky_folder_is_not_closed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(DescentError, match="shared is open to other users"):
        State.at(shared).prepare()
    assert shared.stat().st_mode & 0o7777 == 0o1777
    State.at(shared / "state").prepare()


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(DescentError, match=r"belongs to another user.*--state"):
        State.at(tmp_path).prepare()
    with pytest.raises(DescentError, match=r"belongs to another user.*--state"):
        State.at(tmp_path / ("deep/" * 30)).prepare()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("name", ["", "key", "descent.sqlite3", "lock", "redis"])
def test_a_link_or_a_file_of_another_user_is_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    state = State.at(tmp_path / "state")
    if name:
        state.folder.mkdir(mode=0o700)
    planted = state.folder / name
    planted.symlink_to(target)
    os.chown(planted, 12345, 12345, follow_symlinks=False)
    with pytest.raises(DescentError, match=rf"{planted.name} belongs to another user"):
        state.prepare()
    planted.unlink()
    planted.symlink_to(target)
    os.chown(target, 12345, 12345)
    with pytest.raises(DescentError, match=rf"{planted.name} belongs to another user"):
        state.prepare()


def test_a_file_system_without_permissions_is_accepted_and_recognized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    state = State.at(tmp_path / "state")
    state.folder.mkdir()
    os.chmod(state.folder, 0o777)
    for chmod in (refuse, lambda *_, **__: None):
        monkeypatch.setattr(Path, "chmod", chmod)
        state.prepare()
        assert not state.is_private


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DescentError, match="file cannot be created: File exists"):
        State.at(tmp_path / "file").prepare()


@pytest.mark.parametrize("url", ["http://evil.example", "http://127.0.0.1:8000@evil.example", "http://127.0.0.1:1/x"])
def test_an_announced_address_is_ignored_unless_it_is_one_of_a_local_stack(tmp_path: Path, url: str) -> None:
    state = State.at(tmp_path)
    state.announce(url)
    assert state.url is None


def test_an_address_is_ignored_in_a_folder_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State.at(tmp_path)
    state.announce("http://127.0.0.1:8123")
    assert state.url == "http://127.0.0.1:8123"
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    assert state.url is None


def test_the_user_is_warned_of_a_file_system_without_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "chmod", lambda *_, **__: None)
    monkeypatch.setattr(stack.Stack, "run", lambda _: None)
    folder = tmp_path / "state"
    folder.mkdir()
    os.chmod(folder, 0o777)
    output = io.StringIO()
    options = stack.Options(state=folder, port=0, processes=1, threads=None)
    stack.run_stack(options, Console(file=output))
    assert f"Warning: other users may read {folder}" in output.getvalue()


def test_an_announcement_replaces_a_link_without_following_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("unchanged")
    state = State.at(tmp_path / "state")
    state.prepare()
    (state.folder / "stack.new").symlink_to(victim)
    state.announce("http://127.0.0.1:8123")
    assert victim.read_text() == "unchanged"
    assert (state.folder / "stack.json").stat().st_mode & 0o077 == 0
