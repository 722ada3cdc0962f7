"""The jobs of one request are stored and changed together."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select

from models import lifecycle, owner
from models.database import Database
from models.owner import IllegalAction, Submission
from models.spec.job import JobSpec
from models.spec.plan import plan
from models.status import RunStatus
from models.tables import Run
from tests.api.specs import spec
from tests.models.transactions import claim, commit, statuses, submit


def submissions(count: int, **changes: Any) -> list[Submission]:
    specs = [JobSpec.model_validate(spec(name=f"job {number}", **changes)) for number in range(count)]
    return [Submission.of(each, plan(each)) for each in specs]


def submit_all(database: Database, count: int, **changes: Any) -> Sequence[str]:
    with database.write() as session:
        return [job.id for job in owner.submit_all(session, "admin", submissions(count, **changes))]


@contextmanager
def counted_statements(database: Database) -> Iterator[list[str]]:
    """Collect the statements that the block sends to the database."""
    sent: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", count)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", count)


def test_jobs_and_their_runs_keep_the_order_of_the_submissions(database: Database) -> None:
    jobs = submit_all(database, 40, seeds=2, evaluation={"kind": "boosting", "rounds": 3})
    assert jobs == sorted(jobs)
    with database.read() as session:
        runs = session.scalars(select(Run).order_by(Run.queued_at, Run.id)).all()
    assert [(run.job_id, run.position) for run in runs] == [(job, place) for job in jobs for place in range(6)]
    before = [None, *(run.id for run in runs)]
    assert [run.waits_for for run in runs] == [before[place] if run.member else None for place, run in enumerate(runs)]


def test_more_jobs_take_no_more_statements(database: Database) -> None:
    submit(database)  # the first job of an owner makes a row for the owner
    sent = []
    for count in (2, 40):
        with counted_statements(database) as statements:
            jobs = submit_all(database, count, seeds=2)
            for action in (owner.pause, owner.resume, owner.cancel):
                commit(database, action, *jobs)
        sent.append(len(statements))
        assert {status for job in jobs for status in statuses(database, job)} == {RunStatus.CANCELLED}
    assert sent[0] == sent[1]


def test_an_action_on_several_jobs_leaves_those_alone_that_do_not_allow_it(database: Database) -> None:
    ended, trained, waiting, other = submit_all(database, 4)
    for job_id in (ended, trained):
        (run,) = claim(database, limit=1).runs
        assert run.job_id == job_id
        if job_id == ended:
            end: dict[str, Any] = {"step": 100, "train_seconds": 1.0, "summary": {}}
            commit(database, lifecycle.finish, run.id, run.attempt, RunStatus.SUCCEEDED, **end)
    commit(database, owner.pause, ended, trained, waiting)
    assert [statuses(database, job_id) for job_id in (ended, trained, waiting, other)] == [
        [RunStatus.SUCCEEDED],
        [RunStatus.PAUSING],
        [RunStatus.PAUSED],
        [RunStatus.QUEUED],
    ]
    with pytest.raises(IllegalAction):
        commit(database, owner.pause, ended)
