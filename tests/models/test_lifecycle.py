"""Whatever workers, relay and owners do to a run, in whatever order, its status moves only as it may."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import crashes, lifecycle, owner
from models.database import Database
from models.lifecycle import MAX_CRASHES, Claim, ClaimedRun
from models.owner import IllegalAction, legal_actions
from models.spec.job import JobSpec
from models.status import RunStatus, StatusReason, job_status
from models.tables import Artifact, Cohort, Job, MetricSegment, Run, Snapshot, Worker, now
from tests.models.transactions import claim, commit, runs_of, statuses, submit, the_run

QUEUED, RUNNING, CANCELLING = RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.CANCELLING
PAUSING, PAUSED = RunStatus.PAUSING, RunStatus.PAUSED
SUCCEEDED, FAILED, CANCELLED = RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED

ACTIONS: dict[str, Callable[[Session, str], object]] = {
    "cancel": owner.cancel,
    "pause": owner.pause,
    "resume": owner.resume,
    "retry": owner.retry,
    "delete": owner.delete_job,
}
END: dict[str, Any] = {"step": 100, "train_seconds": 1.5, "summary": {"train_loss": {"last": 0.5}}}


def finish(database: Database, run: ClaimedRun, status: RunStatus = SUCCEEDED) -> bool:
    return commit(database, lifecycle.finish, run.id, run.attempt, status, **END)


def release(database: Database, run: ClaimedRun) -> RunStatus | None:
    return commit(database, lifecycle.release, run.id, run.attempt)


def lose(database: Database, run: ClaimedRun) -> RunStatus | None:
    """The relay finds the run's heartbeat still."""
    return commit(database, crashes.return_lost, run.id, run.attempt)


def nothing_waits(database: Database, device: str = "cpu") -> bool:
    return commit(database, lifecycle.claim, "worker_1", device, lambda _: 1_000) is None


def everything_about(database: Database, run_id: str) -> dict[str, Any]:
    run = the_run(database, run_id)
    return {column.key: getattr(run, column.key) for column in Run.__table__.columns}


# ── submitting and claiming ──────────────────────────────────────────────────────────────────────


def test_a_job_is_stored_with_one_queued_run_for_each_seed(database: Database) -> None:
    job_id = submit(database, seeds=[7, 3], name="λ", tags=["a"], priority=5, device="cpu")
    with database.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.name, job.tags, job.priority) == ("λ", ["a"], 5)
        assert JobSpec.model_validate(job.spec).spec_hash == job.spec_hash
    runs = runs_of(database, job_id)
    assert [(run.seed, run.position, run.total_steps, run.priority) for run in runs] == [(7, 0, 100, 5), (3, 1, 100, 5)]
    assert statuses(database, job_id) == [QUEUED, QUEUED]
    assert runs[0].id < runs[1].id, "they wait in the order of their seeds"


def test_a_claim_hands_out_the_runs_and_says_who_trains_them(database: Database) -> None:
    job_id = submit(database, seeds=2)
    found = claim(database, "worker_7")
    assert [(run.seed, run.attempt) for run in found.runs] == [(0, 1), (1, 1)]
    assert found.runs[0].spec.optimizer.kind == "adam"
    for run in runs_of(database, job_id):
        assert (run.status, run.worker_id, run.cohort_id, run.attempt) == (RUNNING, "worker_7", found.cohort_id, 1)
        assert run.started_at is not None
    with database.read() as session:
        cohort = session.get_one(Cohort, found.cohort_id)
        assert (cohort.worker_id, cohort.size) == ("worker_7", 2)
    assert nothing_waits(database)


def test_an_empty_queue_gives_nothing(database: Database) -> None:
    assert nothing_waits(database)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Cohort)) == 0


def test_the_highest_priority_goes_first_and_then_the_greatest_age(database: Database) -> None:
    seeds = {1: 0, 2: 9, 3: -9, 4: 9, 5: 0}
    for seed, priority in seeds.items():
        submit(database, seeds=[seed], priority=priority)
    taken = [claim(database, limit=1).runs[0].seed for _ in seeds]
    assert taken == [2, 4, 1, 5, 3]


