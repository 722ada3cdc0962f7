"""What scenarios have in common: a job in the midst of its training, and the demand that it comes to what it should."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from sqlalchemy import select
from sqlalchemy.orm import Session

from descent import Client
from models.answers import Job
from models.tables import Cohort, MetricSegment, Run
from models.tables import Worker as WorkerRow
from tests.chaos.conftest import SPEC
from tests.chaos.load import Members
from tests.chaos.oracle import database_of, oracle_of, runs_of
from tests.chaos.report import Report
from tests.chaos.stack import Program, Stack
from tests.journey.service import train_on
from tests.models.outages import sql_away

RESUMED_SECONDS = 40.0
"""What was lost trains on within so long."""


def in_training(client: Client, past: int = 3_000) -> Job:
    """A job that has come past a step."""
    job = client.submit(SPEC)
    train_on(client, client.runs(job)[0], past)
    return job


def demand_whole(stack: Stack, client: Client, job: Job, peaceful: Members, seconds: float = 90.0) -> Run:
    """Insist that a job succeeds, with every point once and every bit as it would have been in peace; its run."""
    client.wait(job, timeout=seconds)
    report = Report("")
    with oracle_of(stack, report) as oracle:
        assert oracle.wrong_with(job.id, peaceful) == []
    assert (report.duplicated_points, report.gaps, report.bit_equal) == (0, 0, len(peaceful))
    return the_run(stack, job)


def the_run(stack: Stack, job: Job) -> Run:
    """The first run of a job as SQL has it."""
    with database_of(stack) as database:
        return runs_of(database, job.id)[0]


def holder(stack: Stack, job: Job) -> Program:
    """The worker that trains a job."""
    with _looking_at(stack) as session:
        process_id = session.scalars(
            select(WorkerRow.process_id).join(Run, Run.worker_id == WorkerRow.id).where(Run.job_id == job.id)
        ).one()
    return next(worker for worker in stack.workers if process_id in {process.pid for process in worker.family()})


def put_to_sleep(stack: Stack, worker: Program) -> None:
    """Stop a worker between two transactions: asleep inside one it would hold SQLite's lock, and keep everybody out."""
    with database_of(stack) as database, sql_away(database) if database.is_sqlite else nullcontext():
        worker.send(signal.SIGSTOP)


def segments(stack: Stack, job: Job, attempt: int) -> Sequence[int]:
    """The numbers of the segments that an attempt has written."""
    with _looking_at(stack) as session:
        return session.scalars(
            select(MetricSegment.first_number)
            .join(Run, Run.id == MetricSegment.run_id)
            .where(Run.job_id == job.id, MetricSegment.attempt == attempt)
            .order_by(MetricSegment.first_number)
        ).all()


def cohort_sizes(stack: Stack) -> Sequence[int]:
    """How many runs each claim took."""
    with _looking_at(stack) as session:
        return session.scalars(select(Cohort.size)).all()


@contextmanager
def _looking_at(stack: Stack) -> Iterator[Session]:
    with database_of(stack) as database, database.read() as session:
        yield session
