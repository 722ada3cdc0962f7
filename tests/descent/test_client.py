import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from descent import Client, DescentError, JobSpec, Refused, Unreachable
from descent.errors import TimedOut
from descent.local.state import State
from tests.descent.conftest import Answer, Request, Service, make_job, make_page, make_run, problem


def test_a_submission_that_meets_a_restarting_service_is_sent_again_with_the_same_key(
    service: Service, client: Client
) -> None:
    service.on(
        "POST",
        "/v1/jobs",
        Answer(hang_up=True),
        problem(503, "unavailable", "The database is away"),
        Answer(202, make_job()),
    )
    job = client.submit({"dataset": "sine", "optimizer": "adam"})
    keys = [request.headers["idempotency-key"] for request in service.requests]
    assert job.id == "job_1"
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_each_submission_has_a_key_of_its_own(service: Service, client: Client) -> None:
    service.on("POST", "/v1/jobs", Answer(202, make_job()))
    for _ in range(2):
        client.submit(JobSpec(dataset="sine", optimizer="adam"))
    first, second = (request.headers["idempotency-key"] for request in service.requests)
    assert first != second


def test_a_spec_object_travels_with_every_default_spelled_out(service: Service, client: Client) -> None:
    service.on("POST", "/v1/jobs", Answer(202, make_job()))
    spec = JobSpec.model_validate({"dataset": "sine", "optimizer": "adam", "seeds": 3})
    client.submit(spec, on_duplicate="return")
    assert JobSpec.model_validate(service.requests[0].body) == spec
    assert service.requests[0].parameters == [("on_duplicate", "return")]


def test_a_service_that_asks_for_too_long_a_pause_is_not_waited_for(service: Service, client: Client) -> None:
    busy = problem(503, "unavailable", "The database is away")
    busy.headers["Retry-After"] = "3600"
    service.on("GET", "/v1/queue", busy)
    with pytest.raises(Refused, match="The database is away"):
        client.queue()
    assert len(service.requests) == 1


def test_a_pause_that_the_service_asks_for_is_kept_and_the_request_repeated(service: Service, client: Client) -> None:
    busy = problem(503, "unavailable", "One moment")
    busy.headers["Retry-After"] = "0"
    service.on("GET", "/healthz", busy, Answer(body={"status": "ok"}))
    assert client.health().status == "ok"


def test_a_problem_says_where_and_why(service: Service, client: Client) -> None:
    errors = [
        {"pointer": "/batch_size", "code": "too_large", "detail": "a batch of 9 exceeds the 6 training rows"},
        {"pointer": "/optimizer/kind", "code": "unknown", "detail": "there is no optimizer addam"},
    ]
    refused = problem(422, "invalid_spec", "The spec is not valid", errors=errors, remedy="See GET /v1/components")
    service.on("POST", "/v1/jobs", refused)
    with pytest.raises(Refused) as caught:
        client.submit({"dataset": "sine"})
    assert str(caught.value).splitlines() == [
        "The spec is not valid",
        "  /batch_size: a batch of 9 exceeds the 6 training rows",
        "  /optimizer/kind: there is no optimizer addam",
        "See GET /v1/components",
    ]
    assert caught.value.problem.status == 422
    assert len(service.requests) == 1


def test_an_answer_in_foreign_words_is_told_apart_from_a_problem(service: Service, client: Client) -> None:
    service.on("GET", "/v1/queue", Answer(404, b"<html>nginx</html>", media_type="text/html"))
    with pytest.raises(DescentError, match="does another program listen there"):
        client.queue()


def test_where_nothing_answers_the_message_says_how_to_start(service: Service) -> None:
    with Client("http://127.0.0.1:9", patience_seconds=0) as nobody, pytest.raises(Unreachable, match="descent up"):
        nobody.queue()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://host:port"])
def test_an_address_that_is_none_is_refused_in_words(url: str) -> None:
    with pytest.raises(DescentError, match="no address of a service"), Client(url, patience_seconds=0) as client:
        client.queue()