def test_a_run_that_was_given_back_waits_behind_those_that_came_meanwhile(database: Database) -> None:
    submit(database, seeds=[1])
    first = claim(database)
    submit(database, seeds=[2])
    assert release(database, first.runs[0])
    assert [claim(database, limit=1).runs[0].seed for _ in range(2)] == [2, 1]


def rate(learning_rate: float) -> dict[str, Any]:
    return {"kind": "adam", "learning_rate": learning_rate}


def test_compatible_runs_of_other_jobs_join_the_cohort(database: Database) -> None:
    submit(database, optimizer=rate(0.1), seeds=[1])
    submit(database, optimizer="sgd", seeds=[2])
    submit(database, optimizer=rate(0.2), seeds=[3, 4], priority=-1)
    submit(database, batch_size=32, seeds=[5])
    found = claim(database)
    assert [run.seed for run in found.runs] == [1, 3, 4]
    rates = [run.spec.model_dump()["optimizer"]["learning_rate"] for run in found.runs]
    assert rates == [0.1, 0.2, 0.2]
    assert [[run.seed for run in claim(database).runs] for _ in range(2)] == [[2], [5]]


def arrive(database: Database, worker_id: str, *, device: str = "cpu", busy: bool = False) -> None:
    row = Worker(
        id=worker_id,
        host="here",
        process_id=1,
        device=device,
        description={},
        started_at=now(),
        seen_at=now(),
        busy=busy,
    )
    commit(database, lambda session: session.add(row))


def test_idle_workers_of_the_same_device_are_left_their_share_of_the_waiting_runs(database: Database) -> None:
    facts: list[dict[str, Any]] = [{}, {}, {"busy": True}, {"device": "cuda"}]
    for number, more in enumerate(facts):
        arrive(database, f"worker_{number}", **more)
    submit(database, seeds=41)
    submit(database, seeds=7, batch_size=32)
    # Half of the 41 that fit together, and half of the 20 that are left then.
    assert [len(claim(database, "worker_0", fewest=8).runs) for _ in range(2)] == [21, 10]


def test_a_share_never_falls_below_the_fewest_runs_that_pay_nor_rises_above_the_limit(database: Database) -> None:
    for number in range(9):
        arrive(database, f"worker_{number}")
    submit(database, seeds=41)
    sizes = [len(claim(database, "worker_0", limit=limit, fewest=8).runs) for limit in (64, 5, 1)]
    assert sizes == [8, 5, 1]


def test_a_cohort_is_no_larger_than_its_head_allows(database: Database) -> None:
    submit(database, seeds=[1], optimizer=rate(0.1), priority=1)
    submit(database, seeds=[2], optimizer=rate(0.2))
    submit(database, seeds=[3, 4], optimizer=rate(0.3), priority=1)
    asked: list[JobSpec] = []

    def limit(spec: JobSpec) -> int:
        asked.append(spec)
        return 3

    found = commit(database, lifecycle.claim, "worker_1", "cpu", limit)
    assert found is not None
    assert [run.seed for run in found.runs] == [1, 3, 4], "companions join in the order of the queue"
    assert asked == [found.runs[0].spec]
    assert [run.seed for run in claim(database, limit=0).runs] == [2], "the head itself is always taken"


@pytest.mark.parametrize(("device", "seeds"), [("cpu", {1, 2}), ("cuda", {1, 3})])
def test_a_worker_takes_only_what_its_device_can_train(database: Database, device: str, seeds: set[int]) -> None:
    for seed, wish in enumerate(("auto", "cpu", "cuda"), start=1):
        submit(database, seeds=[seed], device=wish)
    assert {claim(database, device=device).runs[0].seed for _ in seeds} == seeds
    assert nothing_waits(database, device)


def leave_traces(database: Database, run_id: str, attempt: int) -> None:
    """What a run has written halfway through."""
    with database.write() as session:
        session.add(MetricSegment(run_id=run_id, attempt=attempt, first_number=0, last_number=0, payload=b""))
        session.add(Snapshot(run_id=run_id, step=10, content={}))
        session.get_one(Run, run_id).step = 10


