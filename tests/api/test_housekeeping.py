"""What has had its time goes, what nobody names goes, and everything else stays."""

import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, select

from api.app import create_app
from api.housekeeping import Housekeeper
from models import checkpoints
from models.checkpoints import CheckpointFile
from models.database import Database
from models.settings import Settings
from models.status import RunStatus
from models.storage import Storage, StoredFile
from models.storage_usage import StorageUsage, storage_usage
from models.tables import Artifact, Checkpoint, CheckpointRow, Dataset, MetricSegment, Run, Snapshot, new_id, now
from tests.models.outages import eventually
from tests.models.transactions import claim, commit, submit, the_run
from tests.servers import http_client, running_api

DAYS = {"final_checkpoint_days": 7.0, "history_days": 30.0, "artifact_days": 60.0}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


@pytest.fixture
def keeper(database: Database, storage: Storage, settings: Settings) -> Housekeeper:
    return Housekeeper(database, storage, settings.model_copy(update=DAYS))


def ended(database: Database, storage: Storage, days_ago: float) -> str:
    """A run that ended so long ago, with all that a run can leave; its id."""
    submit(database)
    found = claim(database)
    run = found.runs[0]
    weights, saved = f"runs/{run.id}/1/weights.safetensors", f"checkpoints/{found.cohort_id}/99.safetensors"
    for key in (weights, saved):
        storage.write(key, b"x" * 100)
    commit(database, checkpoints.point, found.cohort_id, 99, CheckpointFile(saved, 100, "0" * 64), [run.id], 2)
    with database.write() as session:
        session.add(
            Artifact(
                id=new_id("artifact"),
                run_id=run.id,
                name="weights.safetensors",
                media_type="application/octet-stream",
                size=100,
                sha256="0" * 64,
                storage_key=weights,
                created_at=now(),
            )
        )
        session.add(MetricSegment(run_id=run.id, attempt=1, first_number=0, last_number=0, payload=b"p" * 10))
        session.add(Snapshot(run_id=run.id, step=1, content={}))
        row = session.get_one(Run, run.id)
        row.status, row.finished_at = RunStatus.SUCCEEDED, now() - timedelta(days=days_ago)
    return run.id


def left(database: Database, storage: Storage, run_id: str) -> list[str]:
    """What there still is of a run."""
    with database.read() as session:
        found = [
            name
            for name, column in (("points", MetricSegment.run_id), ("snapshots", Snapshot.run_id))
            if session.scalar(select(column).where(column == run_id))
        ]
        keys = session.scalars(select(Artifact.storage_key).where(Artifact.run_id == run_id)).all()
    names = {file.key for file in storage.list("runs")}
    found += ["weights"] if keys and names.issuperset(keys) else []
    return found + (["checkpoint"] if the_run(database, run_id).resume_step else [])


@pytest.mark.parametrize(
    ("days_ago", "stays"),
    [
        (1, ["points", "snapshots", "weights", "checkpoint"]),
        (8, ["points", "snapshots", "weights"]),
        (31, ["weights"]),
        (61, []),
    ],
)
def test_what_an_ended_run_left_is_kept_for_as_long_as_the_settings_say(
    database: Database, storage: Storage, keeper: Housekeeper, days_ago: float, stays: list[str]
) -> None:
    run_id = ended(database, storage, days_ago)
    rehearsed = keeper.tidy(rehearses=True)
    assert left(database, storage, run_id) == ["points", "snapshots", "weights", "checkpoint"]
    done = keeper.tidy(rehearses=False)
    assert left(database, storage, run_id) == stays
    assert rehearsed.model_copy(update={"dry_run": False}) == done
    gone = {"checkpoint": done.checkpoints, "points": done.histories, "weights": done.artifacts}
    assert {name for name, removed in gone.items() if removed.count} == set(gone) - set(stays)
    assert len(list(storage.list("checkpoints"))) == ("checkpoint" in stays)
    assert len(list(storage.list("runs"))) == ("weights" in stays)
    again = keeper.tidy(rehearses=False)
    assert (again.checkpoints.count, again.histories.count, again.artifacts.count) == (0, 0, 0)


