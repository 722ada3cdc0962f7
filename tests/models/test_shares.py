"""Owners take turns: nobody waits for the whole queue of another, and nobody trains more at once than they may."""

import threading
from collections import Counter
from typing import Any

from models import analysing, crashes, lifecycle, shares
from models.database import Database
from models.lifecycle import Claim
from models.status import RunStatus
from models.tables import Owner, Run
from tests.models.transactions import claim, commit, runs_of, submit, the_run

END: dict[str, Any] = {"step": 100, "train_seconds": 1.5, "summary": {}}


def owner_of(database: Database, found: Claim) -> str:
    (owner,) = {the_run(database, run.id).owner for run in found.runs}
    return owner


def finish(database: Database, found: Claim) -> None:
    for run in found.runs:
        assert commit(database, lifecycle.finish, run.id, run.attempt, RunStatus.SUCCEEDED, **END)


def test_a_single_job_goes_before_the_rest_of_anothers_ten_thousand_runs(database: Database) -> None:
    for _ in range(10):
        submit(database, "ada", seeds=1_000)
    finish(database, claim(database, limit=100))
    bobs = submit(database, "bob", seeds=3)
    found = claim(database, limit=100)
    assert owner_of(database, found) == "bob"
    assert {run.job_id for run in found.runs} == {bobs}, "and nobody else's runs are trained along"
    finish(database, found)
    assert owner_of(database, claim(database, limit=100)) == "ada"


def test_one_worker_serves_owners_in_turn(database: Database) -> None:
    for owner in ("ada", "bob", "cleo"):
        submit(database, owner, seeds=4)
    served = []
    for _ in range(12):
        found = claim(database, limit=1)
        served.append(owner_of(database, found))
        finish(database, found)
    assert served == ["ada", "bob", "cleo"] * 4


def test_of_several_workers_each_owner_gets_as_many(database: Database) -> None:
    submit(database, "ada", seeds=50)
    held = [claim(database, f"worker_{number}", limit=1) for number in range(3)]
    submit(database, "bob", seeds=50)
    held += [claim(database, f"worker_{number}", limit=1) for number in range(3, 6)]
    assert Counter(owner_of(database, one) for one in held) == {"ada": 3, "bob": 3}
    finish(database, held[0])
    assert owner_of(database, claim(database, limit=1)) == "ada", "who holds fewer workers is next"


def test_priority_counts_among_an_owners_own_jobs_alone(database: Database) -> None:
    submit(database, "ada", seeds=[1, 2], priority=99)
    submit(database, "bob", seeds=[3], priority=-100)
    submit(database, "ada", seeds=[4], priority=100)
    seeds = []
    for _ in range(4):
        found = claim(database, limit=1)
        seeds.append(found.runs[0].seed)
        finish(database, found)
    assert seeds == [4, 3, 1, 2]


def test_an_owner_with_nothing_for_this_device_is_passed_over(database: Database) -> None:
    submit(database, "ada", device="cuda")
    submit(database, "bob")
    assert owner_of(database, claim(database, device="cpu")) == "bob"
    assert commit(database, lifecycle.claim, "worker_1", "cpu", lambda _: 9) is None
    assert owner_of(database, claim(database, device="cuda")) == "ada"


def test_no_more_runs_of_an_owner_train_than_may(database: Database) -> None:
    submit(database, "ada", seeds=10)
    first = claim(database, limit=100, most_running=4)
    assert len(first.runs) == 4
    assert commit(database, lifecycle.claim, "worker_2", "cpu", lambda _: 100, most_running=4) is None
    submit(database, "bob", seeds=2)
    assert owner_of(database, claim(database, limit=100, most_running=4)) == "bob"
    commit(database, lifecycle.finish, first.runs[0].id, 1, RunStatus.SUCCEEDED, **END)
    again = claim(database, limit=100, most_running=4)
    assert (owner_of(database, again), len(again.runs)) == ("ada", 1)
    commit(database, crashes.return_lost, again.runs[0].id, 1)
    assert len(claim(database, limit=100, most_running=4).runs) == 1, "a lost run does not count as running"


def test_workers_that_claim_at_once_keep_to_the_limit_together(database: Database) -> None:
    job = submit(database, "ada", seeds=40)
    ready = threading.Barrier(6)

    def work(number: int) -> None:
        ready.wait()
        for _ in range(5):
            commit(database, lifecycle.claim, f"worker_{number}", "cpu", lambda _: 3, most_running=10)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    running = [run for run in runs_of(database, job) if run.status == RunStatus.RUNNING]
    assert len(running) == 10


def test_owners_are_served_by_turns_when_many_workers_claim_at_once(database: Database) -> None:
    jobs = {owner: submit(database, owner, seeds=30) for owner in ("ada", "bob", "cleo")}
    ready = threading.Barrier(6)

    def work(number: int) -> None:
        ready.wait()
        for _ in range(10):
            assert commit(database, lifecycle.claim, f"worker_{number}", "cpu", lambda _: 1) is not None

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    taken = {
        owner: sum(run.status == RunStatus.RUNNING for run in runs_of(database, job)) for owner, job in jobs.items()
    }
    assert sum(taken.values()) == 60
    assert max(taken.values()) - min(taken.values()) <= 6, taken


def test_an_owner_is_enrolled_once_by_however_many_requests(database: Database) -> None:
    ready = threading.Barrier(8)
    failures: list[BaseException] = []

    def enrol() -> None:
        ready.wait()
        try:
            commit(database, shares.enrol, "ada")
        except BaseException as error:
            failures.append(error)

    requests = [threading.Thread(target=enrol) for _ in range(8)]
    for request in requests:
        request.start()
    for request in requests:
        request.join()
    assert not failures
    with database.read() as session:
        assert session.get_one(Owner, "ada").turn == 0


# ── measurements take turns with training ────────────────────────────────────────────────────────


def ask(database: Database, job_id: str, kind: str = "hessian") -> None:
    ids = [run.id for run in runs_of(database, job_id)]
    commit(database, analysing.ask, ids, {"kind": kind}, 0)


def test_analyses_of_owners_are_measured_in_turn(database: Database) -> None:
    for owner in ("ada", "bob"):
        for _ in range(3):
            job = submit(database, owner)
            finish(database, claim(database, limit=1))
            ask(database, job)
    measured = []
    for _ in range(6):
        found = commit(database, analysing.claim, "worker_1")
        assert found is not None
        with database.read() as session:
            measured.append(session.get_one(Run, found.analyses[0].run_id).owner)
        for one in found.analyses:
            commit(database, analysing.finish, one, {}, {})
    assert sorted(measured[:2]) == sorted(measured[2:4]) == sorted(measured[4:]) == ["ada", "bob"]


def test_a_heap_of_analyses_does_not_keep_anothers_run_waiting(database: Database) -> None:
    jobs = [submit(database, "ada") for _ in range(3)]
    for _ in jobs:
        finish(database, claim(database, limit=1))
    for job in jobs:
        ask(database, job)
    submit(database, "bob")
    assert commit(database, analysing.claim, "worker_1", beside_runs_on="cpu") is None, "it is Bob's turn"
    finish(database, claim(database))
    assert commit(database, analysing.claim, "worker_1", beside_runs_on="cpu") is not None
    assert commit(database, analysing.claim, "worker_1", beside_runs_on="cuda") is not None


def test_an_owners_own_analyses_go_before_their_runs(database: Database) -> None:
    job = submit(database, "ada")
    finish(database, claim(database))
    ask(database, job)
    submit(database, "ada")
    assert commit(database, analysing.claim, "worker_1", beside_runs_on="cpu") is not None
