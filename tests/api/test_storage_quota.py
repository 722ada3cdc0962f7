"""The storage quota: what counts towards it, what is refused and when, and what frees it."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from models import shares
from models.database import Database
from models.settings import Settings
from models.spec.job import JobSpec
from models.spec.plan import plan
from models.spec.run_files import run_bytes
from models.status import RunStatus
from models.storage import Storage
from models.tables import Artifact, Dataset, new_id, now
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.quotas.limited import limited, refused
from tests.api.specs import spec
from tests.models.outages import eventually
from tests.models.transactions import commit

ROWS = b"x,y\n" + b"".join(b"%d,%d\n" % (number, 2 * number) for number in range(20))
"""Two columns of 20 rows: 128 bytes of header and 320 of numbers in storage."""
STORED = 128 + 2 * 20 * 8

Usage = dict[str, Any]


def usage(client: httpx2.Client) -> Usage:
    answer = client.get("/v1/usage")
    assert answer.status_code == 200, answer.text
    found: Usage = answer.json()
    return found


def files(settings: Settings) -> dict[str, int]:
    return {file.key: file.size for file in Storage(settings.storage_url).list("datasets")}


# ── data sets ────────────────────────────────────────────────────────────────────────────────────


def test_a_data_set_counts_with_its_size_in_storage_and_too_large_a_one_is_never_stored(settings: Settings) -> None:
    with limited(settings, max_stored_bytes=1_000_000) as (api,):
        small, large = (parquet(rows) for rows in (50_000, 150_000))
        assert len(large) < 20_000
        detail = refused(api.ada.post("/v1/datasets", content=large), "over_quota")
        assert "1,200,128 bytes" in detail
        assert files(settings) == {}
        stored = api.ada.post("/v1/datasets", content=small).json()
        assert stored["stored_bytes"] == sum(files(settings).values()) == 400_128
        assert api.ada.get("/v1/datasets").json()["data"][0]["stored_bytes"] == 400_128
        assert usage(api.ada)["stored_bytes"] == {
            "datasets": 400_128,
            "artifacts": 0,
            "checkpoints": 0,
            "total": 400_128,
        }
        assert api.admin.post("/v1/datasets", content=large).status_code == 201


def parquet(rows: int) -> bytes:
    """A column of text, as a dictionary and runs of one number: a few kilobytes for any number of rows."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["no", "yes"]))
    file = io.BytesIO()
    pq.write_table(pa.table({"answer": column}), file)
    return file.getvalue()


def test_uploads_of_an_owner_take_so_many_bytes_together(settings: Settings) -> None:
    with limited(settings, max_stored_bytes=STORED) as (api,):
        stored = api.ada.post("/v1/datasets", content=ROWS)
        assert stored.status_code == 201
        assert api.ada.post("/v1/datasets", content=ROWS).status_code == 200, "the same bytes take nothing"
        refused(api.ada.post("/v1/datasets", content=ROWS + b"7,7\n"), "over_quota")
        assert api.ada.delete(f"/v1/datasets/{stored.json()['id']}").status_code == 204
        assert usage(api.ada)["stored_bytes"]["total"] == 0
        assert api.ada.post("/v1/datasets", content=ROWS).status_code == 201


def test_of_two_uploads_at_once_the_later_is_refused_and_leaves_no_file(settings: Settings, database: Database) -> None:
    other = {"id": "dataset_other", "name": "other", "stored_bytes": 1}
    with limited(settings, max_stored_bytes=STORED) as (api,):
        with stored_in_between(database, settings, api.ada, lambda _: other) as answer:
            refused(answer, "over_quota")
        assert files(settings) == {}
        assert [one["id"] for one in api.ada.get("/v1/datasets").json()["data"]] == ["dataset_other"]


