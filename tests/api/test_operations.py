import re
import subprocess
import sys
import time
from datetime import timedelta

import httpx2
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from api import pages
from api.app import create_app
from models.answers import ComponentChoice, Page, Queue, Readiness, Worker
from models.database import Database
from models.queue import app as celery
from models.settings import Settings
from models.spec.component import choices
from models.spec.families import FAMILIES
from models.spec.regularizers import Regularizer
from models.storage import Storage
from models.tables import Artifact, new_id, now
from models.tables import Worker as WorkerRow
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.specs import SPEC, spec
from tests.models.outages import eventually
from tests.servers import http_client, running_api, running_valkey


def test_the_api_never_imports_torch() -> None:
    code = "import sys; from api.app import create_app; create_app().openapi(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_whole_service_is_alive_and_ready(api: httpx2.Client) -> None:
    assert api.get("/healthz").json() == {"status": "alive"}

    def is_ready() -> bool:
        response = api.get("/readyz")
        ready = Readiness(ready=True, database=True, broker=True, metrics=True)
        return response.is_success and Readiness.model_validate(response.json()) == ready

    eventually(is_ready, "every part responds within two seconds")


def test_readiness_names_the_part_that_is_away(
    settings_on_sqlite: Settings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_valkey(tmp_path_factory.mktemp("gone")) as server:
        monkeypatch.setattr(celery.conf, "broker_url", server.broker_url())
        urls = {"metrics_url": server.metrics_url(), "broker_url": server.broker_url()}
        settings = settings_on_sqlite.model_copy(update=urls)
        with running_api(create_app(settings)) as url, http_client(url) as api:
            assert api.get("/readyz").status_code == 200
            server.process.kill()
            server.process.wait()
            answer = api.get("/readyz")
            assert answer.status_code == 503
            assert answer.json() == {"ready": False, "database": True, "broker": False, "metrics": False}
            assert api.post("/v1/jobs", json=SPEC).status_code == 202, "Redis is not touched by a request"
            run = api.get("/v1/jobs").json()["data"][0]["id"]
            run_id = api.get(f"/v1/jobs/{run}/runs").json()["data"][0]["id"]
            assert api.get(f"/v1/runs/{run_id}/metrics").json()["status"] == "queued"


def test_workers_are_listed_while_they_are_seen(api: httpx2.Client, worker: FakeWorker, database: Database) -> None:
    worker.arrive("cpu")
    worker.arrive("cuda")
    found = Page[Worker].model_validate(api.get("/v1/workers").json()).data
    assert {(one.id, one.device, one.busy) for one in found} == {
        ("worker_cpu", "cpu", True),
        ("worker_cuda", "cuda", True),
    }
    with database.write() as session:
        row = session.get(WorkerRow, "worker_cuda")
        assert row is not None
        row.seen_at = now() - timedelta(seconds=31)
    assert [one["id"] for one in api.get("/v1/workers").json()["data"]] == ["worker_cpu"]


def test_the_queue_is_counted_by_device(api: httpx2.Client, worker: FakeWorker) -> None:
    worker.arrive("cpu")
    empty = Queue.model_validate(api.get("/v1/queue").json())
    assert (empty.waiting_by_device, empty.running, empty.oldest_waiting_seconds, empty.warnings) == ({}, 0, None, [])
    api.post("/v1/jobs", json=SPEC)
    worker.claim()
    api.post("/v1/jobs", json=spec(seeds=3))
    api.post("/v1/jobs", json=spec(device="cuda"))
    queue = Queue.model_validate(api.get("/v1/queue").json())
    assert (queue.waiting_by_device, queue.running) == ({"auto": 3, "cuda": 1}, 1)
    assert queue.oldest_waiting_seconds is not None
    assert len(queue.warnings) == 1


def test_a_submitted_job_nudges_the_relay_to_wake_idle_workers(
    api: httpx2.Client, worker: FakeWorker, database: Database, redis_url: str
) -> None:
    worker.arrive("cpu")
    with database.write() as session:
        row = session.get(WorkerRow, "worker_cpu")
        assert row is not None
        row.busy = False
    api.post("/v1/jobs", json=SPEC)
    deadline = time.monotonic() + 10
    with redis.Redis.from_url(redis_url.replace("db=1", "db=0")) as broker:
        while not broker.llen("cpu"):
            assert time.monotonic() < deadline, "no wake-up was sent"
            time.sleep(0.02)


def test_prometheus_reads_routes_statuses_and_workers(api: httpx2.Client, worker: FakeWorker) -> None:
    worker.arrive("cpu")
    job = api.post("/v1/jobs", json=SPEC).json()["id"]
    api.get(f"/v1/jobs/{job}")
    api.get("/v1/jobs/none")
    api.get("/somewhere")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(api.get("/metrics").text)
        for sample in family.samples
    }
    assert samples["descent_requests_total", "/v1/jobs/{job_id}", "200", "GET"] == 1
    assert samples["descent_requests_total", "/v1/jobs/{job_id}", "404", "GET"] == 1
    assert samples["descent_requests_total", "404", "GET", "unmatched"] == 1
    assert samples["descent_request_seconds_count", "/v1/jobs", "202", "POST"] == 1
    assert samples["descent_runs", "queued"] == 1
    assert samples["descent_runs", "failed"] == 0
    assert samples[("descent_live_workers",)] == 1
    assert samples[("descent_lost_runs_total",)] == 0