def traces(database: Database, run_id: str) -> tuple[int, int]:
    with database.read() as session:
        segments = session.scalars(select(MetricSegment.attempt).where(MetricSegment.run_id == run_id)).all()
        snapshots = session.scalars(select(Snapshot.step).where(Snapshot.run_id == run_id)).all()
    return len(segments), len(snapshots)


def test_a_new_attempt_supersedes_what_an_earlier_one_wrote(database: Database) -> None:
    submit(database, seeds=2)
    lost, other = claim(database).runs
    leave_traces(database, lost.id, 1)
    leave_traces(database, other.id, 1)
    assert lose(database, lost) is QUEUED
    assert traces(database, lost.id) == (1, 1), "until it is trained again, its history can be read"
    again = claim(database).runs[0]
    assert (again.id, again.attempt) == (lost.id, 2)
    assert traces(database, lost.id) == (0, 0)
    assert traces(database, other.id) == (1, 1)
    fresh = the_run(database, lost.id)
    assert (fresh.step, fresh.summary, fresh.train_seconds, fresh.status_reason) == (0, None, None, None)


# ── a worker's side ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "reason"),
    [(SUCCEEDED, None), (SUCCEEDED, StatusReason.STOPPED_EARLY), (FAILED, StatusReason.DIVERGED)],
)
def test_an_ending_is_written_once(database: Database, status: RunStatus, reason: StatusReason | None) -> None:
    submit(database)
    run = claim(database).runs[0]
    before = now()
    assert commit(database, lifecycle.finish, run.id, run.attempt, status, reason=reason, detail="why", **END)
    ended = the_run(database, run.id)
    assert (ended.status, ended.status_reason, ended.status_detail) == (status, reason, "why")
    assert (ended.step, ended.train_seconds, ended.summary) == (100, 1.5, END["summary"])
    assert ended.finished_at is not None
    assert before <= ended.finished_at <= now()
    for again in (SUCCEEDED, FAILED, CANCELLED):
        assert not finish(database, run, again)
    assert not release(database, run)
    assert the_run(database, run.id).status == status


def test_a_run_that_goes_on_cannot_end_as_cancelled(database: Database) -> None:
    submit(database)
    run = claim(database).runs[0]
    assert not finish(database, run, CANCELLED)
    assert the_run(database, run.id).status == RUNNING


def test_nothing_under_an_old_attempt_reaches_a_run(database: Database) -> None:
    submit(database)
    old = claim(database, "worker_1")
    zombie = old.runs[0]
    assert lose(database, zombie) is QUEUED
    waiting = everything_about(database, zombie.id)

    def haunt() -> None:
        assert not finish(database, zombie)
        assert not finish(database, zombie, FAILED)
        assert not release(database, zombie)
        assert lose(database, zombie) is None
        assert commit(database, lifecycle.held, old.cohort_id) == {}
        commit(database, lifecycle.renew, old.cohort_id)

    haunt()
    assert everything_about(database, zombie.id) == waiting
    successor = claim(database, "worker_2")
    trained = everything_about(database, zombie.id)
    haunt()
    assert everything_about(database, zombie.id) == trained
    assert finish(database, successor.runs[0])
    ended = everything_about(database, zombie.id)
    haunt()
    assert everything_about(database, zombie.id) == ended


def test_a_cohort_holds_what_has_not_ended(database: Database) -> None:
    submit(database, seeds=5)
    found = claim(database)
    ended, released, lost, going_on, cancelled = found.runs
    assert finish(database, ended)
    assert release(database, released)
    assert lose(database, lost) is QUEUED
    with database.write() as session:
        session.get_one(Run, cancelled.id).status = CANCELLING
    held = commit(database, lifecycle.held, found.cohort_id)
    assert held == {going_on.id: RUNNING, cancelled.id: CANCELLING}
    assert all(type(status) is RunStatus for status in held.values())


