"""Submits jobs, lets faults strike, waits for the end, and compares everything with what it should have come to."""

import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from descent import Client
from descent.errors import DescentError
from descent.history import History
from models.database import Database
from models.metric_stream import whole_columns
from models.settings import Settings
from models.status import RunStatus, job_status
from models.storage import Storage
from models.tables import WEIGHTS, Artifact, Cohort, Job, MetricSegment, Run
from tests.chaos.faults import FAULTS, Target
from tests.chaos.load import WALL_CLOCK, Reference, as_bytes, spec_of
from tests.chaos.report import Report
from tests.chaos.stack import Stack

PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.5
CANCELLED_SHARE, PAUSED_SHARE, FOLLOWED_SHARE = 0.05, 0.1, 0.2

NOTHING = np.empty(0, np.int32), np.empty(0, np.float32)

References = Mapping[int, Mapping[tuple[int, int], Reference]]
"""By the number of a spec: what its runs come to, by seed and member."""


@dataclass(frozen=True)
class Plan:
    """How much, how fast, and for how long at most."""

    jobs: int
    fault_seconds: float
    submit_seconds: float
    limit_seconds: float
    seed: int = 0


class Driver:
    """One run against one stack."""

    def __init__(self, stack: Stack, kind: str, plan: Plan, references: References) -> None:
        self._stack = stack
        self._plan = plan
        self._references = references
        self._random = random.Random(plan.seed)
        self._report = Report(kind)
        self._log = (stack.folder / "client.jsonl").open("a")
        self._lock = threading.Lock()
        self._accepted: dict[int, str] = {}
        """The id of each job that the service has taken, by its number."""
        self._cancelled: set[int] = set()
        self._followed: dict[str, History] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def run(self) -> Report:
        """Submit, disturb, wait, and judge."""
        began = time.monotonic()
        deadline = began + self._plan.limit_seconds
        self._begin(self._submit_all)
        self._begin(self._strike)
        while time.monotonic() < deadline and not self._is_over():
            time.sleep(LOOK_SECONDS)
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=max(1.0, deadline + 10 - time.monotonic()))
        self._report.seconds = time.monotonic() - began
        self._judge()
        self._log.close()
        return self._report

    def _begin(self, what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    # ── the load ─────────────────────────────────────────────────────────────────────────────────

    def _submit_all(self) -> None:
        pause = self._plan.submit_seconds / self._plan.jobs
        with Client(self._stack.url, patience_seconds=PATIENCE_SECONDS) as client:
            for number in range(self._plan.jobs):
                self._submit(client, number)
                if self._stopping.wait(pause):
                    return

    def _submit(self, client: Client, number: int) -> None:
        job = client.submit(spec_of(number) | {"name": f"chaos-{number}"})
        with self._lock:
            self._accepted[number] = job.id
            self._note(number, "submitted", job.id, job.status)
        fate = self._random.random()
        if fate < CANCELLED_SHARE:
            self._begin(self._cancel, number)
        elif fate < CANCELLED_SHARE + PAUSED_SHARE:
            self._begin(self._pause, number)
        elif fate < CANCELLED_SHARE + PAUSED_SHARE + FOLLOWED_SHARE:
            self._begin(self._follow, number)

    def _cancel(self, number: int) -> None:
        time.sleep(self._random.uniform(0, 4))
        with Client(self._stack.url, patience_seconds=PATIENCE_SECONDS) as client, suppress(DescentError):
            job = client.cancel(self._accepted[number])
            self._cancelled.add(number)
            self._note(number, "cancelled", job.id, job.status)
            self._report.cancelled += 1

    def _pause(self, number: int) -> None:
        time.sleep(self._random.uniform(0, 6))
        with Client(self._stack.url, patience_seconds=PATIENCE_SECONDS) as client, suppress(DescentError):
            job = client.pause(self._accepted[number])
            self._note(number, "paused", job.id, job.status)
            time.sleep(self._random.uniform(0, 4))
            self._report.paused += 1
            job = client.resume(job)
            self._note(number, "resumed", job.id, job.status)

    def _follow(self, number: int) -> None:
        with Client(self._stack.url, patience_seconds=PATIENCE_SECONDS) as client, suppress(DescentError):
            run = client.runs(self._accepted[number])[0]
            history = History()
            for page in client.metrics(run):
                history.take(page)
            self._followed[run.id] = history

    def _note(self, number: int, what: str, job_id: str, status: RunStatus) -> None:
        entry = {"at": time.time(), "number": number, "what": what, "job_id": job_id, "status": status}
        self._log.write(json.dumps(entry) + "\n")
        self._log.flush()

    # ── the faults ───────────────────────────────────────────────────────────────────────────────

    def _strike(self) -> None:
        target = Target(self._stack, self._random)
        names = list(FAULTS)
        weights = [FAULTS[name][0] for name in names]
        while not self._stopping.wait(self._plan.fault_seconds):
            (name,) = self._random.choices(names, weights)
            FAULTS[name][1](target)
            self._report.faults[name] += 1

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _database(self) -> Database:
        return Database(Settings(database_url=self._stack.database_url).database())

    def _is_over(self) -> bool:
        if len(self._accepted) < self._plan.jobs:
            return False
        database = self._database()
        try:
            with database.read() as session:
                return all(RunStatus(status).is_terminal for status in session.scalars(select(Run.status).distinct()))
        except SQLAlchemyError:
            return False  # it is away just now
        finally:
            database.dispose()

    def _judge(self) -> None:
        report, database = self._report, self._database()
        report.submitted, report.accepted = self._plan.jobs, len(self._accepted)
        report.failures += [f"job {n} was not accepted" for n in range(self._plan.jobs) if n not in self._accepted]
        oracle = Oracle(database, Storage(str(self._stack.folder / "storage")), report)
        for number, job_id in sorted(self._accepted.items()):
            wrong = oracle.wrong_with(job_id, self._references[number % len(self._references)], self._followed)
            if oracle.status is RunStatus.CANCELLED and number in self._cancelled:
                wrong = [what for what in wrong if what != "it is cancelled"]
            if wrong:
                report.failures.append(f"job {number}, {job_id}: {'; '.join(wrong)}")
        with database.read() as session:
            stored = session.scalars(select(func.count()).select_from(Job)).one()
            report.doubled = max(0, stored - len(self._accepted))
            report.from_checkpoints = session.scalars(
                select(func.count()).select_from(Cohort).where(Cohort.from_step > 0)
            ).one()
        if report.doubled:
            report.failures.append(f"{report.doubled} jobs are there twice")
        database.dispose()


class Oracle:
    """Compares what is in SQL and storage with what an undisturbed run comes to."""

    def __init__(self, database: Database, storage: Storage, report: Report) -> None:
        self._database = database
        self._storage = storage
        self._report = report
        self.status = RunStatus.QUEUED
        """Of the job that was looked at last."""

    def wrong_with(
        self, job_id: str, references: Mapping[tuple[int, int], Reference], followed: Mapping[str, History]
    ) -> list[str]:
        """What is wrong with a job, in words; nothing if it came to what it should."""
        with self._database.read() as session:
            runs = session.scalars(select(Run).where(Run.job_id == job_id).order_by(Run.position)).all()
        if not runs:
            self._report.lost += 1
            return ["it is gone"]
        self.status = job_status(Counter(RunStatus(run.status) for run in runs))
        wrong = []
        if self.status.is_terminal:
            self._report.terminal += 1
        if self.status is not RunStatus.SUCCEEDED:
            if self.status is not RunStatus.CANCELLED:
                self._report.lost += 1
            wrong.append(f"it is {self.status}")
            wrong += [f"{run.status_reason}: {run.status_detail}" for run in runs if run.status == RunStatus.FAILED]
        for run in runs:
            self._report.runs += 1
            self._report.resumed += run.attempt > 1
            if run.status == RunStatus.SUCCEEDED:
                wrong += self._wrong_with_run(run, references[run.seed, run.member], followed.get(run.id))
        return wrong

    def _wrong_with_run(self, run: Run, reference: Reference, read: History | None) -> list[str]:
        wrong = []
        with self._database.read() as session:
            payloads = session.scalars(
                select(MetricSegment.payload)
                .where(MetricSegment.run_id == run.id)
                .order_by(MetricSegment.attempt, MetricSegment.first_number)
            ).all()
            keys = session.scalars(
                select(Artifact.storage_key).where(Artifact.run_id == run.id, Artifact.name == WEIGHTS)
            ).all()
        columns = whole_columns(payloads)
        for metric, (wanted_steps, wanted_values) in reference.series.items():
            steps, values = columns.get(metric, NOTHING)
            told = as_bytes(steps, values)
            twice = len(steps) - len(set(map(int, steps)))
            missing = len(wanted_steps) // 4 + twice - len(steps)
            self._report.duplicated_points += twice
            self._report.gaps += max(0, missing)
            if told[0] != wanted_steps or (metric not in WALL_CLOCK and told[1] != wanted_values):
                wrong.append(f"{metric} differs ({twice} twice, {missing} missing)")
        if len(keys) != 1 or self._digest(keys[0]) != reference.weights:
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

    def _digest(self, key: str) -> str:
        with self._storage.open(key) as file:
            return hashlib.sha256(file.read()).hexdigest()


def references_for(folder: Path, specs: Sequence[int]) -> dict[int, Mapping[tuple[int, int], Reference]]:
    """What the runs of these specs come to, trained in processes of their own."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from tests.chaos.load import SEEDS, SPECS, trained_in_peace

    with ProcessPoolExecutor(2, get_context("spawn")) as processes:
        wanted = {
            number: processes.submit(trained_in_peace, SPECS[number] | {"seeds": SEEDS}, folder / str(number))
            for number in specs
        }
        return {number: future.result() for number, future in wanted.items()}
