"""With one owner's key nothing of another's can be seen, changed, counted or told apart from what never was."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from models.database import Database
from models.ownership import Owned
from models.status import RunStatus
from models.storage import Storage
from models.tables import Artifact, Job, Run, Table, new_id, now
from tests.api.fake_worker import FakeWorker
from tests.api.specs import spec
from tests.datasets import passengers
from tests.models.transactions import commit
from tests.servers import http_client

BODIES: dict[str, Any] = {
    "PATCH /v1/jobs/{job_id}": {"name": "mine now"},
    "POST /v1/jobs/{job_id}/analyses": "hessian",
    "POST /v1/runs/{run_id}/analyses": "hessian",
    "POST /v1/runs/{run_id}/predictions": {"rows": [[0.5]]},
}
"""What is sent along, so that nothing but the id is to blame."""


@dataclass
class Belongings:
    """Two owners, what the first has of everything, and ids of the same form that nobody has."""

    ada: httpx2.Client
    bob: httpx2.Client
    ids: dict[str, str]
    nobodys: dict[str, str]
    database: Database


@pytest.fixture
def things(
    api: httpx2.Client, api_url: str, worker: FakeWorker, database: Database, settings: Any
) -> Iterator[Belongings]:
    """Ada has a job that has ended, with everything that jobs can have; Bob has a key."""
    made = {name: api.post("/v1/keys", json={"owner": name}).json() for name in ("ada", "bob")}
    worker.arrive()
    with ExitStack() as clients:
        ada, bob = (clients.enter_context(http_client(api_url, key=key["key"])) for key in made.values())
        dataset = ada.post("/v1/datasets", params={"name": "passengers"}, content=passengers()).json()["id"]
        wanted = spec(
            name="secret",
            experiment="secret",
            tags=["secret"],
            evaluation={"kind": "holdout", "validation": 0.2, "test": 0.2},
        )
        job = ada.post("/v1/jobs", json=wanted).json()["id"]
        (run,) = worker.claim()
        run.report({name: ([1, 2], [0.5, 0.25]) for name in ("train_loss", "validation_loss")})
        run.checkpoint(50)
        run.snapshot(50, {"x": [0.0], "y": [0.0]})
        storage = Storage(settings.storage_url)
        storage.write("runs/secret.bin", b"secret")
        artifact = Artifact(
            id=new_id("artifact"),
            run_id=run.claimed.id,
            name="weights.safetensors",
            media_type="application/octet-stream",
            size=6,
            sha256="0" * 64,
            storage_key="runs/secret.bin",
            created_at=now(),
        )
        commit(database, lambda session: session.add(artifact))
        run.finish(RunStatus.SUCCEEDED)
        assert ada.post(f"/v1/runs/{run.claimed.id}/analyses", json="hessian").status_code == 202
        assert ada.post(f"/v1/jobs/{job}/test-evaluation").status_code == 202
        sweep = ada.post("/v1/sweeps", json={"base": spec(experiment="secret"), "grid": {"batch_size": [8, 16]}}).json()
        ids = {
            "job_id": job,
            "run_id": run.claimed.id,
            "artifact_id": artifact.id,
            "sweep_id": sweep["id"],
            "dataset_id": dataset,
            "name": "secret",
        }
        nobodys = {name: new_id(one.partition("_")[0]) for name, one in ids.items()}
        yield Belongings(ada, bob, ids, nobodys, database)


def told(answer: httpx2.Response, ids: dict[str, str]) -> tuple[int, dict[str, str], Any]:
    """An answer without what differs by right: the ids that were asked for, the moment, and the request's own id."""
    text = answer.text
    for name, one in ids.items():
        text = text.replace(one, name)
    text = text.replace(answer.headers["X-Request-ID"], "")
    differing = ("date", "x-request-id", "content-length")
    headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in differing}
    return answer.status_code, headers, text


def test_what_belongs_to_another_answers_as_what_never_was_on_every_route(things: Belongings) -> None:
    with http_client(str(things.bob.base_url)) as admin:
        document = admin.get("/openapi.json").json()
    before = everything(things.database)
    asked = 0
    for template, methods in document["paths"].items():
        if not any(f"{{{name}}}" in template for name in things.ids):
            continue
        for method in methods:
            body = BODIES.get(f"{method.upper()} {template}")
            known, unknown = (
                things.bob.request(method.upper(), filled(template, ids), json=body)
                for ids in (things.ids, things.nobodys)
            )
            assert known.status_code == 404, f"{method} {template}: {known.status_code} {known.text}"
            assert told(known, things.ids) == told(unknown, things.nobodys), f"{method} {template}"
            asked += 1
    assert asked >= 35
    assert everything(things.database) == before, "nothing was changed"


