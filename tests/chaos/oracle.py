"""Compares what is in SQL and storage with what an undisturbed run comes to."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from descent.history import History
from models.database import Database
from models.metric_stream import whole_columns
from models.settings import Settings
from models.status import RunStatus, job_status
from models.storage import Storage
from models.tables import WEIGHTS, Artifact, MetricSegment, Run
from tests.chaos.load import WALL_CLOCK, Members, Reference, as_bytes
from tests.chaos.report import Report
from tests.chaos.stack import Stack

NOTHING: tuple[NDArray[np.int32], NDArray[np.float32]] = np.empty(0, np.int32), np.empty(0, np.float32)


@contextmanager
def database_of(stack: Stack) -> Iterator[Database]:
    """For looking behind the API's back."""
    database = Database(Settings(database_url=stack.database_url).database())
    try:
        yield database
    finally:
        database.dispose()


def runs_of(database: Database, job_id: str) -> Sequence[Run]:
    """In the order of their positions."""
    with database.read() as session:
        return session.scalars(select(Run).where(Run.job_id == job_id).order_by(Run.position)).all()


class Oracle:
    """Says in words what is wrong with a job, and counts."""

    def __init__(self, database: Database, storage: Storage, report: Report) -> None:
        self._database = database
        self._storage = storage
        self._report = report

    def status(self, job_id: str) -> RunStatus | None:
        """How the job stands; None if it is gone."""
        counts = Counter(RunStatus(run.status) for run in runs_of(self._database, job_id))
        return job_status(counts) if counts else None

    def wrong_with(
        self,
        job_id: str,
        references: Members,
        followed: Mapping[str, History] | None = None,
        *,
        may_be_cancelled: bool = False,
    ) -> list[str]:
        """What is wrong; nothing if the job came to what it should. `references` by member, one seed a job."""
        runs = runs_of(self._database, job_id)
        status = self.status(job_id)
        if status is None:
            self._report.lost += 1
            return ["it is gone"]
        self._report.terminal += status.is_terminal
        wrong = []
        if status is not RunStatus.SUCCEEDED and not (may_be_cancelled and status is RunStatus.CANCELLED):
            self._report.lost += 1
            wrong.append(f"it is {status}")
            wrong += [f"{run.status_reason}: {run.status_detail}" for run in runs if run.status == RunStatus.FAILED]
        for run in runs:
            self._report.runs += 1
            self._report.resumed += run.attempt > 1
            wrong += self.wrong_with_run(run, references[run.member], (followed or {}).get(run.id))
        return wrong

    def wrong_with_run(self, run: Run, reference: Reference, read: History | None = None) -> list[str]:
        """What of a run's points and weights is not as it should be."""
        if run.status == RunStatus.CANCELLED:
            return ["it was cancelled and has weights"] if self._weights(run) else []
        if run.status != RunStatus.SUCCEEDED:
            return []
        with self._database.read() as session:
            payloads = session.scalars(
                select(MetricSegment.payload)
                .where(MetricSegment.run_id == run.id)
                .order_by(MetricSegment.attempt, MetricSegment.first_number)
            ).all()
        columns = whole_columns(payloads)
        wrong = self._wrong_points(columns, reference)
        if self._weights(run) != [reference.weights]:
            wrong.append("its weights differ")
        self._report.wrong_bits += bool(wrong)
        self._report.bit_equal += not wrong
        if read is not None:
            self._report.followed += 1
            seen = {name: series.step for name, series in read.series.items()}
            if seen != {name: list(map(int, steps)) for name, (steps, _) in columns.items()}:
                self._report.followed_wrong += 1
                wrong.append("its reader saw other points")
        return wrong

    def _wrong_points(
        self, columns: Mapping[str, tuple[NDArray[np.int32], NDArray[np.float32]]], reference: Reference
    ) -> list[str]:
        wrong = [f"{metric} is not its own" for metric in set(columns) - set(reference.series)]
        for metric, (wanted_steps, wanted_values) in reference.series.items():
            steps, values = columns.get(metric, NOTHING)
            told = as_bytes(steps, values)
            wanted = set(map(int, np.frombuffer(wanted_steps, "<i4")))
            twice, missing = len(steps) - len(set(map(int, steps))), len(wanted - set(map(int, steps)))
            self._report.duplicated_points += twice
            self._report.gaps += missing
            if told[0] != wanted_steps or (metric not in WALL_CLOCK and told[1] != wanted_values):
                wrong.append(f"{metric} differs ({twice} twice, {missing} missing)")
        return wrong

    def _weights(self, run: Run) -> list[str]:
        """The digests of the weights that it left."""
        with self._database.read() as session:
            keys = session.scalars(
                select(Artifact.storage_key).where(Artifact.run_id == run.id, Artifact.name == WEIGHTS)
            ).all()
        digests = []
        for key in keys:
            with self._storage.open(key) as file:
                digests.append(hashlib.sha256(file.read()).hexdigest())
        return digests


@contextmanager
def oracle_of(stack: Stack, report: Report | None = None) -> Iterator[Oracle]:
    """What judges the jobs of a stack."""
    with database_of(stack) as database:
        yield Oracle(database, Storage(str(stack.storage)), report or Report(""))


def complaints(stack: Stack, job_id: str, references: Members, *, may_be_cancelled: bool = False) -> list[str]:
    """What is wrong with one job."""
    with oracle_of(stack) as oracle:
        return oracle.wrong_with(job_id, references, may_be_cancelled=may_be_cancelled)
