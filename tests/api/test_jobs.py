from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import event, select, update

from api.job_answers import job_answers
from models.answers import Job, Page, PlannedJob, Run
from models.database import Database
from models.settings import Settings
from models.status import RunStatus
from models.storage import Storage
from models.tables import Artifact, new_id, now
from models.tables import Job as JobRow
from models.tables import Run as RunRow
from tests.api.fake_worker import FakeWorker
from tests.api.specs import SPEC, spec


def submit(api: httpx2.Client, **changes: Any) -> Job:
    answer = api.post("/v1/jobs", json=spec(**changes))
    assert answer.status_code == 202, answer.text
    return Job.model_validate(answer.json())


def listed(api: httpx2.Client, **parameters: Any) -> list[str]:
    answer = api.get("/v1/jobs", params=parameters)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["data"]]


def finish(worker: FakeWorker, status: RunStatus = RunStatus.SUCCEEDED) -> None:
    for run in worker.claim():
        run.finish(status)


def test_a_submitted_job_is_accepted_with_every_default_spelled_out_and_lies_where_location_says(
    api: httpx2.Client,
) -> None:
    answer = api.post("/v1/jobs", json=spec(name="adam", seeds=3))
    job = Job.model_validate(answer.json())
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{job.id}"
    assert job.spec.network.kind == "mlp"
    assert job.status is RunStatus.QUEUED
    assert job.runs_by_status == {RunStatus.QUEUED: 3}
    assert (job.progress.completed, job.progress.total) == (0, 300)
    assert job.actions == ["cancel", "pause"]
    assert Job.model_validate(api.get(answer.headers["Location"]).json()).id == job.id


def test_a_job_without_any_worker_says_so(api: httpx2.Client, worker: FakeWorker) -> None:
    assert "no worker is running" in submit(api).warnings[0]
    worker.arrive("cpu")
    assert submit(api).warnings == []
    on_cuda = submit(api, device="cuda")
    assert "DESCENT_WORKER_DEVICE=cuda" in on_cuda.warnings[0]
    assert "DESCENT_WORKER_DEVICE=cuda" in api.get("/v1/queue").json()["warnings"][0]
    planned = PlannedJob.model_validate(api.post("/v1/jobs/validate", json=spec(device="cuda")).json())
    assert "DESCENT_WORKER_DEVICE=cuda" in planned.warnings[0]


def test_validation_counts_and_stores_nothing(api: httpx2.Client) -> None:
    planned = PlannedJob.model_validate(api.post("/v1/jobs/validate", json=spec(seeds=[1, 5])).json())
    assert (planned.runs, planned.steps, planned.training_rows) == (2, 100, 600)
    assert planned.parameters == 64 * 2 + 65 * 64 + 65
    assert listed(api) == []


def test_an_equal_job_that_succeeded_is_handed_back_when_asked_for(api: httpx2.Client, worker: FakeWorker) -> None:
    first = submit(api)
    again = api.post("/v1/jobs?on_duplicate=return", json=SPEC)
    assert again.status_code == 202, "the first has not succeeded yet"
    api.post(f"/v1/jobs/{again.json()['id']}/cancel")
    finish(worker)
    returned = api.post("/v1/jobs?on_duplicate=return", json=spec(name="other label, same bits"))
    assert returned.status_code == 200
    assert returned.json()["id"] == first.id
    assert submit(api).id != first.id


def test_pages_follow_each_other_without_gap_or_repetition_while_jobs_are_added(api: httpx2.Client) -> None:
    ids = [submit(api).id for _ in range(5)]
    first = Page[Job].model_validate(api.get("/v1/jobs", params={"limit": 2}).json())
    assert [job.id for job in first.data] == ids[:2:-1]
    assert first.has_more
    submit(api)
    second = Page[Job].model_validate(api.get("/v1/jobs", params={"limit": 2, "after": first.next_after}).json())
    third = Page[Job].model_validate(api.get("/v1/jobs", params={"limit": 2, "after": second.next_after}).json())
    assert [job.id for job in [*second.data, *third.data]] == ids[2::-1]
    assert (third.has_more, third.next_after) == (False, None)
    assert listed(api, sort="oldest")[:5] == ids
    oldest = api.get("/v1/jobs", params={"limit": 3, "sort": "oldest"}).json()
    assert listed(api, sort="oldest", after=oldest["next_after"])[:2] == ids[3:]


