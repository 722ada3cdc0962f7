"""The one Celery task: claim a cohort, train it, record the endings; again, until nothing waits."""

import mmap
import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)
from sqlalchemy import update
from sqlalchemy.orm import Session

from models import lifecycle
from models.database import Database
from models.logs import configure_logging
from models.metric_stream import connect
from models.queue import QUEUES, TRAIN, app
from models.settings import Settings, settings
from models.spec.job import JobSpec
from models.storage import Storage
from models.tables import Cohort
from worker.analysing import Analyst
from worker.presence import Presence
from worker.recorder import Recorder

log = structlog.get_logger()

# One byte shared by the worker's main process and the training processes that it forks: set once, at shutdown.
_draining = mmap.mmap(-1, 1)
_processes = 1


class TrainingProcess:
    """One lane: torch, the data sets that stay warm in it, and its connections."""

    def __init__(self, config: Settings) -> None:
        # torch is imported here, in the forked child and before the first wake-up: CUDA does not survive a fork,
        # and no job has to wait for the import.
        import torch

        self._config = config
        self.device = config.worker_device
        if self.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.threads = config.worker_threads or max(1, (os.cpu_count() or 1) // _processes)
        torch.set_num_threads(self.threads)
        self.database = Database(config.database(), pool_size=4)
        self.redis = connect(config.metrics())
        self.storage = Storage(config.storage_url)
        self.memory_bytes = config.worker_memory_bytes
        description: dict[str, Any] = {
            "threads": self.threads,
            "torch": torch.__version__,
            "cpu": platform.processor() or platform.machine(),
        }
        if self.device == "cuda":
            description["accelerator"] = torch.cuda.get_device_name()
            self.memory_bytes = int(0.8 * torch.cuda.get_device_properties(0).total_memory)
        if QUEUES[self.device] not in app.amqp.queues.consume_from:
            wanted = QUEUES[self.device]
            log.error("worker.hears_nothing", device=self.device, remedy=f"start it with -Q {wanted}, or without -Q")
        self.presence = Presence(self.database, self.device, description, config.heartbeat_seconds)
        self.presence.arrive()
        self.analyst = Analyst(
            self.database, self.storage, config, self.presence.worker_id, self.memory_bytes, lambda: bool(_draining[0])
        )

    def train_until_idle(self) -> None:
        with _deaf_to_sigterm():
            # Measurements first: they take seconds, and whoever waits for a job waits for them, too.
            while not _draining[0] and (self.analyst.analyse_next(self._mark_busy) or self._train_one_cohort()):
                pass

    def _mark_busy(self, session: Session) -> None:
        self.presence.mark(session, busy=True)

    def _train_one_cohort(self) -> bool:
        """Claim and train the head of the queue with its companions. False where nothing waits."""
        from worker.rounds import round_before
        from worker.stored_data import bring, describe
        from worker.training.cost import FEWEST_RUNS
        from worker.training.loop import train
        from worker.training.provenance import provenance
        from worker.training.randomness import Member

        with self.database.write() as session:
            claim = lifecycle.claim(
                session, self.presence.worker_id, self.device, self._cohort_limit, fewest=FEWEST_RUNS
            )
            self.presence.mark(session, busy=claim is not None)
            if claim is not None:
                found = provenance(self.device, len(claim.runs))
                session.execute(update(Cohort).where(Cohort.id == claim.cohort_id).values(provenance=found))
        if claim is None:
            return False
        log.info("cohort.claimed", cohort_id=claim.cohort_id, runs=len(claim.runs))
        recorder = Recorder(claim, self.database, self.redis, self.storage, self._config, lambda: bool(_draining[0]))
        with recorder:
            specs = [run.spec for run in claim.runs]
            members = [Member(run.seed, run.member) for run in claim.runs]
            with self.database.read() as session:
                rounds = [round_before(session, self.storage, run) for run in claim.runs]
                uploaded = describe(session, claim.runs[0].job_id)
            train(
                specs,
                members,
                recorder,
                recorder.directives,
                rounds=rounds,
                device=self.device,
                stored=bring(*uploaded, self.storage, self._config) if uploaded else None,
                memory_bytes=self.memory_bytes,
            )
        return True

    def _cohort_limit(self, spec: JobSpec) -> int:
        from worker.training.cost import cohort_limit

        return cohort_limit(spec, device=self.device, threads=self.threads, memory_bytes=self.memory_bytes)


_process: TrainingProcess | None = None


@app.task(name=TRAIN)
def train() -> None:
    assert _process is not None, "Celery runs tasks only in a process that was initialised"
    _process.train_until_idle()


@contextmanager
def _deaf_to_sigterm() -> Iterator[None]:
    # A SIGTERM to the whole process group would end the training process between two writes. The main process hears it
    # too, and asks through the shared byte.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@setup_logging.connect
def _log(**_: Any) -> None:
    configure_logging(settings().log_format)


@worker_init.connect
def _count_processes(sender: Any, **_: Any) -> None:
    global _processes
    _processes = max(1, int(getattr(sender, "concurrency", 1) or 1))


@worker_process_init.connect
def _start(**_: Any) -> None:
    global _process
    _process = TrainingProcess(settings())


@worker_process_shutdown.connect
def _leave(**_: Any) -> None:
    if _process is not None:
        _process.presence.leave()


@worker_shutting_down.connect
def _drain(**_: Any) -> None:
    _draining[0] = 1