def test_the_documentation_fetches_nothing_from_elsewhere(lasting_api: httpx2.Client) -> None:
    page = lasting_api.get("/docs")
    assert page.status_code == 200
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]*\"", page.text)
    assert "cdn" not in page.text
    for path in re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text):
        assert lasting_api.get(path).status_code == 200, path
    assert lasting_api.get("/redoc").status_code == 404


def test_components_are_all_that_the_unions_hold(lasting_api: httpx2.Client) -> None:
    answer = lasting_api.get("/v1/components")
    found = Page[ComponentChoice].model_validate(answer.json()).data
    told = {(one.family, one.kind) for one in found}
    assert told == {(family, c.model_fields["kind"].default) for family, f in FAMILIES.items() for c in choices(f)}
    adam = next(one for one in found if one.kind == "adam")
    assert "Kingma" in adam.summary
    assert adam.defaults["learning_rate"] == 1e-3
    assert adam.per_run == ["betas", "epsilon", "learning_rate"]
    assert adam.json_schema["properties"]["learning_rate"]["exclusiveMinimum"] == 0
    assert all(one.summary for one in found)
    etag = answer.headers["ETag"]
    assert lasting_api.get("/v1/components", headers={"If-None-Match": f"W/{etag}"}).status_code == 304
    one_family = lasting_api.get("/v1/components/regularizer").json()["data"]
    assert {one["kind"] for one in one_family} == {c.model_fields["kind"].default for c in choices(Regularizer)}


def test_snapshots_are_listed_by_step(api: httpx2.Client, run: FakeRun) -> None:
    for step in (50, 10):
        run.snapshot(step, {"y": [step]})
    told = api.get(f"/v1/runs/{run.claimed.id}/snapshots").json()["data"]
    assert told == [{"step": 10, "content": {"y": [10]}}, {"step": 50, "content": {"y": [50]}}]


