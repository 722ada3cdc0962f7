"""Submits jobs, lets faults strike, waits for the end, and compares everything with what it should have come to."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from descent import Client
from descent.errors import DescentError
from descent.history import History
from models.status import RunStatus
from models.tables import Cohort, Job, Run
from tests.chaos.asking import Asker, ClientLog, GaveUp
from tests.chaos.faults import FAULTS, Target
from tests.chaos.load import Members, spec_of
from tests.chaos.oracle import database_of, oracle_of
from tests.chaos.report import Report
from tests.chaos.stack import Stack
from tests.servers import KEY

PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.5
CANCELLED_SHARE, PAUSED_SHARE, FOLLOWED_SHARE = 0.05, 0.1, 0.2
SENT_TWICE_SHARE = 0.1


@dataclass(frozen=True)
class Plan:
    """How much, how fast, and for how long at most."""

    jobs: int
    fault_seconds: float
    submit_seconds: float
    limit_seconds: float
    seed: int = 0
    faulty_seconds: float = inf
    """Afterwards nothing breaks any more, so that a slow machine comes to an end, too."""


class Driver:
    """One run against one stack."""

    def __init__(self, stack: Stack, kind: str, plan: Plan, references: Sequence[Members]) -> None:
        """`references` of each job, by its number."""
        self._stack = stack
        self._plan = plan
        self._references = references
        self._random = random.Random(plan.seed)
        self._report = Report(kind)
        self._log = ClientLog(stack.folder / "client.jsonl")
        self._accepted: dict[int, str] = {}
        """The id of each job that the service has taken, by its number."""
        self._cancelled: set[int] = set()
        """Jobs that somebody asked to cancel, whether or not the answer came through."""
        self._followed: dict[str, History] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def run(self) -> Report:
        """Submit, disturb, wait, and judge."""
        began = time.monotonic()
        deadline = began + self._plan.limit_seconds
        self._begin(self._submit_all)
        self._begin(self._strike)
        try:
            while time.monotonic() < deadline and not self._is_over():
                time.sleep(LOOK_SECONDS)
        finally:
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
        with Asker(self._stack.url, self._log, PATIENCE_SECONDS) as asker:
            for number in range(self._plan.jobs):
                with suppress(GaveUp):  # the log has it, and so has the report
                    self._submit(asker, number)
                if self._stopping.wait(pause):
                    return

    def _submit(self, asker: Asker, number: int) -> None:
        key, body = f"chaos-{number}", spec_of(number) | {"name": f"chaos-{number}"}
        answer = asker.post(number, "submit", "/v1/jobs", body, key)
        if answer.status_code != 202:
            return
        self._accepted[number] = answer.json()["id"]
        if self._random.random() < SENT_TWICE_SHARE:
            asker.post(number, "submit", "/v1/jobs", body, key)
            self._report.sent_twice += 1
        fate = self._random.random()
        if fate < CANCELLED_SHARE:
            self._begin(self._cancel, number)
        elif fate < CANCELLED_SHARE + PAUSED_SHARE:
            self._begin(self._pause, number)
        elif fate < CANCELLED_SHARE + PAUSED_SHARE + FOLLOWED_SHARE:
            self._begin(self._follow, number)

    def _cancel(self, number: int) -> None:
        time.sleep(self._random.uniform(0, 4))
        self._cancelled.add(number)
        if self._act(number, "cancel"):
            self._report.cancelled += 1

    def _pause(self, number: int) -> None:
        time.sleep(self._random.uniform(0, 6))
        paused = self._act(number, "pause")
        time.sleep(self._random.uniform(0, 4))
        # Whatever became of the pause: nothing is left to rest.
        self._act(number, "resume")
        self._report.paused += paused

    def _act(self, number: int, action: str) -> bool:
        """Whether the service did so; a job may have ended before."""
        with Asker(self._stack.url, self._log, PATIENCE_SECONDS) as asker, suppress(GaveUp):
            return asker.post(number, action, f"/v1/jobs/{self._accepted[number]}/{action}").is_success
        return False

    def _follow(self, number: int) -> None:
        with Client(self._stack.url, key=KEY, patience_seconds=PATIENCE_SECONDS) as client, suppress(DescentError):
            run = client.runs(self._accepted[number])[0]
            history = History()
            for page in client.metrics(run):
                history.take(page)
            self._followed[run.id] = history

    # ── the faults ───────────────────────────────────────────────────────────────────────────────

    def _strike(self) -> None:
        target = Target(self._stack, self._random)
        names = list(FAULTS)
        weights = [FAULTS[name][0] for name in names]
        until = time.monotonic() + self._plan.faulty_seconds
        while time.monotonic() < until and not self._stopping.wait(self._plan.fault_seconds):
            (name,) = self._random.choices(names, weights)
            if FAULTS[name][1](target):
                self._report.faults[name] += 1

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def _is_over(self) -> bool:
        if len(self._accepted) < self._plan.jobs:
            return False
        try:
            with database_of(self._stack) as database, database.read() as session:
                return all(RunStatus(status).is_terminal for status in session.scalars(select(Run.status).distinct()))
        except SQLAlchemyError:
            return False  # it is away just now

    def _judge(self) -> None:
        report = self._report
        report.submitted, report.accepted = self._plan.jobs, len(self._accepted)
        report.failures += [f"job {n} was not accepted" for n in range(self._plan.jobs) if n not in self._accepted]
        with oracle_of(self._stack, report) as oracle:
            for number, job_id in sorted(self._accepted.items()):
                wrong = oracle.wrong_with(
                    job_id, self._references[number], self._followed, may_be_cancelled=number in self._cancelled
                )
                if wrong:
                    report.failures.append(f"job {number}, {job_id}: {'; '.join(wrong)}")
        self._judge_log()
        with database_of(self._stack) as database, database.read() as session:
            names = dict(session.execute(select(Job.id, Job.name)).all())
            report.from_checkpoints = session.scalars(
                select(func.count()).select_from(Cohort).where(Cohort.from_step > 0)
            ).one()
        report.doubled = len(names) - len(set(names.values()))
        if report.doubled:
            report.failures.append(f"{report.doubled} jobs are there twice")

    def _judge_log(self) -> None:
        """Every answer that said "accepted" under one key named one job, and that job is there."""
        named: dict[str, set[str]] = defaultdict(set)
        with database_of(self._stack) as database, database.read() as session:
            stored = set(session.scalars(select(Job.id)))
        for entry in self._log.entries():
            if entry.what == "submit" and entry.code == 202:
                named[entry.key].add(entry.job_id)
        self._report.failures += [f"{key} was answered with {ids}" for key, ids in named.items() if len(ids) > 1]
        gone = set().union(*named.values()) - stored
        self._report.failures += [f"{job_id} was accepted and is gone" for job_id in sorted(gone)]
