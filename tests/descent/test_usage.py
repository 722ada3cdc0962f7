"""What an owner uses of the quotas, from Python and at the terminal."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from descent import Client
from descent.cli import app
from models.answers import StoredBytes
from tests.descent.conftest import Answer, Service

USAGE: dict[str, Any] = {
    "owner": "ada",
    "stored_bytes": {"datasets": 152_000_000, "artifacts": 1_200_000_000, "checkpoints": 0, "total": 1_352_000_000},
    "expected_bytes": 648_000_000,
    "max_stored_bytes": 20_000_000_000,
    "queued_runs": 1_200,
    "max_queued_runs": 20_000,
    "running_runs": 100,
    "max_running_runs": 10_000,
}


def lines(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, ["usage", *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


@pytest.fixture
def _answered(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCENT_URL", service.url)
    monkeypatch.setenv("COLUMNS", "80")
    service.on("GET", "/v1/usage", Answer(body=USAGE))


@pytest.mark.usefixtures("_answered")
def test_the_table_has_a_line_for_each_use_and_its_limit() -> None:
    printed = lines()
    assert max(map(len, printed)) <= 80
    assert [line.split() for line in printed] == [
        ["ada", "used", "limit"],
        ["data", "sets", "152.0", "MB"],
        ["artifacts", "1.2", "GB"],
        ["checkpoints", "0", "bytes"],
        ["expected", "of", "unfinished", "runs", "648.0", "MB"],
        ["storage", "2.0", "GB", "20.0", "GB"],
        ["queued", "runs", "1,200", "20,000"],
        ["running", "runs", "100", "10,000"],
    ]


def test_the_longest_name_of_an_owner_leaves_the_table_within_80_columns(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESCENT_URL", service.url)
    monkeypatch.setenv("COLUMNS", "80")
    service.on("GET", "/v1/usage", Answer(body=USAGE | {"owner": "a" * 64}))
    printed = lines("--owner", "a" * 64)
    assert service.requests[-1].parameters == [("owner", "a" * 64)]
    assert max(map(len, printed)) <= 80
    assert printed[5].split()[-2:] == ["20.0", "GB"]


@pytest.mark.usefixtures("_answered")
def test_as_json_it_is_the_answer_of_the_service() -> None:
    assert json.loads("\n".join(lines("--json"))) == USAGE


def test_a_client_asks_for_its_own_owner_or_as_admin_for_another(at_the_api: Client) -> None:
    key = at_the_api.create_key("usage.reader", scope="read").key
    with Client(at_the_api.url, key=key) as reader:
        own = reader.usage()
    assert own == at_the_api.usage("usage.reader")
    assert own.stored_bytes == StoredBytes(datasets=0, artifacts=0, checkpoints=0, total=0)
    assert own.max_stored_bytes is not None
    assert at_the_api.usage().max_stored_bytes is None
