"""A training process that dies is noticed by its worker, with what ended it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.database import Database
from models.settings import Settings
from models.status import RunStatus, StatusReason
from models.tables import Worker, now
from tests.models.outages import eventually
from tests.models.transactions import claim, commit, runs_of, submit
from worker import lanes
from worker.lanes import LaneWatch

PROCESS = """
import sys, time
from pathlib import Path
from worker.lanes import Lane
lane = Lane(Path(sys.argv[1]), "worker_1")
lane.beat()
print("here", flush=True)
{then}
time.sleep(60)
"""


@contextmanager
def process(folder: Path, then: str = "") -> Iterator["subprocess.Popen[str]"]:
    """A training process that does nothing but what it is told."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROCESS.format(then=then), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert program.stdout is not None
    try:
        assert program.stdout.readline() == "here\n"
        yield program
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


@pytest.fixture
def held(database: Database) -> str:
    """A cohort of two, held by worker_1; the id of their job."""
    job_id = submit(database, seeds=2)
    claim(database, "worker_1")
    row = Worker(
        id="worker_1", host="here", process_id=1, device="cpu", description={}, started_at=now(), seen_at=now()
    )
    commit(database, lambda session: session.add(row))
    return job_id


Watch = Callable[..., None]


@pytest.fixture
def watch(settings: Settings, tmp_path: Path) -> Iterator[Watch]:
    """Begins to look at the processes of the test."""
    watching: list[LaneWatch] = []

    def start(silence_seconds: float = 30.0) -> None:
        watching.append(LaneWatch(tmp_path, lambda: Database(settings.database()), silence_seconds))
        watching[-1].start()

    yield start
    for one in watching:
        one.stop()


def standing(database: Database, job_id: str) -> set[tuple[RunStatus, str | None, int, int | None]]:
    return {(RunStatus(r.status), r.status_reason, r.crashes, r.most_together) for r in runs_of(database, job_id)}


def is_noticed(database: Database, job_id: str) -> None:
    eventually(
        lambda: all(run.status != RunStatus.RUNNING for run in runs_of(database, job_id)), "its death is noticed"
    )


def test_runs_of_a_process_that_was_killed_return_to_the_queue_and_that_counts(
    database: Database, watch: Watch, held: str, tmp_path: Path
) -> None:
    with process(tmp_path) as program:
        watch()
        time.sleep(3 * lanes.LOOK_SECONDS)
        assert standing(database, held) == {(RunStatus.RUNNING, None, 0, None)}
        program.kill()
        is_noticed(database, held)
    assert standing(database, held) == {(RunStatus.QUEUED, StatusReason.WORKER_LOST, 1, None)}
    with database.read() as session:
        assert session.get(Worker, "worker_1") is None
    eventually(lambda: not list(tmp_path.glob("worker_1.*")), "its files are removed")


def test_a_segmentation_fault_splits_the_cohort_and_is_named(
    database: Database, watch: Watch, held: str, tmp_path: Path
) -> None:
    watch()
    with process(tmp_path, "import ctypes; ctypes.string_at(0)"):
        is_noticed(database, held)
    assert standing(database, held) == {(RunStatus.QUEUED, StatusReason.COHORT_SPLIT, 0, 1)}
    detail = runs_of(database, held)[0].status_detail or ""
    assert "segfault" in detail
    assert "Segmentation fault" in detail


def test_a_lone_run_fails_with_what_it_did(database: Database, watch: Watch, tmp_path: Path) -> None:
    job_id = submit(database)
    claim(database, "worker_1")
    watch()
    with process(tmp_path, "import os; os.abort()"):
        is_noticed(database, job_id)
    assert standing(database, job_id) == {(RunStatus.FAILED, StatusReason.SEGFAULT, 0, None)}
    assert "Aborted" in (runs_of(database, job_id)[0].status_detail or "")


def test_a_process_whose_beat_stands_still_is_ended(
    database: Database, watch: Watch, held: str, tmp_path: Path
) -> None:
    with process(tmp_path) as program:
        os.kill(program.pid, signal.SIGSTOP)
        watch(silence_seconds=0.5)
        program.wait(timeout=10)
        is_noticed(database, held)
    assert standing(database, held) == {(RunStatus.QUEUED, StatusReason.COHORT_SPLIT, 0, 1)}
    assert "hung" in (runs_of(database, held)[0].status_detail or "")


def test_a_process_that_rests_misses_no_beat(database: Database, watch: Watch, held: str, tmp_path: Path) -> None:
    with process(tmp_path, "lane.rest()") as program:
        time.sleep(0.5)
        watch(silence_seconds=0.1)
        time.sleep(3 * lanes.LOOK_SECONDS)
        assert program.poll() is None


def test_what_the_kernel_ends_for_want_of_memory_is_told_from_other_deaths(
    database: Database, watch: Watch, held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = 7
    monkeypatch.setattr(lanes, "oom_kills", lambda: kills)
    with process(tmp_path) as program:
        watch()
        kills = 8
        program.kill()
        is_noticed(database, held)
    assert standing(database, held) == {(RunStatus.QUEUED, StatusReason.COHORT_SPLIT, 0, 1)}
    assert "out_of_memory" in (runs_of(database, held)[0].status_detail or "")


def test_a_process_that_leaves_in_good_order_leaves_nothing_to_look_at(
    database: Database, watch: Watch, held: str, tmp_path: Path
) -> None:
    with process(tmp_path, "lane.leave(); sys.exit()") as program:
        program.wait(timeout=10)
        assert not list(tmp_path.glob("worker_1.*"))
        watch()
        time.sleep(3 * lanes.LOOK_SECONDS)
    assert {run.status for run in runs_of(database, held)} == {RunStatus.RUNNING}


def test_the_state_of_processes_is_known() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    assert lanes.is_alive(os.getpid())
    eventually(lambda: not lanes.is_alive(child.pid), "a process that nobody has waited for is dead all the same")
    child.wait()
    assert not lanes.is_alive(child.pid)