def test_a_cursor_that_was_tampered_with_is_refused(api: httpx2.Client) -> None:
    submit(api), submit(api)
    cursor = api.get("/v1/jobs", params={"limit": 1}).json()["next_after"]
    for forged in (cursor[:-1] + ("A" if cursor[-1] != "A" else "B"), "x", cursor[4:], "é"):
        answer = api.get("/v1/jobs", params={"after": forged})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "?after"


def test_the_list_is_filtered_by_experiment_tag_hash_and_age(api: httpx2.Client) -> None:
    plain = submit(api)
    tagged = submit(api, tags=["lecture", 'it\'s "quoted" %'], experiment="one/two", budget={"steps": 50})
    assert listed(api, experiment="one/two") == [tagged.id]
    assert listed(api, tag="lecture") == [tagged.id]
    assert listed(api, tag='it\'s "quoted" %') == [tagged.id]
    assert listed(api, tag="lect") == []
    assert listed(api, spec_hash=plain.spec_hash) == [plain.id]
    assert listed(api, created_after=plain.created_at.isoformat()) == [tagged.id]
    elsewhere = (plain.created_at - timedelta(seconds=5)).astimezone(UTC).replace(tzinfo=None)
    assert listed(api, created_after=elsewhere.isoformat()) == [tagged.id, plain.id]
    assert listed(api, created_after=datetime(2100, 1, 1, tzinfo=UTC).isoformat()) == []


def test_the_list_is_filtered_by_the_status_that_each_job_shows(api: httpx2.Client, worker: FakeWorker) -> None:
    finish_as = {RunStatus.SUCCEEDED, RunStatus.FAILED}
    for status in sorted(finish_as):
        submit(api, seeds=2)
        finish(worker, status)
    half_failed = submit(api, seeds=2)
    one, other = worker.claim()
    one.finish(RunStatus.FAILED)
    other.finish()
    cancelled = submit(api)
    api.post(f"/v1/jobs/{cancelled.id}/cancel")
    cancelling = submit(api)
    worker.claim()
    api.post(f"/v1/jobs/{cancelling.id}/cancel")
    half_way = submit(api, seeds=2)
    worker.claim(limit=1)[0].finish()
    running = submit(api, priority=9)
    worker.claim(limit=1)
    queued = submit(api)
    shown = {job["id"]: job["status"] for job in api.get("/v1/jobs").json()["data"]}
    assert shown[half_way.id] == shown[running.id] == "running"
    assert (shown[cancelling.id], shown[cancelled.id], shown[half_failed.id]) == ("cancelling", "cancelled", "failed")
    assert shown[queued.id] == "queued"
    for status in RunStatus:
        assert set(listed(api, status=status)) == {job_id for job_id, told in shown.items() if told == status}, status


def test_labels_change_and_the_version_with_them(api: httpx2.Client) -> None:
    job = submit(api, name="before")
    changes = {"name": "after", "tags": ["new"], "notes": "why", "priority": 7}
    answer = api.patch(f"/v1/jobs/{job.id}", json=changes, headers={"If-Match": '"1"'})
    changed = Job.model_validate(answer.json())
    assert (changed.name, changed.tags, changed.notes, changed.priority, changed.version) == (
        "after",
        ["new"],
        "why",
        7,
        2,
    )
    assert answer.headers["ETag"] == '"2"' == api.get(f"/v1/jobs/{job.id}").headers["ETag"]
    assert changed.spec.name == "after"
    assert changed.spec_hash == job.spec_hash


def test_labels_do_not_change_under_an_etag_of_another_version(api: httpx2.Client) -> None:
    job = submit(api, name="mine")
    for stale in ('"2"', 'W/"1"', "nonsense"):
        answer = api.patch(f"/v1/jobs/{job.id}", json={"name": "yours"}, headers={"If-Match": stale})
        assert answer.status_code == 412
        assert answer.headers["ETag"] == '"1"'
    assert api.patch(f"/v1/jobs/{job.id}", json={"name": "ours"}, headers={"If-Match": "*"}).status_code == 200


def test_a_spec_cannot_be_changed_by_patch(api: httpx2.Client) -> None:
    job = submit(api)
    answer = api.patch(f"/v1/jobs/{job.id}", json={"batch_size": 1, "name": None})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/batch_size", "/name"}


