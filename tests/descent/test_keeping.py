"""What housekeeping would remove, and has removed, is told at the terminal."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from descent import Client
from descent.cli import app
from tests.descent.conftest import Answer, Service

REPORT: dict[str, Any] = {
    "dry_run": True,
    "checkpoints": {"count": 3, "bytes": 4_200_000},
    "histories": {"count": 0, "bytes": 0},
    "artifacts": {"count": 1_200, "bytes": 999},
    "orphans": {"count": 1, "bytes": 5},
    "orphan_keys": ["runs/run_0/1/weights.safetensors"],
    "damaged": ["checkpoints/cohort_1/50.safetensors"],
}


@pytest.fixture(autouse=True)
def _its_address(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCENT_URL", service.url)
    monkeypatch.setenv("COLUMNS", "200")


def lines(*arguments: str) -> list[str]:
    told = CliRunner().invoke(app, ["gc", *arguments])
    assert told.exit_code == 0, told.stderr
    return [line.strip() for line in told.stdout.splitlines()]


def test_a_dry_run_says_what_would_go_and_that_nothing_went(service: Service) -> None:
    service.on("POST", "/v1/housekeeping", Answer(body=REPORT))
    told = lines("--dry-run")
    assert service.requests[-1].parameters == [("dry_run", "true")]
    assert told[0].split() == ["count", "size"]
    assert [line.split()[-3:] for line in told[1:5]] == [
        ["3", "4.2", "MB"],
        ["0", "0", "bytes"],
        ["1,200", "999", "bytes"],
        ["1", "5", "bytes"],
    ]
    assert told[5] == "runs/run_0/1/weights.safetensors"
    assert "checkpoints/cohort_1/50.safetensors" in told[6]
    assert told[-1] == "Nothing was removed."


def test_afterwards_it_says_that_it_is_done(service: Service) -> None:
    service.on("POST", "/v1/housekeeping", Answer(body=REPORT | {"dry_run": False, "orphan_keys": [], "damaged": []}))
    told = lines()
    assert service.requests[-1].parameters == [("dry_run", "false")]
    assert told[-1] == "That is removed."
    assert len(told) == 6


def test_as_json_it_is_the_report_itself(service: Service) -> None:
    service.on("POST", "/v1/housekeeping", Answer(body=REPORT))
    assert json.loads("\n".join(lines("--dry-run", "--json"))) == REPORT


def test_a_service_without_garbage_has_none_to_collect(at_the_api: Client) -> None:
    report = at_the_api.collect_garbage(dry_run=True)
    assert report.dry_run
    assert report.damaged == []
    assert at_the_api.collect_garbage().model_copy(update={"dry_run": True}) == report
