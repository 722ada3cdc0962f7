"""The control: the same load as ordinary Celery tasks, which keep what they find in Redis.

`celery -A tests.chaos.plain_celery worker` is its worker. The task is the same call of the engine; it acknowledges
late, pushes every window of points to a list, and sets its result when it is done. Where `CAREFUL` is set it does what
manuals recommend on top: it is rejected when its process is lost, tries again after an error, and its message is
delivered again soon after its worker has vanished; and its Redis writes everything to disk.
"""

import hashlib
import json
import os
import pickle
import random
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import redis
from celery import Celery
from numpy.typing import NDArray

from tests.chaos.driver import Plan
from tests.chaos.faults import Faults, Target
from tests.chaos.load import WALL_CLOCK, Members, Reference, as_bytes, spec_of
from tests.chaos.report import Report
from tests.chaos.stack import Installation, Program

BROKER, RESULTS, FOLDER, CAREFUL = (
    "CHAOS_PLAIN_BROKER",
    "CHAOS_PLAIN_RESULTS",
    "CHAOS_PLAIN_FOLDER",
    "CHAOS_PLAIN_CAREFUL",
)
EXECUTIONS = "executions.txt"
REDELIVERED_SECONDS = 20
STILL_SECONDS = 45.0
"""When nothing has ended for so long, nothing will."""
LOOK_SECONDS = 0.5

WORKER = ("-m", "celery", "--quiet", "-A", "tests.chaos.plain_celery", "worker", "--concurrency", "1")

_careful = bool(os.environ.get(CAREFUL))


def application(broker_url: str) -> Celery:
    """The app of clients and workers."""
    celery = Celery("plain", broker=broker_url)
    celery.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_proc_alive_timeout=120,
        broker_connection_retry_on_startup=True,
    )
    if _careful:
        celery.conf.task_reject_on_worker_lost = True
        celery.conf.broker_transport_options = {"visibility_timeout": REDELIVERED_SECONDS}
    return celery


app = application(os.environ.get(BROKER, "memory://"))


def _train(number: int) -> None:
    """Train one job."""
    import torch

    from models.spec.job import JobSpec
    from models.storage import Storage
    from models.tables import WEIGHTS
    from worker import artifacts
    from worker.training.loop import train as train_runs
    from worker.training.randomness import Member

    torch.set_num_threads(1)
    wanted = JobSpec.model_validate(spec_of(number))
    storage = Storage(f"{os.environ[FOLDER]}/storage")
    with redis.Redis.from_url(os.environ[RESULTS]) as client:
        with (Path(os.environ[FOLDER]) / EXECUTIONS).open("a") as executions:
            executions.write(f"{number}\n")
        digests = {}
        for seed, member in wanted.runs:
            heard = Pushing(client, f"{number}:{member}")
            train_runs([wanted], [Member(seed, member)], heard, dict)
            assert heard.ending.weights is not None
            file = artifacts.store(storage, f"{number}-{seed}-{member}", 0, WEIGHTS, heard.ending.weights)
            with storage.open(file.storage_key) as content:
                digests[str(member)] = hashlib.sha256(content.read()).hexdigest()
        client.set(f"result:{number}", json.dumps(digests))


train = app.task(name="plain.train", **({"autoretry_for": (Exception,), "max_retries": 10} if _careful else {}))(_train)