def test_a_list_is_walked_page_by_page_and_only_as_far_as_needed(service: Service, client: Client) -> None:
    def page(request: Request) -> Answer:
        after = dict(request.parameters).get("after")
        first = make_page(make_job("job_1"), make_job("job_2"), next_after="second")
        return Answer(body=make_page(make_job("job_3")) if after == "second" else first)

    service.on("GET", "/v1/jobs", page)
    walk = client.jobs(experiment="lab", sweep="sweep_1", status="queued", sort="oldest", page_size=2)
    assert next(walk).id == "job_1"
    assert len(service.requests) == 1
    assert [job.id for job in walk] == ["job_2", "job_3"]
    assert service.requests[1].parameters == [
        ("experiment", "lab"),
        ("sweep", "sweep_1"),
        ("status", "queued"),
        ("sort", "oldest"),
        ("limit", "2"),
        ("after", "second"),
    ]


def test_a_change_of_labels_names_the_version_it_was_made_for(service: Service, client: Client) -> None:
    service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()))
    service.on("PATCH", "/v1/jobs/job_1", Answer(body=make_job(name="better", version=4)))
    assert client.update(client.job("job_1"), name="better", tags=[]).version == 4
    assert service.requests[-1].headers["if-match"] == '"3"'
    assert service.requests[-1].body == {"name": "better", "tags": []}


def test_a_sweep_is_a_base_a_grid_and_if_asked_for_the_seeds(service: Service, client: Client) -> None:
    sweep = {
        "id": "sweep_1",
        "owner": "admin",
        "name": "rates",
        "grid": {},
        "created_at": "2026-01-02T03:04:05Z",
        "jobs": 2,
    }
    service.on("POST", "/v1/sweeps", Answer(202, sweep | {"status": "queued", "runs_by_status": {}}))
    base = {"dataset": "sine", "optimizer": "adam"}
    grid = {"optimizer.learning_rate": [0.1, 0.01]}
    client.submit_sweep(base, grid, name="rates")
    client.submit_sweep(base, grid, seeds=range(3))
    first, second = (request.body for request in service.requests)
    assert first == {"name": "rates", "base": base, "grid": grid}
    assert second["seeds"] == [0, 1, 2]


def test_waiting_ends_with_the_job(service: Service, client: Client) -> None:
    ended = make_job(status="failed", is_terminal=True)
    service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()), Answer(body=ended))
    assert client.wait("job_1").status == "failed"


def test_waiting_ends_with_the_callers_patience_too(service: Service, client: Client) -> None:
    service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()))
    with pytest.raises(TimedOut, match="still queued"):
        client.wait("job_1", timeout=0)


def test_waiting_goes_on_while_a_job_rests(service: Service, client: Client) -> None:
    paused = make_job(status="paused", runs_by_status={"paused": 1})
    ended = make_job(status="succeeded", is_terminal=True)
    service.on("GET", "/v1/jobs/job_1", Answer(body=paused), Answer(body=paused), Answer(body=ended))
    assert client.wait("job_1").status == "succeeded"
    service.on("GET", "/v1/jobs/job_1", Answer(body=paused))
    with pytest.raises(TimedOut, match="still paused after 0 s; it goes on once it is resumed"):
        client.wait("job_1", timeout=0)


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_jobs_and_sweeps_are_paused_and_resumed(service: Service, client: Client, action: str) -> None:
    sweep = {
        "id": "sweep_1",
        "owner": "admin",
        "name": "",
        "grid": {},
        "created_at": "2026-01-02T03:04:05Z",
        "jobs": 2,
    }
    service.on("POST", f"/v1/jobs/job_1/{action}", Answer(202, make_job(status="paused")))
    service.on("POST", f"/v1/sweeps/sweep_1/{action}", Answer(202, sweep | {"status": "paused", "runs_by_status": {}}))
    assert getattr(client, action)("job_1").status == "paused"
    assert getattr(client, f"{action}_sweep")("sweep_1").status == "paused"
    assert [request.body for request in service.requests] == [None, None]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"steps": 500}, {"steps": 500, "max_seconds": 60.0}),
        ({"epochs": 9, "max_seconds": 5}, {"epochs": 9, "max_seconds": 5}),
        ({"max_seconds": 5}, {"steps": 100, "max_seconds": 5}),
    ],
)
def test_an_extension_asks_for_a_budget_and_keeps_what_is_left_out(
    service: Service, client: Client, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    given = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 100, "max_seconds": 60}}
    job = make_job(spec=JobSpec.model_validate(given).model_dump(mode="json"))
    service.on("GET", "/v1/jobs/job_1", Answer(body=job))
    service.on("PATCH", "/v1/jobs/job_1", Answer(body=job | {"version": 4}))
    assert client.extend(client.job("job_1"), **asked).version == 4
    assert service.requests[-1].body == {"budget": sent}


