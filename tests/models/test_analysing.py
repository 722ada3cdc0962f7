"""A measurement is asked for once, made once, and survives the workers that vanish while they make it."""

import threading
from typing import Any

import pytest
from sqlalchemy import delete, select

from models import analysing, lifecycle, owner
from models.analysing import AnalysisClaim, ClaimedAnalysis
from models.database import Database
from models.lifecycle import MAX_CRASHES
from models.spec.job import JobSpec
from models.status import RunStatus
from models.tables import Analysis, Job, TestLook, Worker, now
from tests.models.transactions import claim, commit, runs_of, submit

QUEUED, RUNNING, SUCCEEDED, FAILED = RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.SUCCEEDED, RunStatus.FAILED
SHARPNESS: dict[str, Any] = {"kind": "sharpness", "rows": 64}
HESSIAN: dict[str, Any] = {"kind": "hessian"}


def trained(database: Database, **changes: Any) -> str:
    """A job whose runs have succeeded."""
    job_id = submit(database, **changes)
    for run in claim(database).runs:
        commit(database, lifecycle.finish, run.id, run.attempt, SUCCEEDED, step=100, train_seconds=1.0, summary={})
    return job_id


def ask(database: Database, job_id: str, options: dict[str, Any], priority: int = 0) -> list[str]:
    run_ids = [run.id for run in runs_of(database, job_id)]
    return [one.id for one in commit(database, analysing.ask, run_ids, options, priority)]


def take(database: Database, worker_id: str = "worker_1") -> AnalysisClaim:
    found = commit(database, analysing.claim, worker_id)
    assert found is not None, "nothing waits"
    return found


def the(database: Database, analysis_id: str) -> Analysis:
    with database.read() as session:
        return session.scalars(select(Analysis).where(Analysis.id == analysis_id)).one()


def test_the_same_measurement_is_made_once(database: Database) -> None:
    job_id = trained(database, seeds=2)
    first = ask(database, job_id, SHARPNESS)
    assert ask(database, job_id, SHARPNESS) == first
    assert ask(database, job_id, {"kind": "sharpness", "rows": 65}) != first
    for one in take(database).analyses:
        commit(database, analysing.finish, one, {"sharpness_0.001": 1.5}, {"rows": 64})
    assert ask(database, job_id, SHARPNESS) == first
    found = the(database, first[0])
    assert (found.status, found.values) == (SUCCEEDED, {"sharpness_0.001": 1.5})
    assert found.finished_at is not None


def test_one_that_failed_is_made_again_when_it_is_asked_for_again(database: Database) -> None:
    job_id = trained(database)
    (analysis_id,) = ask(database, job_id, HESSIAN)
    (one,) = take(database).analyses
    assert commit(database, analysing.fail, one, "out of luck")
    assert the(database, analysis_id).status_detail == "out of luck"
    assert commit(database, analysing.claim, "worker_1") is None
    assert ask(database, job_id, HESSIAN) == [analysis_id]
    assert the(database, analysis_id).status_detail is None
    assert take(database).analyses[0].attempt == 2


def test_runs_of_one_job_are_measured_together_in_the_order_of_their_seeds(database: Database) -> None:
    first, second = trained(database, seeds=3), trained(database, seeds=2)
    ask(database, first, HESSIAN)
    ask(database, second, HESSIAN)
    ask(database, first, SHARPNESS)
    for job_id, kind, runs in ((first, "hessian", 3), (second, "hessian", 2), (first, "sharpness", 3)):
        found = take(database)
        assert (found.job_id, found.kind) == (job_id, kind)
        assert [one.seed for one in found.analyses] == list(range(runs))
        assert found.spec == JobSpec.model_validate(_job(database, job_id).spec)
    assert commit(database, analysing.claim, "worker_1") is None