@pytest.mark.parametrize(("days_ago", "artifacts", "saved"), [(1, 100, 100), (8, 100, 0), (61, 0, 0)])
def test_what_is_removed_no_longer_counts_towards_the_quota(
    database: Database, storage: Storage, keeper: Housekeeper, days_ago: float, artifacts: int, saved: int
) -> None:
    ended(database, storage, days_ago)
    keeper.tidy(rehearses=False)
    with database.read() as session:
        assert storage_usage(session, "admin") == StorageUsage(0, artifacts, saved, expected=0)


def test_a_checkpoint_that_a_run_under_way_shares_with_one_long_ended_stays(
    database: Database, storage: Storage, keeper: Housekeeper
) -> None:
    submit(database, seeds=2)
    found = claim(database)
    key = f"checkpoints/{found.cohort_id}/50.safetensors"
    storage.write(key, b"x" * 100)
    ids = [run.id for run in found.runs]
    commit(database, checkpoints.point, found.cohort_id, 50, CheckpointFile(key, 100, "0" * 64), ids, 2)
    with database.write() as session:
        row = session.get_one(Run, ids[0])
        row.status, row.finished_at = RunStatus.SUCCEEDED, now() - timedelta(days=100)
    assert keeper.tidy(rehearses=False).checkpoints.count == 0
    assert [file.key for file in storage.list("checkpoints")] == [key]
    assert [the_run(database, run_id).resume_step for run_id in ids] == [0, 50]


def test_old_files_that_nothing_names_go_and_young_ones_stay(
    database: Database, storage: Storage, keeper: Housekeeper, tmp_path: Path
) -> None:
    run_id = ended(database, storage, 1)
    old = ["runs/run_0/1/weights.safetensors", "checkpoints/cohort_0/5.safetensors", "datasets/dataset_0/rows.npy"]
    old += [f"runs/{run_id}/1/weights.safetensors.ab12.part", "datasets/dataset_1/rows.npy.ab12.part"]
    with database.write() as session:
        facts: dict[str, Any] = {
            "name": "heights",
            "format": "csv",
            "known": None,
            "sha256": "0" * 64,
            "options": {},
            "size": 5,
            "stored_bytes": 5,
        }
        session.add(Dataset(id="dataset_1", owner="ada", rows=1, description={}, preview={}, created_at=now(), **facts))
    storage.write("datasets/dataset_1/rows.npy", b"12345")
    young = "runs/run_1/1/weights.safetensors"
    for key in [*old, young]:
        storage.write(key, b"12345")
    for path in (tmp_path / "storage").rglob("*"):
        if path.is_file() and young not in str(path):
            os.utime(path, (time.time() - 48 * 3600,) * 2)
    report = keeper.tidy(rehearses=True)
    assert (sorted(report.orphan_keys), report.orphans.count, report.orphans.bytes) == (sorted(old), 5, 25)
    keeper.tidy(rehearses=False)
    assert left(database, storage, run_id) == ["points", "snapshots", "weights", "checkpoint"]
    assert [file.key for file in storage.list("datasets")] == ["datasets/dataset_1/rows.npy"]
    assert {file.key for file in storage.list("runs")} == {young, f"runs/{run_id}/1/weights.safetensors"}
    assert keeper.tidy(rehearses=True).orphans.count == 0


def test_a_checkpoint_whose_file_is_gone_or_cut_short_is_told(
    database: Database, storage: Storage, keeper: Housekeeper, tmp_path: Path
) -> None:
    ended(database, storage, 1)
    assert keeper.tidy(rehearses=True).damaged == []
    (path,) = (tmp_path / "storage" / "checkpoints").rglob("*.safetensors")
    path.write_bytes(b"x" * 99)
    with database.read() as session:
        key = session.scalars(select(Checkpoint.storage_key)).one()
    assert keeper.tidy(rehearses=True).damaged == [key]
    path.unlink()
    assert keeper.tidy(rehearses=True).damaged == [key]


def grow_old(tmp_path: Path) -> None:
    """All that is stored was written two days ago."""
    for path in (tmp_path / "storage").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 48 * 3600,) * 2)


