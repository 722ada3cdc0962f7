"""What tests ask of a database, each in a transaction of its own."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import lifecycle, owner
from models.database import Database
from models.lifecycle import Claim
from models.spec.job import JobSpec
from models.spec.plan import plan
from models.status import RunStatus
from models.tables import Job, Run
from tests.api.specs import spec

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def commit(
    database: Database,
    change: Callable[Concatenate[Session, Arguments], Answer],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Answer:
    """Make one change, and commit it."""
    with database.write() as session:
        return change(session, *args, **kwargs)


def submit(database: Database, belongs_to: str = "admin", **changes: Any) -> str:
    """Queue the tests' usual job, with changes; its id."""
    wanted = JobSpec.model_validate(spec(**changes))
    return commit(database, owner.submit, belongs_to, wanted, plan(wanted)).id


def claim(
    database: Database, worker_id: str = "worker_1", device: str = "cpu", limit: int = 1_000, **more: Any
) -> Claim:
    """Claim what must be there."""
    found = commit(database, lifecycle.claim, worker_id, device, lambda _: limit, **more)
    assert found is not None, "nothing waits"
    return found


def the_run(database: Database, run_id: str) -> Run:
    with database.read() as session:
        return session.scalars(select(Run).where(Run.id == run_id)).one()


def runs_of(database: Database, job_id: str) -> list[Run]:
    """In the order of their positions."""
    with database.read() as session:
        return session.get_one(Job, job_id).runs


def statuses(database: Database, job_id: str) -> list[RunStatus]:
    return [RunStatus(run.status) for run in runs_of(database, job_id)]
