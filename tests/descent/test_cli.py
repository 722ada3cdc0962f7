import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from descent.cli import app
from models.spec.job import JobSpec
from tests.descent.conftest import Answer, Request, Service, make_job, make_metrics, make_page, make_run, problem

ENDED: dict[str, Any] = {"status": "succeeded", "is_terminal": True, "runs_by_status": {"succeeded": 1}}


@pytest.fixture
def at_the_service(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("DESCENT_URL", service.url)
    monkeypatch.setenv("COLUMNS", "120")
    return service


def descent(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=typed)


def test_a_spec_is_submitted_from_a_file_or_from_standard_input(at_the_service: Service, tmp_path: Path) -> None:
    at_the_service.on("POST", "/v1/jobs", Answer(202, make_job()))
    file = tmp_path / "spec.yaml"
    file.write_text("dataset: sine\noptimizer: {kind: adam, learning_rate: 1e-2}\n")
    from_file = descent("submit", str(file))
    from_input = descent("submit", "-", "--json", typed=json.dumps({"dataset": "sine", "optimizer": "sgd"}))
    assert "job_1 is queued" in from_file.stdout
    assert json.loads(from_input.stdout)["id"] == "job_1"
    first, second = (request.body for request in at_the_service.requests)
    assert first == {"dataset": "sine", "optimizer": {"kind": "adam", "learning_rate": 0.01}}
    assert second["optimizer"] == "sgd"


def test_a_refused_spec_is_told_on_standard_error(at_the_service: Service) -> None:
    errors = [{"pointer": "/optimizer", "code": "missing", "detail": "Field required"}]
    at_the_service.on("POST", "/v1/jobs", problem(422, "invalid_spec", "The spec is not valid", errors=errors))
    result = descent("submit", "-", typed="dataset: sine")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "/optimizer: Field required" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["submit"], ["jobs", "--status", "happy"], ["compare"], ["compare", "a", "--experiment", "b"], ["fly"]],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert descent(*arguments).exit_code == 2


def test_a_file_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    result = descent("submit", str(tmp_path / "absent.yaml"))
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_jobs_are_listed_as_a_table_or_as_json(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs", Answer(body=make_page(make_job(name="fast"), make_job("job_2", name="slow"))))
    table = descent("jobs", "--experiment", "lab", "--status", "queued")
    assert "fast" in table.stdout
    assert "slow" in table.stdout
    assert [job["name"] for job in json.loads(descent("jobs", "--json").stdout)] == ["fast", "slow"]
    assert [job["name"] for job in json.loads(descent("jobs", "--json", "--limit", "1").stdout)] == ["fast"]
    assert ("experiment", "lab") in at_the_service.requests[0].parameters


def test_an_empty_list_says_so(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs", Answer(body=make_page()))
    assert descent("jobs").stdout == "No jobs.\n"


@pytest.mark.parametrize("reference", ["fast", "job_0001", "job_00"])
def test_a_job_is_meant_by_name_by_id_or_by_the_beginning_of_its_id(at_the_service: Service, reference: str) -> None:
    at_the_service.on("GET", "/v1/jobs/job_0001", Answer(body=make_job("job_0001", name="fast")))
    at_the_service.on("GET", "/v1/jobs", Answer(body=make_page(make_job("job_0001", name="fast"), make_job("job_1"))))
    summary = {"validation_loss": {"last": 0.25, "best": 0.125, "best_step": 1500}}
    at_the_service.on("GET", "/v1/jobs/job_0001/runs", Answer(body=make_page(make_run(summary=summary))))
    shown = descent("show", reference)
    assert shown.exit_code == 0
    for part in ("fast", "run_1", "0.125", "1,500", "learning rate 0.001"):
        assert part in shown.stdout
    as_json = json.loads(descent("show", reference, "--json").stdout)
    assert as_json["runs"][0]["summary"] == summary


def test_a_shown_job_names_its_schedule_and_the_rule_under_sam(at_the_service: Service) -> None:
    given = {"dataset": "sine", "optimizer": {"kind": "sam", "base": "adam"}, "schedule": "cosine"}
    job = make_job(spec=JobSpec.model_validate(given).model_dump(mode="json"))
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(body=job))
    at_the_service.on("GET", "/v1/jobs/job_1/runs", Answer(body=make_page(make_run())))
    shown = descent("show", "job_1").stdout
    for part in ("sam over adam, learning rate 0.001", "cosine"):
        assert part in shown


def test_a_name_that_several_jobs_share_is_answered_with_their_ids(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs", Answer(body=make_page(make_job("job_7"), make_job("job_8"))))
    result = descent("cancel", "adam")
    assert result.exit_code == 1
    assert "job_7" in result.stderr
    assert "job_8" in result.stderr


def test_a_name_that_nobody_has_is_answered_with_where_to_look(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs", Answer(body=make_page()))
    assert "descent jobs" in descent("show", "nobody").stderr


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "retry"])
def test_what_is_done_to_a_job_reports_where_the_job_stands_now(at_the_service: Service, action: str) -> None:
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()))
    at_the_service.on("POST", f"/v1/jobs/job_1/{action}", Answer(202, make_job(**ENDED)))
    assert "adam is succeeded: 1 succeeded" in descent(action, "job_1").stdout
    assert json.loads(descent(action, "job_1", "--json").stdout)["status"] == "succeeded"