def filled(template: str, ids: dict[str, str]) -> str:
    for name, one in ids.items():
        template = template.replace(f"{{{name}}}", one).replace(f"{{{name}:path}}", one)
    return template


def everything(database: Database) -> dict[str, Any]:
    """All rows of what belongs to owners, except notes of Bob's own."""
    with database.read() as session:
        return {
            mapper.class_.__name__: sorted(
                repr({column.key: getattr(row, column.key) for column in mapper.columns})
                for row in session.scalars(select(mapper.class_))
            )
            for mapper in Table.registry.mappers
            if issubclass(mapper.class_, Owned)
        }


def test_lists_have_what_is_ones_own(things: Belongings) -> None:
    listed = ("sweeps", "experiments", "datasets", "test-ledger", "events?action=submitted")
    sweep = f"sweep={things.ids['sweep_id']}"
    asked = (sweep, "experiment=secret", "tag=secret", "status=succeeded", "status=queued", "")
    for path in (*(f"/v1/{name}" for name in listed), *(f"/v1/jobs?{condition}" for condition in asked)):
        assert things.ada.get(path).json()["data"], path
        assert things.bob.get(path).json() == {"data": [], "has_more": False, "next_after": None}, path
    events = things.bob.get("/v1/events").json()["data"]
    assert {event["action"] for event in events} == {"created"}, "of his own key"


def test_the_queue_counts_ones_own_runs(things: Belongings) -> None:
    mine, theirs = things.ada.get("/v1/queue").json(), things.bob.get("/v1/queue").json()
    assert mine["waiting_by_device"] == {"auto": 2}
    assert (theirs["waiting_by_device"], theirs["running"], theirs["oldest_waiting_seconds"]) == ({}, 0, None)
    job = things.bob.post("/v1/jobs", json=spec()).json()["id"]
    (run,) = things.bob.get(f"/v1/jobs/{job}/runs").json()["data"]
    assert run["queue_position"] == 0, "runs of others are not counted"


def test_comparisons_are_of_ones_own_jobs(things: Belongings) -> None:
    for question in ("job={job_id}", "experiment=secret"):
        for path in ("/v1/comparisons", "/v1/comparisons/report?format=csv"):
            asked = f"{path}{'&' if '?' in path else '?'}{filled(question, things.ids)}"
            assert things.ada.get(asked).status_code == 200, asked
            assert things.bob.get(asked).status_code == 404, asked
    assert things.bob.get("/v1/comparisons", params={"sweep": things.ids["sweep_id"]}).status_code == 404


def test_verdicts_and_lines_reach_ones_own_runs_alone(things: Belongings, worker: FakeWorker) -> None:
    job = things.bob.post("/v1/jobs", json=spec()).json()["id"]
    (run,) = worker.claim()
    assert run.claimed.job_id == job, "it is his turn"
    run.finish(RunStatus.SUCCEEDED)
    claim = {"kind": "diagnosed", "job": things.ids["job_id"], "verdict": "good_fit"}
    assert things.ada.post("/v1/verdicts", json={"claims": [claim]}).status_code == 200
    refused = things.bob.post("/v1/verdicts", json={"claims": [claim]})
    assert refused.json()["errors"][0]["code"] == "no_such_job"
    line = {"kind": "line", "to": things.ids["run_id"]}
    refused = things.bob.post(f"/v1/runs/{run.claimed.id}/analyses", json=line)
    assert refused.json()["errors"][0]["code"] == "no_such_run"


def test_a_data_set_of_another_cannot_be_trained_on_by_id_or_name(things: Belongings) -> None:
    for name in ("passengers", things.ids["dataset_id"]):
        wanted = spec(dataset={"kind": "uploaded", "id": name, "missing": "impute"})
        assert things.ada.post("/v1/jobs/validate", json=wanted).status_code == 200
        refused = things.bob.post("/v1/jobs/validate", json=wanted)
        assert refused.json()["errors"][0]["code"] == "no_such_dataset"


def test_the_same_bytes_and_name_are_each_owners_own_data_set(things: Belongings) -> None:
    sent = things.bob.post("/v1/datasets", params={"name": "passengers"}, content=passengers())
    assert sent.status_code == 201, "nothing tells that somebody has them already"
    assert sent.json()["id"] != things.ids["dataset_id"]
    assert things.bob.delete("/v1/datasets/passengers").status_code == 204
    assert things.ada.get("/v1/datasets/passengers").json()["id"] == things.ids["dataset_id"]
    preview = things.ada.get("/v1/datasets/passengers/preview")
    assert preview.status_code == 200


