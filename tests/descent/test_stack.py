"""`descent up` as a process: real server, migrations and Celery, with an API and a worker that do nothing."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from descent import Client
from descent.local.environment import listens
from descent.local.redis_server import find_server
from descent.local.state import State

REPOSITORY = Path(__file__).parents[2]
API = """
import json
from types import SimpleNamespace

MOMENT = "2026-01-01T00:00:00Z"
WORKER = {"id": "worker_1", "host": "here", "process_id": 1, "device": "cpu", "busy": False, "description": {},
          "started_at": MOMENT, "seen_at": MOMENT}
ANSWERS = {
    "/readyz": {"ready": True, "database": True, "broker": True, "metrics": True},
    "/v1/workers": {"data": [WORKER], "has_more": False, "next_after": None},
}

def create_app(settings):
    app.state = SimpleNamespace(service=SimpleNamespace(histories=SimpleNamespace()))
    return app

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(ANSWERS[scope["path"]]).encode()})
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose api and worker stand in for the real ones, and a user's project beside it."""
    for name, module, content in (
        ("api", "app", API),
        ("worker", "tasks", "from models.queue import app\n"),
    ):
        folder = tmp_path / "house" / name
        folder.mkdir(parents=True)
        # The other modules are those of this repository, whichever one the environment has installed.
        (folder / "__init__.py").write_text(f"__path__.append({str(REPOSITORY / name)!r})")
        (folder / f"{module}.py").write_text(content)
    # People who train networks have folders of these names; none may be taken for Descent's.
    for name in ("models", "worker", "api", "celery"):
        folder = tmp_path / "project" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('this is the user\\'s own')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path / "house"), str(REPOSITORY))))
    monkeypatch.chdir(tmp_path / "project")
    for variable in [name for name in os.environ if name.startswith("DESCENT_")]:
        monkeypatch.delenv(variable)
    return tmp_path / "house"


def up(*options: str) -> list[str]:
    # The installed command does not look for modules in the current folder, as `python -m` would.
    return [sys.executable, "-P", "-m", "descent", "up", "--port", "0", "--processes", "1", *options]


@pytest.fixture
def stack(house: Path) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(up("--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        if process.poll() is None:
            process.kill()


def announcement(stack: "subprocess.Popen[str]") -> dict[str, Any]:
    """What the stack says once it is ready."""
    assert stack.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = stack.stdout.readline()
        assert line, stack.stderr.read() if stack.stderr else ""
        text += line
    told: dict[str, Any] = json.loads(text)
    return told


def family(process_id: int) -> dict[int, str]:
    """The command lines of a process's descendants, by process id."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found = [process_id]
    for ancestor in found:
        found += [child for child, parent in parents.items() if parent == ancestor]
    return {child: Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in found[1:]}


def environments(process_id: int) -> dict[str, dict[str, str]]:
    """The environments with which a process's descendants were started, by process id and command line."""
    return {
        f"{child} {command}": variables(Path(f"/proc/{child}/environ").read_text())
        for child, command in family(process_id).items()
    }


def variables(text: str) -> dict[str, str]:
    """Parse an environment as the kernel shows it."""
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


@contextmanager
def running(output: int | IO[str], *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A stack that has announced its address, and ends with the block."""
    state = State.at(Path(".descent"))
    with subprocess.Popen(up(*options), stdout=output, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 60
        while state.url is None:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def gone(process_ids: dict[int, str]) -> bool:
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{process_id}").exists() for process_id in process_ids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_stack_starts_answers_keeps_others_out_and_leaves_nothing_behind(stack: "subprocess.Popen[str]") -> None:
    told = announcement(stack)
    state = State.at(Path(".descent"))
    assert state.url == told["url"]
    with Client() as client:
        assert client.url == told["url"]
        assert client.readiness().ready
    children = family(stack.pid)
    for part in ("server", "-m api", "celery"):
        assert any(part in command for command in children.values())
    assert state.key is not None
    assert state.key_file.stat().st_mode & 0o777 == 0o600
    assert told["key_file"] == str(state.key_file)
    assert not any(state.key in command for command in children.values())
    password = next(line for line in (state.redis / "redis.conf").read_text().splitlines() if "requirepass" in line)
    assert not any(password.split()[1] in command for command in children.values())

    second = subprocess.run(up(), capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"at {told['url']}" in second.stderr

    stack.send_signal(signal.SIGTERM)
    assert stack.wait(60) == 0
    assert gone(children)
    assert state.url is None
    assert state.log.exists()


@pytest.mark.slow
def test_a_stack_that_is_killed_takes_its_programs_along_and_can_be_started_again(
    stack: "subprocess.Popen[str]",
) -> None:
    announcement(stack)
    children = family(stack.pid)
    stack.kill()
    stack.wait()
    with subprocess.Popen(up("--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as again:
        announcement(again)
        again.send_signal(signal.SIGINT)
        assert again.wait(60) == 0
    assert gone(children)
    assert not listens(State.at(Path(".descent")).socket)


def test_what_cannot_start_is_told_with_its_last_words(house: Path) -> None:
    (house / "api" / "app.py").write_text("raise SystemExit('the license has expired')")
    told = subprocess.run(up(), capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "The api ended at its start" in told.stderr
    assert "the license has expired" in told.stderr
    assert "Traceback" not in told.stderr
    assert not listens(State.at(Path(".descent")).socket)


def test_files_of_a_stack_are_private_and_only_the_key_file_contains_the_key(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any output for a terminal
    state = State.at(Path(".descent"))
    state.folder.mkdir(mode=0o755)
    state.storage.mkdir(mode=0o755)
    for path in (state.database, state.key_file, state.log):
        path.touch(mode=0o644)
    output = Path("output.txt")
    with output.open("w") as file, running(file, "--quiet"):
        # While the database is in use, its -wal and -shm files or its -journal exist.
        modes = {path: path.lstat().st_mode & 0o777 for path in (state.folder, *state.folder.rglob("*"))}
    assert {state.database, state.key_file, state.log, state.redis / "redis.conf", state.storage} <= set(modes)
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}

    key = state.key
    assert key is not None
    assert "Descent is ready" in output.read_text()
    assert str(state.key_file) in output.read_text()
    files = [output, *(path for path in state.folder.rglob("*") if path.is_file() and path != state.key_file)]
    assert [path for path in files if key.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_a_terminal_shows_the_link_with_the_key(house: Path) -> None:
    state = State.at(Path(".descent"))
    terminal, output = pty.openpty()
    try:
        with running(output):
            os.close(output)
            text = ""
            while "Ctrl-C stops" not in text:
                text += os.read(terminal, 4096).decode()
            assert f"{state.url}/#key={state.key}" in text
    finally:
        os.close(terminal)


def test_only_the_api_receives_the_admin_key_and_redis_no_setting_at_all(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The migrations end before they can be looked at, and the server overwrites what the kernel shows of it.
    migrations = house / "migrations"
    migrations.mkdir()
    (migrations / "__init__.py").touch()
    copy = "open('/proc/self/environ').read()"
    (migrations / "__main__.py").write_text(f"open({str(tmp_path / 'migrations')!r}, 'w').write({copy})")
    server = tmp_path / "bin" / "redis-server"
    server.parent.mkdir()
    server.write_text(f"#!/bin/sh\ncat /proc/self/environ > '{tmp_path}/redis'\nexec '{find_server()}' \"$@\"\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(server.parent), prepend=os.pathsep)
    secrets = {
        "DESCENT_ADMIN_KEY": "the-key-of-the-admins-0123456789-abcdef",
        "DESCENT_KEY": "the-key-of-the-client-0123456789-abcdef",
        "DESCENT_DATABASE_PASSWORD": "the-password-of-the-database",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    with running(subprocess.DEVNULL) as process:
        seen = environments(process.pid)
    seen = {command: environment for command, environment in seen.items() if "server" not in command}
    seen["migrations"] = variables((tmp_path / "migrations").read_text())
    password = secrets["DESCENT_DATABASE_PASSWORD"]
    for program in ("-m api", "worker.tasks", "worker.predicting", "migrations"):
        received = [environment for command, environment in seen.items() if program in command]
        assert received
        assert all(environment["DESCENT_DATABASE_PASSWORD"] == password for environment in received)
    for command, environment in seen.items():
        keys = {name for name in environment if name in ("DESCENT_ADMIN_KEY", "DESCENT_KEY")}
        assert keys == ({"DESCENT_ADMIN_KEY"} if "-m api" in command else set()), command
    redis = variables((tmp_path / "redis").read_text())
    assert "PATH" in redis
    assert [name for name in redis if name.startswith("DESCENT_")] == []