def test_a_heartbeat_is_counted_for_what_is_held(database: Database) -> None:
    submit(database, seeds=3)
    found = claim(database)
    ended, cancelled, going_on = found.runs
    assert finish(database, ended)
    with database.write() as session:
        session.get_one(Run, cancelled.id).status = CANCELLING
    for _ in range(2):
        commit(database, lifecycle.renew, found.cohort_id)
    assert [the_run(database, run.id).heartbeat for run in (ended, cancelled, going_on)] == [0, 2, 2]


def test_a_run_that_is_given_back_waits_again_and_that_is_no_crash(database: Database) -> None:
    job_id = submit(database)
    run = claim(database).runs[0]
    assert release(database, run)
    waiting = the_run(database, run.id)
    assert (waiting.status, waiting.status_reason, waiting.crashes) == (QUEUED, StatusReason.WORKER_DRAINED, 0)
    assert (waiting.cohort_id, waiting.worker_id) == (None, None)
    assert claim(database).runs[0].attempt == 2
    assert statuses(database, job_id) == [RUNNING]


@pytest.mark.parametrize("let_go", [release, lose])
def test_a_run_that_was_being_cancelled_when_its_worker_went_is_cancelled(
    database: Database, let_go: Callable[[Database, ClaimedRun], object]
) -> None:
    job_id = submit(database)
    run = claim(database).runs[0]
    commit(database, owner.cancel, job_id)
    assert let_go(database, run)
    ended = the_run(database, run.id)
    assert (ended.status, ended.status_reason, ended.crashes) == (CANCELLED, StatusReason.CANCELLED_BY_USER, 0)
    assert ended.finished_at is not None
    assert nothing_waits(database)


# ── the relay's side ─────────────────────────────────────────────────────────────────────────────


def test_a_run_is_trained_again_until_its_worker_has_vanished_too_often(database: Database) -> None:
    job_id = submit(database)
    for before in range(MAX_CRASHES):
        run = claim(database).runs[0]
        assert (run.attempt, lose(database, run)) == (before + 1, QUEUED)
        waiting = the_run(database, run.id)
        assert (waiting.crashes, waiting.status_reason) == (before + 1, StatusReason.WORKER_LOST)
        assert (waiting.cohort_id, waiting.worker_id, waiting.finished_at) == (None, None, None)
    run = claim(database).runs[0]
    assert lose(database, run) is FAILED
    failed = the_run(database, run.id)
    assert (failed.status, failed.status_reason, failed.attempt) == (FAILED, StatusReason.WORKER_LOST, MAX_CRASHES + 1)
    assert str(MAX_CRASHES + 1) in (failed.status_detail or "")
    assert failed.finished_at is not None
    assert nothing_waits(database)
    commit(database, owner.retry, job_id)
    assert the_run(database, run.id).crashes == 0, "its owner gives it a new budget"


def test_only_the_first_to_notice_takes_a_lost_run(database: Database) -> None:
    submit(database)
    run = claim(database).runs[0]
    assert commit(database, crashes.return_lost, run.id, run.attempt) is QUEUED
    assert commit(database, crashes.return_lost, run.id, run.attempt) is None
    assert the_run(database, run.id).crashes == 1


# ── the owner's side ─────────────────────────────────────────────────────────────────────────────


def job_in(database: Database, *wanted: RunStatus) -> str:
    """A job whose runs have these statuses, in this order."""
    job_id = submit(database, seeds=len(wanted), priority=100)
    if set(wanted) != {QUEUED}:
        for run, status in zip(claim(database, limit=len(wanted)).runs, wanted, strict=True):
            match status:
                case RunStatus.SUCCEEDED | RunStatus.FAILED:
                    assert finish(database, run, status)
                case RunStatus.QUEUED:
                    assert release(database, run)
                case RunStatus.PAUSING | RunStatus.PAUSED:
                    with database.write() as session:
                        session.get_one(Run, run.id).status = PAUSING
                    assert status is PAUSING or release(database, run) is PAUSED
                case RunStatus.CANCELLING | RunStatus.CANCELLED:
                    with database.write() as session:
                        session.get_one(Run, run.id).status = CANCELLING
                    assert status is CANCELLING or finish(database, run, CANCELLED)
    assert statuses(database, job_id) == list(wanted)
    return job_id