def _job(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return session.get_one(Job, job_id)


def test_higher_priority_goes_first(database: Database) -> None:
    low, high = trained(database), trained(database)
    ask(database, low, HESSIAN)
    ask(database, high, HESSIAN, 5)
    assert take(database).job_id == high


def test_two_workers_never_hold_the_same_measurement(database: Database) -> None:
    job_id = trained(database, seeds=8)
    ask(database, job_id, HESSIAN)
    ask(database, job_id, SHARPNESS)
    taken: list[ClaimedAnalysis] = []

    def work(worker_id: str) -> None:
        while found := commit(database, analysing.claim, worker_id):
            taken.extend(found.analyses)

    threads = [threading.Thread(target=work, args=(f"worker_{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len({one.id for one in taken}) == 16


def test_what_a_vanished_worker_held_is_measured_again_and_it_can_write_nothing_more(database: Database) -> None:
    job_id = trained(database)
    (analysis_id,) = ask(database, job_id, HESSIAN)
    with database.write() as session:
        session.add(_worker("worker_7"))
    (held,) = take(database, "worker_7").analyses
    with database.read() as session:
        assert analysing.lost(session) == [], "its worker is there"
    with database.write() as session:
        session.execute(delete(Worker).where(Worker.id == "worker_7"))
        assert analysing.lost(session) == [(analysis_id, 1)]
        analysing.return_lost(session, [(analysis_id, 1)])
    assert not commit(database, analysing.finish, held, {"trace": 1.0}, {})
    assert the(database, analysis_id).status == QUEUED
    (again,) = take(database).analyses
    assert commit(database, analysing.finish, again, {"trace": 2.0}, {})
    assert not commit(database, analysing.finish, held, {"trace": 1.0}, {})
    assert the(database, analysis_id).values == {"trace": 2.0}


def _worker(worker_id: str) -> Worker:
    moment = now()
    return Worker(
        id=worker_id, host="h", process_id=1, device="cpu", description={}, heartbeat=0, started_at=moment,
        seen_at=moment, busy=True,
    )  # fmt: skip


def test_one_that_costs_too_many_workers_fails_and_says_so(database: Database) -> None:
    job_id = trained(database)
    (analysis_id,) = ask(database, job_id, HESSIAN)
    for _ in range(MAX_CRASHES + 1):
        (held,) = take(database, "worker_gone").analyses
        commit(database, analysing.return_lost, [(analysis_id, held.attempt)])
    found = the(database, analysis_id)
    assert found.status == FAILED
    assert found.status_detail == f"the worker vanished {MAX_CRASHES + 1} times while it was measured"


def test_deleting_a_job_deletes_what_was_measured_of_it_but_no_look_at_its_test(database: Database) -> None:
    job_id = trained(database, experiment="x")
    ask(database, job_id, HESSIAN)
    with database.write() as session:
        job = session.get_one(Job, job_id)
        analysing.open_test(session, job, JobSpec.model_validate(job.spec), "ada", "for the paper")
    commit(database, owner.delete_job, job_id)
    with database.read() as session:
        assert session.scalars(select(Analysis)).all() == []
        (look,) = session.scalars(select(TestLook)).all()
    assert (look.job_id, look.opened_by, look.reason) == (job_id, "ada", "for the paper")


@pytest.mark.parametrize("times", [1, 3])
def test_a_test_is_opened_once_however_often_it_is_asked_for(database: Database, times: int) -> None:
    job_id = trained(database, seeds=2)
    for number in range(times):
        with database.write() as session:
            job = session.get_one(Job, job_id)
            analysing.open_test(session, job, JobSpec.model_validate(job.spec), f"person {number}", "")
    with database.read() as session:
        (look,) = session.scalars(select(TestLook)).all()
        assert look.opened_by == "person 0"
        assert len(session.scalars(select(Analysis)).all()) == 2


def test_looks_are_counted_by_experiment_and_by_data_set(database: Database) -> None:
    asked: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
        ("a", {"dataset": "sine"}, (1, 1)),
        ("a", {"dataset": "sine", "batch_size": 32}, (2, 2)),
        ("b", {"dataset": "sine"}, (1, 3)),
        ("a", {"dataset": "moons"}, (3, 1)),
        ("a", {"dataset": "sine", "evaluation": {"kind": "holdout", "test": 0.3}}, (4, 1)),
    ]
    looks = []
    for experiment, changes, _ in asked:
        job_id = trained(database, experiment=experiment, **changes)
        with database.write() as session:
            job = session.get_one(Job, job_id)
            looks.append(analysing.open_test(session, job, JobSpec.model_validate(job.spec), "ada", "").id)
    with database.read() as session:
        counted = [analysing.looks_until(session, session.get_one(TestLook, look)) for look in looks]
    assert [(one.of_experiment, one.at_dataset) for one in counted] == [expected for *_, expected in asked]
