"""Keys at the terminal and from Python, against the API itself; and which key a client sends to whom."""

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from descent import Client, DescentError, Refused
from descent.cli import app
from descent.local.state import State
from tests.descent.conftest import Answer, Service
from tests.servers import KEY


@pytest.fixture
def _there(lasting_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCENT_URL", lasting_url)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def done(*arguments: str) -> Result:
    told = run(*arguments)
    assert told.exit_code == 0, told.stderr
    return told


@pytest.mark.usefixtures("_there")
def test_a_key_is_printed_alone_so_that_it_can_be_piped(lasting_url: str) -> None:
    told = done("keys", "create", "ada", "--note", "laptop")
    key = told.stdout.strip()
    assert told.stdout.count("\n") == 1
    assert "It is not shown again" in told.stderr
    assert key not in told.stderr
    with Client(lasting_url, key=key) as ada:
        assert list(ada.jobs()) == []
        with pytest.raises(Refused, match='requires a key of scope "admin"'):
            ada.create_key("bob")


@pytest.mark.usefixtures("_there")
def test_keys_are_listed_without_secrets_rotated_and_revoked(lasting_url: str) -> None:
    first = json.loads(done("keys", "create", "rita", "--scope", "read", "--days", "30", "--json").stdout)
    listed = done("keys", "list", "--owner", "rita").stdout
    assert first["id"] in listed
    assert first["key"] not in listed
    assert "read" in listed
    rotated = json.loads(done("keys", "rotate", first["id"][:12], "--json").stdout)
    assert rotated["id"] == first["id"]
    assert rotated["key"] != first["key"]
    assert "opens nothing any more" in done("keys", "revoke", first["id"]).stdout
    assert "revoked" in done("keys", "list", "--owner", "rita").stdout
    with Client(lasting_url, key=rotated["key"]) as rita, pytest.raises(Refused, match="revoked"):
        next(rita.jobs())
    assert json.loads(done("keys", "list", "--owner", "nobody", "--json").stdout) == []
    assert "descent keys create" in done("keys", "list", "--owner", "nobody").stdout


@pytest.mark.usefixtures("_there")
def test_a_key_that_is_not_there_is_said_to_be_missing() -> None:
    told = run("keys", "revoke", "zzz")
    assert told.exit_code == 1
    assert "descent keys list" in told.stderr


@pytest.mark.usefixtures("_there")
def test_what_was_done_is_listed_for_one_job_and_for_all(lasting_url: str) -> None:
    with Client(lasting_url) as client:
        job = client.submit({"name": "watched", "dataset": "sine", "optimizer": "adam"})
        client.cancel(job)
        assert [event.action for event in client.events(job)] == ["cancelled", "submitted"]
    told = done("events", job.id).stdout
    assert [line.split()[3] for line in told.splitlines()[1:]] == ["cancelled", "submitted"]
    assert json.loads(done("events", "--limit", "1", "--json").stdout)[0]["subject_id"] == job.id


# ── which key is sent ────────────────────────────────────────────────────────────────────────────


def sent(service: Service, client: Client) -> str | None:
    service.on("GET", "/healthz", Answer(body={"status": "ok"}))
    client.health()
    return service.requests[-1].headers.get("authorization")


def test_the_key_of_the_call_goes_before_that_of_the_environment(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(service.url, key="mine") as client:
        assert sent(service, client) == "Bearer mine"
    with Client(service.url) as client:
        assert sent(service, client) == f"Bearer {KEY}"


def test_the_key_of_a_local_stack_is_sent_to_that_stack_alone(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DESCENT_KEY")
    monkeypatch.delenv("DESCENT_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    state = State.at(Path(".descent"))
    state.prepare()
    key = state.make_key()
    state.announce(service.url)
    with Client() as client:
        assert sent(service, client) == f"Bearer {key}"
    state.announce("http://127.0.0.1:1")
    with Client(service.url) as client:
        assert sent(service, client) is None


def test_the_key_of_a_stack_is_made_once_and_is_its_users_alone(tmp_path: Path) -> None:
    state = State.at(tmp_path / "state")
    state.prepare()
    before = os.umask(0)
    try:
        key = state.make_key()
    finally:
        os.umask(before)
    assert state.make_key() == key
    assert len(key) >= 32
    assert stat.S_IMODE(state.key_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "λ", "x" * 201, ""])
def test_what_cannot_be_a_key_is_not_sent(service: Service, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCENT_KEY", "")
    if key:
        with pytest.raises(DescentError, match="cannot be one") as told:
            Client(service.url, key=key)
        assert key not in str(told.value)
    else:
        with Client(service.url, key=key) as client:
            assert sent(service, client) is None