def test_cancelling_ends_what_waits_and_asks_for_what_trains(database: Database) -> None:
    other = job_in(database, RUNNING)
    job_id = job_in(database, QUEUED, RUNNING, SUCCEEDED, FAILED)
    commit(database, owner.cancel, job_id)
    assert statuses(database, job_id) == [CANCELLED, CANCELLING, SUCCEEDED, FAILED]
    waited, trained, succeeded, failed = runs_of(database, job_id)
    assert {waited.status_reason, trained.status_reason} == {StatusReason.CANCELLED_BY_USER}
    assert (waited.finished_at is None, trained.finished_at) == (False, None)
    assert (succeeded.status_reason, failed.status_reason) == (None, None)
    assert statuses(database, other) == [RUNNING]


def test_cancelling_again_while_workers_let_go_is_fine(database: Database) -> None:
    job_id = job_in(database, CANCELLING, SUCCEEDED)
    commit(database, owner.cancel, job_id)
    assert statuses(database, job_id) == [CANCELLING, SUCCEEDED]


@pytest.mark.parametrize("ending", [SUCCEEDED, FAILED, CANCELLED])
def test_a_run_that_ends_before_its_worker_hears_of_the_cancellation_keeps_its_ending(
    database: Database, ending: RunStatus
) -> None:
    job_id = submit(database)
    run = claim(database).runs[0]
    commit(database, owner.cancel, job_id)
    assert finish(database, run, ending)
    assert statuses(database, job_id) == [ending]


def test_retrying_queues_what_failed_or_was_cancelled(database: Database) -> None:
    job_id = job_in(database, FAILED, CANCELLED, SUCCEEDED, RUNNING)
    commit(database, owner.retry, job_id)
    assert statuses(database, job_id) == [QUEUED, QUEUED, SUCCEEDED, RUNNING]
    for run in runs_of(database, job_id)[:2]:
        assert (run.status_reason, run.status_detail, run.started_at, run.finished_at) == (None,) * 4
        assert (run.cohort_id, run.worker_id, run.crashes, run.attempt) == (None, None, 0, 1)
    assert [run.attempt for run in claim(database).runs] == [2, 2]


def test_deleting_takes_everything_of_the_job_and_names_its_files(database: Database) -> None:
    job_id, other = job_in(database, SUCCEEDED, FAILED), job_in(database, SUCCEEDED)
    for run in (*runs_of(database, job_id), *runs_of(database, other)):
        leave_traces(database, run.id, run.attempt)
        with database.write() as session:
            session.add(
                Artifact(
                    id=f"artifact_{run.id[-8:]}",
                    run_id=run.id,
                    name="weights.safetensors",
                    media_type="application/octet-stream",
                    size=1,
                    sha256="0" * 64,
                    storage_key=f"runs/{run.id}",
                    created_at=now(),
                )
            )
    gone, kept = ([run.id for run in runs_of(database, one)] for one in (job_id, other))
    assert set(commit(database, owner.delete_job, job_id)) == {f"runs/{run_id}" for run_id in gone}
    with database.read() as session:
        assert session.scalars(select(Job.id)).all() == [other]
        for table in (Run.id, MetricSegment.run_id, Snapshot.run_id, Artifact.run_id):
            assert session.scalars(select(table)).all() == kept


