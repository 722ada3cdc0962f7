"""What was done is on record: by whom, with which key, in which request; and it outlives what it was done to."""

from typing import Any

import httpx2
import pytest

from models.status import RunStatus
from tests.api.fake_worker import FakeWorker
from tests.api.specs import spec
from tests.datasets import passengers
from tests.servers import http_client


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    return sqlite_database_url


def told(api: httpx2.Client, job: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = api.get(f"/v1/jobs/{job}/events", params={"sort": "oldest"}).json()["data"]
    return events


def test_a_jobs_whole_life_is_told_in_order(api: httpx2.Client, worker: FakeWorker) -> None:
    worker.arrive()
    job = api.post("/v1/jobs", json=spec(evaluation={"kind": "holdout", "test": 0.2})).json()["id"]
    api.patch(f"/v1/jobs/{job}", json={"name": "renamed", "tags": ["a"]})
    api.post(f"/v1/jobs/{job}/pause")
    api.post(f"/v1/jobs/{job}/resume")
    api.post(f"/v1/jobs/{job}/cancel")
    api.post(f"/v1/jobs/{job}/retry")
    for run in worker.claim():
        run.finish(RunStatus.SUCCEEDED)
    api.patch(f"/v1/jobs/{job}", json={"budget": {"steps": 200}})
    for run in worker.claim():
        run.finish(RunStatus.SUCCEEDED)
    api.post(f"/v1/jobs/{job}/analyses", json="hessian")
    api.post(f"/v1/jobs/{job}/test-evaluation", json={"reason": "the paper"})
    assert api.delete(f"/v1/jobs/{job}").status_code == 204
    assert [event["action"] for event in told(api, job)] == [
        "submitted",
        "relabelled",
        "paused",
        "resumed",
        "cancelled",
        "retried",
        "extended",
        "analysed",
        "test_opened",
        "deleted",
    ]
    relabelled, extended = told(api, job)[1], told(api, job)[6]
    assert relabelled["detail"] == {"changed": {"name": "renamed", "tags": ["a"]}}
    assert (extended["detail"]["before"]["steps"], extended["detail"]["budget"]["steps"]) == (100, 200)
    assert told(api, job)[8]["detail"]["reason"] == "the paper"


def test_an_event_names_the_owner_the_key_and_the_request(api: httpx2.Client) -> None:
    key = api.post("/v1/keys", json={"owner": "ada"}).json()
    with http_client(str(api.base_url), key=key["key"]) as ada:
        answer = ada.post("/v1/jobs", json=spec(), headers={"X-Request-ID": "from-a-notebook"})
        job = answer.json()["id"]
        api.post(f"/v1/jobs/{job}/cancel")
        submitted, cancelled = told(ada, job)
    assert (submitted["actor"], submitted["owner"], submitted["key_id"]) == ("ada", "ada", key["id"])
    assert submitted["request_id"] == "from-a-notebook"
    assert (cancelled["actor"], cancelled["owner"], cancelled["key_id"]) == ("admin", "ada", "settings")


def test_what_was_refused_is_no_event(api: httpx2.Client, worker: FakeWorker) -> None:
    job = api.post("/v1/jobs", json=spec()).json()["id"]
    assert api.delete(f"/v1/jobs/{job}").status_code == 409
    assert api.post(f"/v1/jobs/{job}/retry").status_code == 409
    assert api.post("/v1/jobs", json=spec(), headers={"Idempotency-Key": "k"}).status_code == 202
    assert api.post("/v1/jobs", json=spec(), headers={"Idempotency-Key": "k"}).status_code == 202
    assert [event["action"] for event in told(api, job)] == ["submitted"]
    assert len(api.get("/v1/events", params={"action": "submitted"}).json()["data"]) == 2


def test_sweeps_data_sets_keys_and_the_house_have_events_too(api: httpx2.Client) -> None:
    sweep = api.post("/v1/sweeps", json={"base": spec(), "grid": {"batch_size": [8, 16]}}).json()
    api.post(f"/v1/sweeps/{sweep['id']}/cancel")
    dataset = api.post("/v1/datasets", params={"name": "passengers"}, content=passengers()).json()["id"]
    api.delete(f"/v1/datasets/{dataset}")
    key = api.post("/v1/keys", json={"owner": "ada"}).json()["id"]
    api.post(f"/v1/keys/{key}/rotate")
    api.delete(f"/v1/keys/{key}")
    api.post("/v1/housekeeping")
    api.post("/v1/housekeeping", params={"dry_run": True})

    def actions(subject: str) -> list[str]:
        found = api.get("/v1/events", params={"subject": subject, "sort": "oldest"}).json()["data"]
        return [event["action"] for event in found]

    assert actions(sweep["id"]) == ["submitted", "cancelled"]
    jobs = api.get("/v1/jobs", params={"sweep": sweep["id"]}).json()["data"]
    assert [actions(job["id"]) for job in jobs] == [["submitted", "cancelled"]] * 2
    assert actions(dataset) == ["uploaded", "deleted"]
    assert actions(key) == ["created", "rotated", "revoked"]
    assert actions("service") == ["house_kept"]


def test_events_come_page_by_page(api: httpx2.Client) -> None:
    for _ in range(5):
        api.post("/v1/jobs", json=spec())
    pages, after = [], ""
    while after is not None:
        page = api.get("/v1/events", params={"limit": 2, "after": after}).json()
        pages.append([event["id"] for event in page["data"]])
        after = page["next_after"]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len({one for page in pages for one in page}) == 5


def test_a_job_that_never_was_has_no_events(api: httpx2.Client) -> None:
    assert api.get("/v1/jobs/job_0/events").status_code == 404