def test_an_artifact_is_downloaded_by_its_id_under_a_name_of_our_own(
    api: httpx2.Client, run: FakeRun, database: Database, settings: Settings
) -> None:
    content = b"weights" * 100_000
    Storage(settings.storage_url).write("runs/x/weights", content)
    with database.write() as session:
        artifact = Artifact(
            id=new_id("artifact"),
            run_id=run.claimed.id,
            name='../"evil".safetensors',
            media_type="text/html",
            size=len(content),
            sha256="ab" * 32,
            storage_key="runs/x/weights",
            created_at=now(),
        )
        session.add(artifact)
    listed = api.get(f"/v1/runs/{run.claimed.id}/artifacts").json()["data"]
    assert [(one["id"], one["size"]) for one in listed] == [(artifact.id, len(content))]
    assert "storage_key" not in listed[0]
    answer = api.get(f"/v1/runs/{run.claimed.id}/artifacts/{artifact.id}")
    assert answer.content == content
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{artifact.id}.safetensors"'
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert api.get(f"/v1/runs/run_other/artifacts/{artifact.id}").status_code == 404
    Storage(settings.storage_url).delete(["runs/x/weights"])
    assert api.get(f"/v1/runs/{run.claimed.id}/artifacts/{artifact.id}").status_code == 404


def test_what_does_not_exist_is_404_everywhere(api: httpx2.Client) -> None:
    for method, path in MISSING:
        answer = api.request(method, path, json={"name": "x"} if method == "PATCH" else None)
        assert answer.status_code == 404, path
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["instance"] == path.partition("?")[0]


MISSING = [
    ("GET", "/v1/jobs/job_0"),
    ("PATCH", "/v1/jobs/job_0"),
    ("DELETE", "/v1/jobs/job_0"),
    ("POST", "/v1/jobs/job_0/cancel"),
    ("POST", "/v1/jobs/job_0/retry"),
    ("GET", "/v1/jobs/job_0/runs"),
    ("GET", "/v1/jobs/job_0/metrics"),
    ("GET", "/v1/runs/run_0"),
    ("GET", "/v1/runs/run_0/metrics"),
    ("GET", "/v1/runs/run_0/metrics?max_points=10"),
    ("GET", "/v1/runs/run_0/stream"),
    ("GET", "/v1/runs/run_0/snapshots"),
    ("GET", "/v1/runs/run_0/artifacts"),
    ("GET", "/v1/runs/run_0/artifacts/artifact_0"),
    ("GET", "/v1/sweeps/sweep_0"),
    ("POST", "/v1/sweeps/sweep_0/cancel"),
    ("GET", "/v1/experiments/nobody/ran/this"),
    ("GET", "/v1/comparisons?job=job_0"),
    ("GET", "/v1/comparisons?sweep=sweep_0"),
    ("GET", "/v1/comparisons/report?experiment=none"),
    ("GET", "/v1/components/spell"),
    ("GET", "/v1/nothing"),
]


def test_a_method_of_a_clients_own_invention_makes_no_series(lasting_api: httpx2.Client) -> None:
    assert lasting_api.request("FROBNICATE", "/v1/jobs").status_code == 405
    lines = lasting_api.get("/metrics").text
    assert "FROBNICATE" not in lines
    assert 'method="other"' in lines


def test_a_query_of_very_many_parameters_is_refused(lasting_api: httpx2.Client) -> None:
    assert lasting_api.get("/v1/jobs?" + "&".join(["limit=1"] * 256)).status_code == 200
    refused = lasting_api.get("/v1/jobs?" + "&".join(["limit=1"] * 257))
    assert (refused.status_code, refused.json()["type"]) == (400, "urn:descent:problem:malformed_request")


def test_a_page_ends_where_it_would_become_too_large(
    lasting_api: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 45_000)
    made = [
        lasting_api.post("/v1/jobs", json=SPEC | {"notes": "n" * 9_000, "tags": ["wide"]}).json()["id"] for _ in "12345"
    ]
    found, after, sizes = [], "", []
    while after is not None:
        answer = lasting_api.get("/v1/jobs", params={"tag": "wide", "sort": "oldest", "after": after})
        page = answer.json()
        found += [job["id"] for job in page["data"]]
        sizes.append(len(page["data"]))
        assert page["has_more"] == (page["next_after"] is not None)
        after = page["next_after"]
    assert found == made
    assert max(sizes) == 2