class Pushing:
    """Hears of one run, and pushes what it hears to Redis."""

    ending: Any

    def __init__(self, client: "redis.Redis", name: str) -> None:
        self._client = client
        self._name = name

    def mode(self, mode: Any) -> None: ...
    def snapshot(self, row: int, step: int, content: dict[str, Any]) -> None: ...
    def saved(self, rows: Sequence[int], saved: Any) -> None: ...

    def ended(self, _: int, ending: Any) -> None:
        self.ending = ending

    def points(self, metric: str, _: Sequence[int], steps: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        self._client.rpush(f"points:{self._name}", pickle.dumps((metric, steps, values[:, 0])))


class PlainInstallation(Installation):
    """Redis and plain Celery's workers, under the same supervisor."""

    def __init__(self, folder: Path, workers: int, *, careful: bool) -> None:
        super().__init__(folder, ("--appendonly", "yes") if careful else ())
        (folder / EXECUTIONS).touch()
        self.environment |= {
            BROKER: self.broker_url,
            RESULTS: self.metrics_url,
            FOLDER: str(folder),
            "PYTHONWARNINGS": "ignore",
        }
        if careful:
            self.environment[CAREFUL] = "1"
        self.workers = [Program("worker", lambda: self._python("worker", *WORKER)) for _ in range(workers)]


class PlainDriver:
    """Sends the tasks, lets the same faults strike, and counts what is left."""

    def __init__(
        self, stack: PlainInstallation, name: str, plan: Plan, references: Sequence[Members], faults: Faults
    ) -> None:
        self._stack = stack
        self._plan = plan
        self._references = references
        self._report = Report(name, submitted=plan.jobs)
        self._faults = faults
        self._seen: set[int] = set()
        self._stopping = threading.Event()

    def run(self) -> Report:
        """Submit, disturb, wait until nothing moves, and count."""
        began = moved = time.monotonic()
        deadline = began + self._plan.limit_seconds
        threads = [threading.Thread(target=what, daemon=True) for what in (self._submit_all, self._strike)]
        for thread in threads:
            thread.start()
        try:
            while time.monotonic() < deadline and len(self._seen) < self._plan.jobs:
                time.sleep(LOOK_SECONDS)
                if self._look() or threads[0].is_alive():
                    moved = time.monotonic()
                if time.monotonic() - moved > STILL_SECONDS:
                    break
        finally:
            self._stopping.set()
        for thread in threads:
            thread.join(timeout=30)
        self._report.seconds = time.monotonic() - began
        self._count()
        return self._report

    def _submit_all(self) -> None:
        celery = application(self._stack.broker_url)
        for number in range(self._plan.jobs):
            while not self._stopping.is_set():
                try:
                    celery.send_task("plain.train", [number], retry=False)
                except Exception:
                    time.sleep(LOOK_SECONDS)
                else:
                    self._report.accepted += 1
                    break
            if self._stopping.wait(self._plan.submit_seconds / self._plan.jobs):
                return

    def _strike(self) -> None:
        chance = random.Random(self._plan.seed)
        target = Target(self._stack, chance)
        while not self._stopping.wait(self._plan.fault_seconds):
            (name,) = chance.choices(list(self._faults), [weight for weight, _ in self._faults.values()])
            if self._faults[name][1](target):
                self._report.faults[name] += 1

    def _look(self) -> bool:
        """Take what has a result. That is generous: what Redis forgets afterwards is not held against anybody."""
        before = len(self._seen)
        try:
            with redis.Redis.from_url(self._stack.metrics_url, socket_timeout=2) as client:
                for number in set(range(self._plan.jobs)) - self._seen:
                    found: Any = client.get(f"result:{number}")
                    if found:
                        self._judge(client, number, json.loads(found))
        except redis.RedisError:
            pass  # it is away
        return len(self._seen) > before

    def _judge(self, client: "redis.Redis", number: int, digests: Mapping[str, str]) -> None:
        references = self._references[number]
        payloads: dict[int, Any] = {member: client.lrange(f"points:{number}:{member}", 0, -1) for member in references}
        self._seen.add(number)
        for member, reference in references.items():
            self._report.runs += 1
            # Both count, whatever the other says.
            points, weights = self._is_right(payloads[member], reference), digests[str(member)] == reference.weights
            self._report.bit_equal += points and weights
            self._report.wrong_bits += not (points and weights)

    def _count(self) -> None:
        report = self._report
        report.terminal, report.lost = len(self._seen), report.accepted - len(self._seen)
        executions = (self._stack.folder / EXECUTIONS).read_text().split()
        report.executed_again = len(executions) - len(set(executions))
        report.failures += [f"job {n} has no result" for n in range(self._plan.jobs) if n not in self._seen]

    def _is_right(self, payloads: Sequence[bytes], reference: Reference) -> bool:
        parts: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {}
        for payload in payloads:
            metric, steps, values = pickle.loads(payload)
            parts.setdefault(metric, []).append((steps, values))
        right = [self._is_series_right(metric, parts.get(metric, []), reference.series) for metric in reference.series]
        return all(right)

    def _is_series_right(
        self,
        metric: str,
        parts: Sequence[tuple[NDArray[Any], NDArray[Any]]],
        series: Mapping[str, tuple[bytes, bytes]],
    ) -> bool:
        wanted_steps, wanted_values = series[metric]
        steps = np.concatenate([part for part, _ in parts]) if parts else np.empty(0)
        values = np.concatenate([part for _, part in parts]) if parts else np.empty(0)
        there, wanted = set(map(int, steps)), set(map(int, np.frombuffer(wanted_steps, "<i4")))
        self._report.duplicated_points += len(steps) - len(there)
        self._report.gaps += len(wanted - there)
        told = as_bytes(steps, values)
        return told[0] == wanted_steps and (metric in WALL_CLOCK or told[1] == wanted_values)