def test_an_idempotency_key_is_each_owners_own(things: Belongings) -> None:
    headers = {"Idempotency-Key": "the-same"}
    first = things.ada.post("/v1/jobs", json=spec(name="ada's"), headers=headers)
    other = things.bob.post("/v1/jobs", json=spec(name="bob's"), headers=headers)
    assert (first.status_code, other.status_code) == (202, 202)
    assert first.json()["id"] != other.json()["id"]
    again = things.bob.post("/v1/jobs", json=spec(name="bob's"), headers=headers)
    assert again.json()["id"] == other.json()["id"]


def test_a_duplicate_is_looked_for_among_ones_own_jobs(things: Belongings) -> None:
    wanted = things.ada.get(f"/v1/jobs/{things.ids['job_id']}").json()["spec"]
    for client in (things.bob, http_client(str(things.bob.base_url))):
        answer = client.post("/v1/jobs", params={"on_duplicate": "return"}, json=wanted)
        assert answer.status_code == 202, "an admin sees Ada's, and still means their own"
        client.close()
    assert things.ada.post("/v1/jobs", params={"on_duplicate": "return"}, json=wanted).status_code == 200


def test_keys_of_one_owner_share_what_is_theirs(api: httpx2.Client, things: Belongings) -> None:
    reading = api.post("/v1/keys", json={"owner": "ada", "scope": "read"}).json()["key"]
    with http_client(str(api.base_url), key=reading) as ada:
        assert ada.get(f"/v1/jobs/{things.ids['job_id']}").status_code == 200
        assert ada.get(f"/v1/runs/{things.ids['run_id']}/metrics").json()["series"]
        assert ada.post(f"/v1/jobs/{things.ids['job_id']}/cancel").status_code == 403


def test_an_admin_sees_and_changes_everything(api: httpx2.Client, things: Belongings) -> None:
    job = things.ids["job_id"]
    assert api.get(f"/v1/jobs/{job}").status_code == 200
    assert api.get(f"/v1/runs/{things.ids['run_id']}/metrics").status_code == 200
    assert api.get("/v1/datasets/passengers").status_code == 200
    assert {one["owner"] for one in api.get("/v1/jobs", params={"owner": "ada"}).json()["data"]} == {"ada"}
    assert api.get("/v1/jobs", params={"owner": "bob"}).json()["data"] == []
    assert things.bob.get("/v1/jobs", params={"owner": "bob"}).json()["data"] == []
    assert things.bob.get("/v1/jobs", params={"owner": "ada"}).status_code == 403
    assert {row["name"] for row in api.get("/v1/experiments").json()["data"]} == {"secret"}
    assert api.delete(f"/v1/jobs/{job}").status_code == 204
    assert things.ada.get(f"/v1/jobs/{job}").status_code == 404


def test_live_metrics_that_only_redis_has_are_the_owners(things: Belongings, worker: FakeWorker) -> None:
    job = things.ada.post("/v1/jobs", json=spec(priority=100)).json()["id"]
    (run,) = worker.claim(limit=1)
    run.report({"train_loss": ([1], [0.5])})
    path = f"/v1/runs/{run.claimed.id}"
    assert run.claimed.job_id == job
    assert things.ada.get(f"{path}/metrics").json()["series"]
    for _ in range(2):
        assert things.bob.get(f"{path}/metrics").status_code == 404
        assert things.bob.get(f"{path}/metrics", params={"max_points": 5}).status_code == 404
        assert things.bob.get(f"{path}/stream").status_code == 404


def test_a_cursor_of_anothers_list_opens_nothing(things: Belongings) -> None:
    page = things.ada.get("/v1/jobs", params={"limit": 1, "sort": "oldest"}).json()
    assert page["has_more"]
    answer = things.bob.get("/v1/jobs", params={"limit": 1, "sort": "oldest", "after": page["next_after"]})
    assert answer.json()["data"] == []


# ── the rule behind it ───────────────────────────────────────────────────────────────────────────


def test_a_session_of_one_owner_holds_nothing_of_anothers_however_it_is_asked(things: Belongings) -> None:
    job, run = things.ids["job_id"], things.ids["run_id"]
    with things.database.of("bob").write() as session:
        assert session.get(Job, job) is None
        assert session.get(Job, job, with_for_update=True) is None
        assert session.scalars(select(Run).join(Job).where(Job.id == job)).all() == []
        assert session.scalars(select(Artifact).where(Artifact.run_id == run)).all() == []
        for mapper in Table.registry.mappers:
            if issubclass(mapper.class_, Owned) and mapper.class_.__name__ != "Event":
                assert session.scalars(select(mapper.class_)).all() == []
