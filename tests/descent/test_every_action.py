"""Everything that the API does can be typed: sweeps, labels, deletions, weights, what waits and who works."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from descent import Client
from descent.checkup import findings
from descent.cli import app

SPEC = '{"name": "typed", "dataset": "sine", "optimizer": "adam", "budget": {"steps": 10}}'


@pytest.fixture(autouse=True)
def _there(lasting_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESCENT_URL", lasting_url)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def mine(lasting_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Of an owner of this test's own."""
    with Client(lasting_url) as admin:
        key = admin.create_key("typist." + str(abs(hash(request.node.name)))).key
    monkeypatch.setenv("DESCENT_KEY", key)
    with Client(lasting_url, key=key) as client:
        yield client


def run(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=typed)


def done(*arguments: str, typed: str = "") -> Result:
    told = run(*arguments, typed=typed)
    assert told.exit_code == 0, told.output
    return told


def test_a_sweep_is_typed_listed_shown_paused_resumed_and_cancelled(mine: Client) -> None:
    grid = ["-g", "optimizer.learning_rate=0.01,1e-3", "-g", "optimizer.kind=adam"]
    told = done("sweep", "submit", "-", *grid, "--name", "rates", "--seeds", "2", typed=SPEC)
    assert "2 jobs, 4 queued" in told.stdout
    (listed,) = json.loads(done("sweep", "list", "--json").stdout)
    assert listed["grid"] == {"optimizer.learning_rate": [0.01, 0.001], "optimizer.kind": ["adam"]}
    assert "rates" in done("sweep", "list").stdout
    shown = done("sweep", "show", "rates").stdout
    assert shown.count("queued") == 2
    assert shown.index("learning_rate=0.01") < shown.index("learning_rate=0.001"), "in the order of the grid"
    whole = json.loads(done("sweep", "show", "rates", "--json").stdout)
    assert whole["sweep"] == listed
    assert [job["spec"]["optimizer"]["learning_rate"] for job in whole["jobs"]] == [0.01, 0.001]
    assert "4 paused" in done("sweep", "pause", "rates").stdout
    assert "4 queued" in done("sweep", "resume", listed["id"][:20]).stdout
    assert "4 cancelled" in done("sweep", "cancel", "rates").stdout


@pytest.mark.parametrize("grid", ["optimizer.learning_rate", "=1", "a=", "a=[1", "a=}"])
def test_a_grid_that_is_none_is_told_so(mine: Client, grid: str) -> None:
    told = run("sweep", "submit", "-", "--grid", grid, typed=SPEC)
    assert told.exit_code != 0
    assert "Traceback" not in told.output


def test_a_sweep_that_is_not_there_is_said_to_be_missing(mine: Client) -> None:
    told = run("sweep", "show", "nothing")
    assert told.exit_code == 1
    assert "descent sweep list" in told.stderr


def test_labels_are_changed_and_an_ended_job_is_deleted_once_that_is_confirmed(mine: Client) -> None:
    job = mine.submit(json.loads(SPEC))
    done("label", "typed", "--name", "renamed", "--tag", "a", "--tag", "b", "--priority", "5")
    changed = mine.job(job)
    assert (changed.name, list(changed.tags), changed.priority) == ("renamed", ["a", "b"], 5)
    assert run("label", "renamed").exit_code == 2
    mine.cancel(job)
    assert run("delete", "renamed", typed="n\n").exit_code == 1
    assert mine.job(job).id == job.id
    assert "is deleted" in done("delete", "renamed", "--yes").stdout
    assert list(mine.jobs()) == []


def test_without_weights_a_download_says_why(mine: Client, tmp_path: Path) -> None:
    mine.submit(json.loads(SPEC))
    told = run("download", "typed", "--output", str(tmp_path / "weights"))
    assert told.exit_code == 1
    assert "has succeeded yet" in told.stderr


def test_what_waits_who_works_and_what_was_asked_is_told(mine: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    mine.submit(json.loads(SPEC) | {"experiment": "typing"})
    assert "1 for auto" in done("queue").stdout
    assert json.loads(done("queue", "--json").stdout)["waiting_by_device"] == {"auto": 1}
    assert "typing" in done("experiments").stdout
    assert json.loads(done("experiments", "--json").stdout)[0]["jobs"] == 1
    refused = run("workers")
    assert refused.exit_code == 1
    assert 'scope "admin"' in refused.stderr


def test_the_doctor_names_what_is_wrong_and_what_helps(mine: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {one.what: one for one in findings(mine)}
    assert found["service"].state == "well"
    assert found["key"].state == "well"
    assert found["disk"].state == "well"
    told = run("doctor", "--json")
    assert json.loads(told.stdout)["findings"][0]["what"] == "Python"
    monkeypatch.setenv("DESCENT_KEY", "nonsense")
    told = run("doctor")
    assert told.exit_code == 1
    assert "set DESCENT_KEY" in told.stdout
    monkeypatch.setenv("DESCENT_URL", "http://127.0.0.1:9")
    told = run("doctor")
    assert told.exit_code == 1
    assert "Nothing answers" in told.stdout
    assert "descent up" in told.stdout