def test_many_runs_are_tidied_a_few_at_a_time(
    database: Database, storage: Storage, keeper: Housekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.housekeeping.RUNS_AT_ONCE", 2)
    monkeypatch.setattr("api.housekeeping.KEYS_AT_ONCE", 2)
    ids = [ended(database, storage, 100) for _ in range(5)]
    report = keeper.tidy(rehearses=False)
    assert (report.checkpoints.count, report.histories.count, report.artifacts.count) == (5, 5, 5)
    assert (report.checkpoints.bytes, report.histories.bytes, report.artifacts.bytes) == (500, 50, 500)
    assert [left(database, storage, run_id) for run_id in ids] == [[]] * 5
    assert list(storage.list("runs")) == list(storage.list("checkpoints")) == []


def test_nothing_of_a_run_that_was_queued_again_goes(database: Database, storage: Storage, settings: Settings) -> None:
    keeper = Housekeeper(database, storage, settings.model_copy(update=DAYS))
    run_id = ended(database, storage, 100)
    with database.write() as session:
        # As after an extension, but with the day of its end still standing there.
        session.get_one(Run, run_id).status = RunStatus.QUEUED
    report = keeper.tidy(rehearses=False)
    assert (report.checkpoints.count, report.histories.count, report.artifacts.count) == (0, 0, 0)
    assert left(database, storage, run_id) == ["points", "snapshots", "weights", "checkpoint"]


def test_histories_and_artifacts_are_kept_for_good_unless_days_are_set(
    database: Database, storage: Storage, settings: Settings
) -> None:
    run_id = ended(database, storage, 10_000)
    Housekeeper(database, storage, settings).tidy(rehearses=False)
    assert left(database, storage, run_id) == ["points", "snapshots", "weights"]


def test_a_checkpoint_from_which_no_run_goes_on_is_removed(
    database: Database, storage: Storage, keeper: Housekeeper
) -> None:
    ended(database, storage, 1)
    with database.write() as session:
        session.execute(delete(CheckpointRow))
    assert keeper.tidy(rehearses=True).checkpoints.count == keeper.tidy(rehearses=False).checkpoints.count == 1
    assert list(storage.list("checkpoints")) == []
    assert keeper.tidy(rehearses=False).checkpoints.count == 0


class Watched(Storage):
    """A folder that something happens to whenever it is asked."""

    def happens(self, what: str) -> None:
        """Nothing does."""

    def list(self, prefix: str) -> Iterator[StoredFile]:
        found = [*super().list(prefix)]
        self.happens(f"list {prefix}")
        yield from found

    def delete(self, keys: Sequence[str]) -> None:
        self.happens("delete")
        super().delete(keys)


def test_no_transaction_is_open_while_storage_is_asked(database: Database, settings: Settings, tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    class Asked(Watched):
        def happens(self, what: str) -> None:
            # One connection at a time is in use, and it belongs to whoever has a transaction open.
            seen.append((what, database.engine.pool.checkedout()))  # type: ignore[attr-defined]

    storage = Asked(str(tmp_path / "storage"))
    ended(database, storage, 100)
    storage.write("datasets/dataset_0/rows.npy", b"x")
    grow_old(tmp_path)
    Housekeeper(database, storage, settings.model_copy(update=DAYS)).tidy(rehearses=False)
    assert {what.split()[0] for what, _ in seen} == {"list", "delete"}
    assert {connections for _, connections in seen} == {0}


def test_a_file_that_is_named_while_orphans_are_looked_for_is_none(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    """However old: a worker may have tried for long to write the row."""
    key = "checkpoints/cohort_slow/5.safetensors"

    class Slow(Watched):
        def happens(self, what: str) -> None:
            if what == "list checkpoints" and not named:
                named.append(True)
                with database.write() as session:
                    facts = {"id": "checkpoint_slow", "step": 5, "size": 1, "sha256": "0" * 64, "created_at": now()}
                    session.add(Checkpoint(owner="ada", storage_key=key, **facts))

    named: list[bool] = []
    storage = Slow(str(tmp_path / "storage"))
    storage.write(key, b"x")
    grow_old(tmp_path)
    report = Housekeeper(database, storage, settings).tidy(rehearses=True)
    assert named
    assert report.orphan_keys == []


def test_a_forgotten_upload_that_comes_again_just_now_stays(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    key = "datasets/dataset_0/rows.npy"

    class Lucky(Watched):
        def happens(self, what: str) -> None:
            looks.append(what)
            # They are looked through for orphans, before the data sets, and for damage, after them.
            if looks.count("list checkpoints") == 2:
                self.write(key, b"the same again")

    looks: list[str] = []
    storage = Lucky(str(tmp_path / "storage"))
    storage.write(key, b"the same again")
    storage.write("datasets/dataset_1/rows.npy", b"x")
    grow_old(tmp_path)
    report = Housekeeper(database, storage, settings).tidy(rehearses=False)
    assert sorted(report.orphan_keys) == [key, "datasets/dataset_1/rows.npy"]
    assert [file.key for file in storage.list("datasets")] == [key]


def test_what_stops_half_way_is_found_the_next_time(database: Database, settings: Settings, tmp_path: Path) -> None:
    class Broken(Watched):
        def happens(self, what: str) -> None:
            if what == "delete":
                raise OSError("away")

    run_id = ended(database, Storage(str(tmp_path / "storage")), 100)
    grow_old(tmp_path)
    ours = settings.model_copy(update=DAYS)
    with pytest.raises(OSError, match="away"):
        Housekeeper(database, Broken(str(tmp_path / "storage")), ours).tidy(rehearses=False)
    storage = Storage(str(tmp_path / "storage"))
    report = Housekeeper(database, storage, ours).tidy(rehearses=False)
    assert report.orphans.count == 1
    assert left(database, storage, run_id) == []
    Housekeeper(database, storage, ours).tidy(rehearses=False)
    assert list(storage.list("runs")) == list(storage.list("checkpoints")) == []


def test_it_is_asked_for_over_http_and_a_rehearsal_changes_nothing(
    api: httpx2.Client, database: Database, storage: Storage, tmp_path: Path
) -> None:
    run_id = ended(database, storage, 8)
    storage.write("runs/run_0/1/weights.safetensors", b"12345")
    grow_old(tmp_path)
    rehearsed = api.post("/v1/housekeeping", params={"dry_run": True}).json()
    assert left(database, storage, run_id) == ["points", "snapshots", "weights", "checkpoint"]
    done = api.post("/v1/housekeeping").json()
    assert done == rehearsed | {"dry_run": False}
    assert done["orphans"] == {"count": 1, "bytes": 5}
    assert done["checkpoints"] == {"count": 1, "bytes": 100}
    assert left(database, storage, run_id) == ["points", "snapshots", "weights"]


def test_what_lost_its_history_and_its_files_is_still_told_of(
    database: Database, storage: Storage, settings: Settings
) -> None:
    run_id = ended(database, storage, 100)
    with (
        running_api(create_app(settings.model_copy(update=DAYS))) as url,
        http_client(url, timeout=30) as api,
    ):
        assert api.post("/v1/housekeeping").json()["histories"]["count"] == 1
        job_id = the_run(database, run_id).job_id
        for path in (f"/v1/runs/{run_id}", f"/v1/runs/{run_id}/metrics", f"/v1/runs/{run_id}/diagnosis"):
            assert api.get(path).status_code == 200, path
        for path in ("", "/metrics", "/results", "/diagnosis"):
            assert api.get(f"/v1/jobs/{job_id}{path}").status_code == 200, path
        assert api.get("/v1/comparisons", params={"job": job_id}).status_code < 500


def test_the_service_tidies_by_itself_and_goes_on_after_a_failure(
    database: Database, storage: Storage, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.app.FIRST_HOUSEKEEPING_SECONDS", 0.05)
    monkeypatch.setattr("api.app.HOUSEKEEPING_SECONDS", 0.05)
    (tmp_path / "storage").write_bytes(b"no folder")
    with running_api(create_app(settings)):
        time.sleep(0.5)
        (tmp_path / "storage").unlink()
        storage.write("runs/run_0/1/weights.safetensors", b"12345")
        grow_old(tmp_path)
        eventually(lambda: not list(storage.list("runs")), "the orphan goes")