def test_an_extension_says_how_far_the_job_is_to_go(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(body=make_job(**ENDED)))
    at_the_service.on("PATCH", "/v1/jobs/job_1", Answer(body=make_job()))
    assert "adam is queued: 1 queued" in descent("extend", "job_1", "--steps", "500").stdout
    assert json.loads(descent("extend", "job_1", "--epochs", "9", "--max-seconds", "1.5", "--json").stdout)
    bodies = [request.body for request in at_the_service.requests if request.method == "PATCH"]
    assert bodies == [{"budget": {"steps": 500}}, {"budget": {"epochs": 9, "max_seconds": 1.5}}]


@pytest.mark.parametrize(
    "arguments", [[], ["--steps", "0"], ["--steps", "9", "--epochs", "9"], ["--max-seconds", "0"], ["--epochs", "many"]]
)
def test_an_extension_that_says_nothing_or_too_much_is_wrong_usage(
    at_the_service: Service, arguments: list[str]
) -> None:
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(body=make_job(**ENDED)))
    assert descent("extend", "job_1", *arguments).exit_code == 2
    assert at_the_service.requests == []


def test_an_extension_that_is_refused_says_why(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()))
    why = "a budget is extended once every run has ended (possible now: cancel, pause)"
    at_the_service.on("PATCH", "/v1/jobs/job_1", problem(409, "illegal_action", why, legal_actions=["cancel", "pause"]))
    told = descent("extend", "job_1", "--steps", "500")
    assert told.exit_code == 1
    assert why in told.stderr.replace("\n", " ")


def test_watching_tells_a_line_where_there_is_no_terminal_and_ends_with_the_job(at_the_service: Service) -> None:
    summary = {"validation_loss": {"last": 0.25, "best": 0.2, "best_step": 5}}
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()), Answer(body=make_job(**ENDED)))
    at_the_service.on("GET", "/v1/jobs/job_1/runs", Answer(body=make_page(make_run(**_ended(), summary=summary))))
    result = descent("watch", "job_1")
    assert result.exit_code == 0
    assert "1/1 ended, validation_loss 0.25" in result.stdout
    as_json = descent("watch", "job_1", "--json")
    assert json.loads(as_json.stdout)["status"] == "succeeded"


def test_watching_a_job_that_fails_is_exit_code_1(at_the_service: Service) -> None:
    at_the_service.on("POST", "/v1/jobs", Answer(202, make_job()))
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(body=make_job(**(ENDED | {"status": "failed"}))))
    at_the_service.on("GET", "/v1/jobs/job_1/runs", Answer(body=make_page(make_run(**_ended("failed")))))
    assert descent("submit", "-", "--watch", typed="dataset: sine\noptimizer: sgd").exit_code == 1


def _ended(status: str = "succeeded") -> dict[str, Any]:
    return {"status": status, "is_terminal": True}