def test_a_higher_priority_moves_the_waiting_runs_forward(api: httpx2.Client) -> None:
    submit(api, seeds=2)
    later = submit(api, seeds=2)
    assert sorted(positions(api, later)) == [2, 3]
    api.patch(f"/v1/jobs/{later.id}", json={"priority": 5})
    assert sorted(positions(api, later)) == [0, 1]


def positions(api: httpx2.Client, job: Job) -> list[int]:
    runs = Page[Run].model_validate(api.get(f"/v1/jobs/{job.id}/runs").json()).data
    for run in runs:
        assert Run.model_validate(api.get(f"/v1/runs/{run.id}").json()).queue_position == run.queue_position
    return [run.queue_position for run in runs if run.queue_position is not None]


def test_progress_and_time_to_go_come_from_the_steps_so_far(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    job = submit(api, seeds=2)
    worker.claim()
    with database.write() as session:
        session.execute(update(RunRow).values(step=25, started_at=now() - timedelta(seconds=10)))
    told = Job.model_validate(api.get(f"/v1/jobs/{job.id}").json())
    assert (told.progress.completed, told.progress.total) == (50, 200)
    assert told.progress.eta_seconds == pytest.approx(30, abs=5)
    run = api.get(f"/v1/jobs/{job.id}/runs").json()["data"][0]
    assert run["progress"]["eta_seconds"] == pytest.approx(30, abs=5)
    assert run["queue_position"] is None


def test_cancelling_ends_what_waits_and_asks_what_trains(api: httpx2.Client, worker: FakeWorker) -> None:
    job = submit(api, seeds=2)
    worker.claim(limit=1)
    answer = api.post(f"/v1/jobs/{job.id}/cancel")
    assert answer.status_code == 202
    assert answer.json()["runs_by_status"] == {"cancelling": 1, "cancelled": 1}


def test_an_action_that_the_status_forbids_is_refused_with_the_legal_ones(
    api: httpx2.Client, worker: FakeWorker
) -> None:
    job = submit(api)
    for answer in (api.post(f"/v1/jobs/{job.id}/retry"), api.delete(f"/v1/jobs/{job.id}")):
        assert answer.status_code == 409
        assert answer.json()["legal_actions"] == ["cancel", "pause"]
    finish(worker)
    answer = api.post(f"/v1/jobs/{job.id}/cancel")
    assert (answer.status_code, answer.json()["legal_actions"]) == (409, ["extend", "delete"])


def test_a_retry_queues_the_failed_runs_again(api: httpx2.Client, worker: FakeWorker) -> None:
    job = submit(api)
    finish(worker, RunStatus.FAILED)
    answer = api.post(f"/v1/jobs/{job.id}/retry")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


def test_a_deleted_job_is_gone_with_its_runs_metrics_and_files(
    api: httpx2.Client, worker: FakeWorker, database: Database, settings: Settings
) -> None:
    job = submit(api)
    run = worker.claim()[0]
    run.report({"train_loss": ([1], [1.0])})
    run.finish()
    storage = Storage(settings.storage_url)
    storage.write("runs/weights", b"bytes")
    with database.write() as session:
        session.add(
            Artifact(
                id=new_id("artifact"),
                run_id=run.claimed.id,
                name="weights.safetensors",
                media_type="application/octet-stream",
                size=5,
                sha256="0" * 64,
                storage_key="runs/weights",
                created_at=now(),
            )
        )
    assert api.delete(f"/v1/jobs/{job.id}").status_code == 204
    for path in (f"/v1/jobs/{job.id}", f"/v1/runs/{run.claimed.id}", f"/v1/runs/{run.claimed.id}/metrics"):
        assert api.get(path).status_code == 404, path
    with pytest.raises(FileNotFoundError):
        storage.open("runs/weights")


def test_a_page_of_many_jobs_takes_no_more_queries_than_one_of_few(
    api: httpx2.Client, database: Database, settings: Settings
) -> None:
    statements: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    counts = []
    for _ in range(2):
        for _ in range(3):
            submit(api, seeds=2)
        with database.read() as session:
            jobs = session.scalars(select(JobRow)).all()
            statements.clear()
            assert len(job_answers(session, settings, jobs)) == len(jobs)
            counts.append(len(statements))
    assert counts == [2, 2]