def test_of_two_uploads_of_the_same_bytes_at_once_the_later_keeps_the_files_of_the_earlier(
    settings: Settings, database: Database
) -> None:
    def equal(dataset_id: str) -> dict[str, Any]:
        return {"id": dataset_id, "name": "equal", "stored_bytes": STORED}

    with limited(settings, max_stored_bytes=STORED) as (api,):
        with stored_in_between(database, settings, api.ada, equal) as answer:
            assert answer.json()["name"] == "equal"
        assert len(files(settings)) == 1


@contextmanager
def stored_in_between(
    database: Database, settings: Settings, client: httpx2.Client, other: Callable[[str], dict[str, Any]]
) -> Iterator[httpx2.Response]:
    """The answer to an upload that finds another data set stored between its files and its row."""
    commit(database, shares.enrol, "ada")
    usage(client)  # The use of the key is on record then, which SQLite could not write below.
    with ThreadPoolExecutor(1) as thread:
        with database.write() as session:
            shares.hold(session, "ada")
            sent: Future[httpx2.Response] = thread.submit(client.post, "/v1/datasets", content=ROWS)
            eventually(lambda: files(settings), "the files are stored")
            (dataset_id,) = {key.split("/")[1] for key in files(settings)}
            session.add(dataset(**other(dataset_id)))
        yield sent.result()


def dataset(**facts: Any) -> Dataset:
    """A row of Ada's."""
    usual = {"format": "csv", "sha256": "0" * 64, "options": {}, "size": 1, "rows": 1, "description": {}, "preview": {}}
    return Dataset(owner="ada", created_at=now(), **usual | facts)


# ── artifacts and checkpoints ────────────────────────────────────────────────────────────────────


def ended(client: httpx2.Client, worker: FakeWorker, database: Database, size: int) -> tuple[str, FakeRun]:
    """A job of one run that succeeded, with weights and a checkpoint of so many bytes each."""
    job: str = client.post("/v1/jobs", json=spec()).json()["id"]
    (run,) = worker.claim()
    run.checkpoint(99, size=size)
    commit(database, lambda session: session.add(weights(run, size)))
    run.finish()
    return job, run


def weights(run: FakeRun, size: int) -> Artifact:
    return Artifact(
        id=new_id("artifact"),
        run_id=run.claimed.id,
        name="weights.safetensors",
        media_type="application/octet-stream",
        size=size,
        sha256="0" * 64,
        storage_key=f"runs/{run.claimed.id}/1/weights.safetensors",
        created_at=now(),
    )


def test_artifacts_and_checkpoints_count_until_they_are_deleted(
    settings: Settings, worker: FakeWorker, database: Database
) -> None:
    with limited(settings, max_stored_bytes=10**6) as (api,):
        worker.arrive()
        job, _ = ended(api.ada, worker, database, 500_000)
        assert usage(api.ada)["stored_bytes"] == {
            "datasets": 0,
            "artifacts": 500_000,
            "checkpoints": 500_000,
            "total": 10**6,
        }
        assert usage(api.bob)["stored_bytes"]["total"] == 0
        assert "fill the storage quota" in refused(api.ada.post("/v1/datasets", content=ROWS), "over_quota")
        assert api.ada.delete(f"/v1/jobs/{job}").status_code == 204
        assert usage(api.ada)["stored_bytes"]["total"] == 0
        assert api.ada.post("/v1/datasets", content=ROWS).status_code == 201


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────


def run_size() -> int:
    """The bytes that a run of the tests' usual job is expected to leave."""
    job = JobSpec.model_validate(spec())
    return run_bytes(job, plan(job))