def test_the_checkpoints_of_a_run_are_told_the_newest_first(service: Service, client: Client) -> None:
    facts = {"size": 9, "sha256": "", "created_at": "2026-01-02T03:04:05Z"}
    pages = make_page(*({"id": f"checkpoint_{step}", "step": step, **facts} for step in (20, 10)))
    service.on("GET", "/v1/runs/run_1/checkpoints", Answer(body=pages))
    assert [found.step for found in client.checkpoints("run_1")] == [20, 10]


def test_weights_come_as_bytes_or_as_a_file(service: Service, client: Client, tmp_path: Path) -> None:
    artifact = {
        "id": "artifact_1",
        "run_id": "run_1",
        "name": "weights.safetensors",
        "media_type": "application/octet-stream",
        "size": 3,
        "sha256": "",
        "created_at": "2026-01-02T03:04:05Z",
    }
    service.on("GET", "/v1/runs/run_1/artifacts", Answer(body=make_page(artifact)))
    service.on("GET", "/v1/runs/run_1/artifacts/artifact_1", Answer(body=b"\x00\x01\x02"))
    assert client.weights("run_1") == b"\x00\x01\x02"
    assert client.weights("run_1", tmp_path / "weights").read_bytes() == b"\x00\x01\x02"


def test_a_run_without_weights_says_so(service: Service, client: Client) -> None:
    service.on("GET", "/v1/runs/run_1/artifacts", Answer(body=make_page()))
    with pytest.raises(DescentError, match="kept once a run has succeeded"):
        client.weights("run_1")


def test_jobs_and_runs_are_named_by_id_or_by_themselves(service: Service, client: Client) -> None:
    service.on("GET", "/v1/jobs/job_1", Answer(body=make_job()))
    service.on("GET", "/v1/jobs/job_1/runs", Answer(body=make_page(make_run())))
    service.on("GET", "/v1/runs/run_1", Answer(body=make_run()))
    (run,) = client.runs(client.job("job_1"))
    assert client.run(run) == run


def test_the_address_comes_from_the_caller_then_the_environment_then_the_local_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DESCENT_URL", raising=False)
    assert Client().url == "http://127.0.0.1:8000"
    state = State.at(tmp_path / ".descent")
    state.prepare()
    state.announce("http://127.0.0.1:8123")
    assert Client().url == "http://127.0.0.1:8123"
    monkeypatch.setenv("DESCENT_URL", "http://elsewhere:1")
    assert Client().url == "http://elsewhere:1"
    assert Client("http://here:2/").url == "http://here:2"


def test_the_client_brings_no_heavy_library_along() -> None:
    question = (
        "import sys, json, descent, descent.cli;"
        "heavy = ('torch', 'fastapi', 'pyarrow', 'pandas', 'numpy', 'sqlalchemy', 'celery');"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )
    told = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == []


def test_a_service_of_another_version_is_told_from_a_broken_one(service: Service, client: Client) -> None:
    service.on("GET", "/v1/jobs/job_1", Answer(body={"id": "job_1", "colour": "red"}))
    with pytest.raises(DescentError, match="different versions"):
        client.job("job_1")