def test_interrupting_a_watch_leaves_the_job_running_and_says_so(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(body=make_job(status="running")))
    at_the_service.on("GET", "/v1/jobs/job_1/runs", Answer(body=make_page(make_run())))
    metrics = "/v1/runs/run_1/metrics"

    def interrupt(_: Request) -> Answer:
        process.send_signal(signal.SIGINT)
        return Answer(body=make_metrics("1-0", validation_loss={1: 0.5}))

    at_the_service.on("GET", metrics, interrupt)
    command = [sys.executable, "-m", "descent", "watch", "job_1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "adam goes on" in told
    assert not any(request.method == "POST" for request in at_the_service.requests)


def test_components_are_listed_by_family_and_shown_in_full(at_the_service: Service) -> None:
    choice = {
        "family": "optimizer",
        "kind": "adam",
        "summary": "Adaptive moments.",
        "schema": {"properties": {"kind": {}, "learning_rate": {"description": "How far a step goes."}}},
        "defaults": {"learning_rate": 0.001},
        "per_run": ["learning_rate"],
    }
    for path in ("/v1/components", "/v1/components/optimizer"):
        at_the_service.on("GET", path, Answer(body=make_page(choice)))
    assert "Adaptive moments." in descent("components").stdout
    shown = descent("components", "optimizer", "adam").stdout
    assert "How far a step goes." in shown
    assert "0.001" in shown
    assert json.loads(descent("components", "--json").stdout)[0]["schema"] == choice["schema"]
    assert "no optimizer 'sgd'" in descent("components", "optimizer", "sgd").stderr


def test_the_version_is_that_of_the_package() -> None:
    assert json.loads(descent("version", "--json").stdout)["version"] in descent("version").stdout


def test_every_command_explains_itself_and_can_speak_json() -> None:
    commands = (
        "submit",
        "jobs",
        "show",
        "watch",
        "results",
        "compare",
        "pause",
        "resume",
        "extend",
        "cancel",
        "retry",
        "components",
        "datasets upload",
        "datasets list",
        "datasets show",
        "datasets delete",
        "predict",
        "up",
        "demo",
        "version",
    )
    for command in commands:
        told = descent(*command.split(), "--help")
        assert told.exit_code == 0
        assert "--json" in told.stdout


def test_the_installed_command_says_in_words_that_nothing_answers(tmp_path: Path) -> None:
    environment = {**os.environ, "DESCENT_URL": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "descent", "jobs"]
    told = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert told.returncode == 1
    assert told.stdout == ""
    assert "descent up" in told.stderr
    assert "Traceback" not in told.stderr


def results(seeds: int, members: int) -> dict[str, Any]:
    said = [{"run_id": f"run_{m}", "member": m, "score": 0.5, "weight": None} for m in range(members)]
    curve = [0.5 + 0.01 * size for size in range(members)]
    one = {"members": said, "scores": {"out_of_bag": 0.75}, "series": {"vote": curve} if members else {}}
    estimate = {"mean": 0.75, "standard_deviation": 0.0125 if seeds > 1 else None, "seeds": seeds}
    return {
        "job_id": "job_1",
        "evaluation": "bagging",
        "measure": "accuracy",
        "runs": 60,
        "counted": seeds * members,
        "scores": {"out_of_bag": estimate} if seeds else {},
        "seeds": [one | {"seed": seed} for seed in range(seeds)],
    }


def test_results_show_what_the_runs_come_to_and_how_an_ensemble_grows(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(200, make_job()))
    at_the_service.on("GET", "/v1/jobs/job_1/results", Answer(200, results(2, 30)))
    shown = descent("results", "job_1")
    assert shown.exit_code == 0
    assert "bagging, 60 of 60 runs; accuracy: higher is better" in shown.stdout
    assert "out of bag" in shown.stdout
    assert "0.75 ± 0.013" in shown.stdout
    # Every second size, and the first and the last.
    sizes = [int(line.split()[0]) for line in shown.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert sizes == [1, *range(2, 31, 2)]
    assert json.loads(descent("results", "job_1", "--json").stdout)["counted"] == 60


def test_results_of_a_job_without_a_succeeded_run_say_so(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(200, make_job()))
    at_the_service.on("GET", "/v1/jobs/job_1/results", Answer(200, results(0, 0)))
    assert "No run has succeeded yet." in descent("results", "job_1").stdout


def test_members_are_told_apart_where_a_seed_has_several(at_the_service: Service) -> None:
    at_the_service.on("GET", "/v1/jobs/job_1", Answer(200, make_job()))
    runs = [make_run(id=f"run_{m}", seed=7, member=m) for m in range(3)]
    at_the_service.on("GET", "/v1/jobs/job_1/runs", Answer(200, make_page(*runs)))
    shown = descent("show", "job_1").stdout
    assert "member" in shown
    assert [line.split()[:2] for line in shown.splitlines() if line.strip().startswith("7")] == [
        ["7", str(m)] for m in range(3)
    ]