def test_nothing_is_queued_whose_files_would_exceed_the_quota(
    settings: Settings, worker: FakeWorker, database: Database
) -> None:
    size = run_size()
    with limited(settings, max_stored_bytes=4 * size) as (api,):
        worker.arrive()
        succeeded, _ = ended(api.ada, worker, database, size // 2)
        failed = api.ada.post("/v1/jobs", json=spec()).json()["id"]
        (run,) = worker.claim()
        run.finish(RunStatus.FAILED)
        sweep = api.ada.post("/v1/sweeps", json={"base": spec(), "grid": {"batch_size": [8, 16]}}).json()
        (paused, _) = api.ada.get("/v1/jobs", params={"sweep": sweep["id"]}).json()["data"]
        assert api.ada.post(f"/v1/sweeps/{sweep['id']}/pause").status_code == 202
        assert usage(api.ada)["expected_bytes"] == 2 * size, "paused runs are unfinished"
        assert f"add {4 * size:,}" in refused(api.ada.post("/v1/jobs", json=spec(seeds=2)), "over_quota")
        assert api.ada.post("/v1/jobs", json=spec()).status_code == 202
        commit(database, lambda session: session.add(dataset(id="dataset_1", name="one byte", stored_bytes=1)))
        for method, path, body in (
            ("POST", "/v1/jobs", spec()),
            ("POST", "/v1/sweeps", {"base": spec(), "grid": {"batch_size": [8, 16]}}),
            ("POST", f"/v1/jobs/{failed}/retry", None),
            ("POST", f"/v1/jobs/{paused['id']}/resume", None),
            ("POST", f"/v1/sweeps/{sweep['id']}/resume", None),
            ("PATCH", f"/v1/jobs/{succeeded}", {"budget": {"steps": 200}}),
        ):
            detail = refused(api.ada.request(method, path, json=body), "over_quota")
            assert f"quota of {4 * size:,}: nothing was queued" in detail
        assert usage(api.ada)["queued_runs"] == 1
        assert len(api.ada.get("/v1/jobs").json()["data"]) == 5
        assert api.bob.post("/v1/jobs", json=spec(seeds=4)).status_code == 202
        assert api.admin.post("/v1/jobs", json=spec(seeds=9)).status_code == 202
        assert api.ada.post(f"/v1/sweeps/{sweep['id']}/cancel").status_code == 202


def test_an_upload_leaves_room_for_what_unfinished_runs_are_expected_to_add(settings_on_sqlite: Settings) -> None:
    with limited(settings_on_sqlite, max_stored_bytes=run_size() + STORED) as (api,):
        job = api.ada.post("/v1/jobs", json=spec()).json()["id"]
        larger = ROWS + b"7,7\n"
        assert f"{STORED:,} are left" in refused(api.ada.post("/v1/datasets", content=larger), "over_quota")
        assert api.ada.post(f"/v1/jobs/{job}/cancel").status_code == 202
        assert api.ada.post("/v1/datasets", content=larger).status_code == 201


# ── what the API shows ───────────────────────────────────────────────────────────────────────────


def test_usage_is_shown_for_the_owner_of_the_key_and_for_any_owner_to_admins(settings_on_sqlite: Settings) -> None:
    with limited(settings_on_sqlite, max_stored_bytes=10**6, max_queued_runs=7, max_running_runs=3) as (api,):
        assert api.ada.post("/v1/jobs", json=spec(seeds=2)).status_code == 202
        found = {
            "owner": "ada",
            "stored_bytes": {"datasets": 0, "artifacts": 0, "checkpoints": 0, "total": 0},
            "expected_bytes": 2 * run_size(),
            "max_stored_bytes": 10**6,
            "queued_runs": 2,
            "max_queued_runs": 7,
            "running_runs": 0,
            "max_running_runs": 3,
        }
        assert usage(api.ada) == found
        assert api.ada.get("/v1/usage", params={"owner": "ada"}).json() == found
        assert api.admin.get("/v1/usage", params={"owner": "ada"}).json() == found
        for owner in ("ada", "nobody"):
            assert api.bob.get("/v1/usage", params={"owner": owner}).status_code == 403
        own = usage(api.admin)
        assert (own["owner"], own["queued_runs"]) == ("admin", 0)
        assert (own["max_stored_bytes"], own["max_queued_runs"], own["max_running_runs"]) == (None, None, 3)