@pytest.mark.parametrize(
    ("standing", "action", "legal"),
    [
        ((SUCCEEDED,), "cancel", ["extend", "delete"]),
        ((FAILED,), "cancel", ["retry", "delete"]),
        ((CANCELLED, SUCCEEDED), "cancel", ["retry", "extend", "delete"]),
        ((QUEUED,), "retry", ["cancel", "pause"]),
        ((RUNNING,), "retry", ["cancel", "pause"]),
        ((SUCCEEDED,), "retry", ["extend", "delete"]),
        ((CANCELLING,), "retry", []),
        ((PAUSING,), "retry", ["cancel", "resume"]),
        ((QUEUED,), "delete", ["cancel", "pause"]),
        ((PAUSED, SUCCEEDED), "delete", ["cancel", "resume"]),
        ((RUNNING, FAILED), "delete", ["cancel", "pause", "retry"]),
        ((CANCELLING, FAILED), "delete", ["retry"]),
        ((SUCCEEDED, FAILED), "pause", ["retry", "extend", "delete"]),
        ((CANCELLING,), "pause", []),
        ((RUNNING, SUCCEEDED), "resume", ["cancel", "pause"]),
    ],
)
def test_an_illegal_action_changes_nothing_and_names_the_legal_ones(
    database: Database, standing: tuple[RunStatus, ...], action: str, legal: list[str]
) -> None:
    job_id = job_in(database, *standing)
    with pytest.raises(IllegalAction) as caught:
        commit(database, ACTIONS[action], job_id)
    assert caught.value.legal == legal == legal_actions(list(standing))
    assert all(name in str(caught.value) for name in legal)
    assert statuses(database, job_id) == list(standing)


@pytest.mark.parametrize(
    ("standing", "status"),
    [
        ({QUEUED: 2}, QUEUED),
        ({QUEUED: 2, SUCCEEDED: 1}, RUNNING),
        ({QUEUED: 2, FAILED: 1}, RUNNING),
        ({RUNNING: 1, CANCELLING: 1, FAILED: 1}, RUNNING),
        ({CANCELLING: 1, QUEUED: 1, SUCCEEDED: 1}, CANCELLING),
        ({FAILED: 1, CANCELLED: 1, SUCCEEDED: 9}, FAILED),
        ({CANCELLED: 1, SUCCEEDED: 9}, CANCELLED),
        ({SUCCEEDED: 9, FAILED: 0}, SUCCEEDED),
        ({PAUSED: 2}, PAUSED),
        ({PAUSED: 1, SUCCEEDED: 1, FAILED: 1}, PAUSED),
        ({PAUSED: 1, QUEUED: 1}, QUEUED),
        ({PAUSED: 1, QUEUED: 1, SUCCEEDED: 1}, RUNNING),
        ({PAUSING: 1, QUEUED: 1, SUCCEEDED: 1}, PAUSING),
        ({PAUSING: 1, CANCELLING: 1, PAUSED: 1}, PAUSING),
        ({PAUSING: 1, RUNNING: 1}, RUNNING),
    ],
)
def test_a_jobs_status_follows_from_its_runs(standing: dict[RunStatus, int], status: RunStatus) -> None:
    assert job_status(standing) is status


# ── many at once ─────────────────────────────────────────────────────────────────────────────────


def at_once(*acts: Callable[[], None]) -> None:
    """Run all of these in threads of their own, and raise what they raise."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], None]) -> None:
        barrier.wait()
        try:
            act()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_two_claimers_at_once_never_share_a_run(database: Database) -> None:
    for number in range(20):
        submit(database, seeds=2, optimizer=rate(0.1 + number))
    claims: list[Claim] = []

    def take_all(worker_id: str) -> None:
        while found := commit(database, lifecycle.claim, worker_id, "cpu", lambda _: 3):
            claims.append(found)

    at_once(lambda: take_all("worker_1"), lambda: take_all("worker_2"))
    taken = [run.id for found in claims for run in found.runs]
    assert len(taken) == len(set(taken)) == 40
    for found in claims:
        for claimed in found.runs:
            run = the_run(database, claimed.id)
            assert (run.cohort_id, run.attempt) == (found.cohort_id, 1)


def test_a_cancellation_and_an_ending_at_once_leave_exactly_one_ending(database: Database) -> None:
    job_ids = [submit(database, seeds=4) for _ in range(10)]
    runs = claim(database).runs
    written: list[str] = []

    def cancel_all() -> None:
        for job_id in job_ids:
            try:
                commit(database, owner.cancel, job_id)
            except IllegalAction:
                continue

    def end_all() -> None:
        for run in runs:
            for status in (CANCELLED, SUCCEEDED, FAILED):
                if finish(database, run, status):
                    written.append(run.id)

    at_once(cancel_all, end_all)
    assert sorted(written) == sorted(run.id for run in runs)
    assert all(RunStatus(the_run(database, run.id).status).is_terminal for run in runs)
