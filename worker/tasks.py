"""The one Celery task: claim a cohort, train it, record the endings; again, until nothing waits."""

import mmap
import platform
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models import checkpoints, lifecycle
from models.cores import cores
from models.database import Database
from models.lifecycle import Claim
from models.logs import configure_logging
from models.metric_stream import connect
from models.queue import QUEUES, TRAIN, app
from models.settings import Settings, settings
from models.spec.job import JobSpec
from models.status import LIVE
from models.storage import Storage
from models.tables import Cohort, Run
from worker import memory
from worker.analysing import Analyst
from worker.checkpoints import DamagedCheckpoint, Restored, read
from worker.lanes import Lane, LaneWatch
from worker.presence import Presence
from worker.recorder import Recorder, end_this_process
from worker.silence import longest_silence

STORAGE_PAUSE_SECONDS = 2.0
"""A storage that does not answer is left alone for so long."""
DRAIN_LOOK_SECONDS = 0.25

log = structlog.get_logger()

# One byte shared by the worker's main process and the training processes that it forks: set once, at shutdown.
_draining = mmap.mmap(-1, 1)
_processes = 1
_lanes: Path | None = None
"""Where the main process sees how its training processes are; made before they are."""
_lane_watch: LaneWatch | None = None


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
        self._cores = max(1, cores() // _processes)
        torch.set_num_threads(config.worker_threads or 1)
        self.database = Database(config.database(), pool_size=4)
        self.redis = connect(config.metrics())
        self.storage = Storage(config.storage_url)
        self.memory_bytes = config.worker_memory_bytes
        description: dict[str, Any] = {
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "cpu": platform.processor() or platform.machine(),
        }
        if self.device == "cuda":
            description["accelerator"] = torch.cuda.get_device_name()
            self.memory_bytes = int(config.device_memory_share * torch.cuda.get_device_properties(0).total_memory)
        if QUEUES[self.device] not in app.amqp.queues.consume_from:
            wanted = QUEUES[self.device]
            log.error("worker.hears_nothing", device=self.device, remedy=f"start it with -Q {wanted}, or without -Q")
        self.presence = Presence(self.database, self.device, description, config.heartbeat_seconds)
        self.presence.arrive()
        assert _lanes is not None, "the main process makes the folder before it makes processes"
        self.lane = Lane(_lanes, self.presence.worker_id)
        if self.device == "cpu":
            memory.bound(max(config.worker_memory_bytes, config.max_job_memory_bytes))
        threading.Thread(target=self._leave_in_time, name="drain", daemon=True).start()
        self.analyst = Analyst(
            self.database,
            self.storage,
            config,
            self.presence.worker_id,
            self.memory_bytes,
            self._threads_for,
            lambda: bool(_draining[0]),
        )

    def train_until_idle(self) -> None:
        with _deaf_to_sigterm():
            while not _draining[0] and self._do_next():
                pass

    def _do_next(self) -> bool:
        """Measure or train for the owner whose turn it is. False where nothing waits.

        Measurements first: they take seconds, and whoever waits for a job waits for them, too.
        """
        return (
            self.analyst.analyse_next(self._mark_busy, beside_runs_on=self.device)
            or self._train_one_cohort()
            # It was the turn of somebody who may not train more at once.
            or self.analyst.analyse_next(self._mark_busy)
        )

    def _mark_busy(self, session: Session) -> None:
        self.presence.mark(session, busy=True)

    def _train_one_cohort(self) -> bool:
        """Claim and train the head of the queue with its companions. False where nothing waits."""
        from worker.rounds import round_before
        from worker.stored_data import bring, describe
        from worker.training.boundary import Saving
        from worker.training.cost import FEWEST_RUNS
        from worker.training.loop import train
        from worker.training.provenance import provenance
        from worker.training.randomness import Member
        from worker.training.threads import use_threads

        with self.database.write() as session:
            claim = lifecycle.claim(
                session,
                self.presence.worker_id,
                self.device,
                self._cohort_limit,
                fewest=FEWEST_RUNS,
                most_running=self._config.max_running_runs,
            )
            self.presence.mark(session, busy=claim is not None)
            if claim is not None:
                use_threads(self._threads_for(claim.runs[0].spec))
                found = provenance(self.device, len(claim.runs))
                session.execute(update(Cohort).where(Cohort.id == claim.cohort_id).values(provenance=found))
        if claim is None:
            return False
        log.info("cohort.claimed", cohort_id=claim.cohort_id, runs=len(claim.runs))
        restored = self._restored(claim)
        if restored is None and claim.resume_step:
            return True
        specs = [run.spec for run in claim.runs]
        recorder = Recorder(
            claim,
            self.database,
            self.redis,
            self.storage,
            self._config,
            lambda: bool(_draining[0]),
            summaries=restored.summaries if restored else None,
            stall_seconds=self._config.stall_seconds + longest_silence(specs),
            beat=self.lane.beat,
        )
        with recorder:
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
                saving=Saving(self._config.checkpoint_seconds, self._config.checkpoint_steps or None),
                resume=restored.saved if restored else None,
            )
        self.lane.rest()
        return True

    def _restored(self, claim: Claim) -> Restored | None:
        """What the runs go on from; None where they begin, or were given back as their checkpoint cannot be read."""
        if not claim.resume_step:
            return None
        try:
            with self.database.read() as session:
                places = checkpoints.places(session, claim)
            return read(self.storage, places)
        except DamagedCheckpoint as error:
            log.error("checkpoint.damaged", checkpoint_id=error.checkpoint_id, error=str(error))
            with self.database.write() as session:
                checkpoints.discard(session, error.checkpoint_id)
                self._give_back(session)
        except OSError as error:
            log.error("checkpoint.unreadable", error=f"{type(error).__name__}: {error}")
            with self.database.write() as session:
                self._give_back(session)
            time.sleep(STORAGE_PAUSE_SECONDS)
        return None

    def _give_back(self, session: Session) -> None:
        """Release all that this process holds; it costs nobody an attempt."""
        held = select(Run.id, Run.attempt).where(Run.worker_id == self.presence.worker_id, Run.status.in_(LIVE))
        for run_id, attempt in session.execute(held.order_by(Run.id)).all():
            lifecycle.release(session, run_id, attempt)

    def _leave_in_time(self) -> None:
        """What does not end by itself when the worker drains is given back as it was last saved, and the process ends.

        That is a step, or a measurement, that takes longer than whoever stops the worker is ready to wait.
        """
        while not _draining[0]:
            time.sleep(DRAIN_LOOK_SECONDS)
        time.sleep(self._config.drain_seconds)
        log.warning("worker.leaves_what_it_did", worker_id=self.presence.worker_id)
        try:
            with self.database.write() as session:
                self._give_back(session)
            self.presence.leave()
            self.lane.leave()
        except SQLAlchemyError as error:
            # Its lease ends by itself.
            log.warning("worker.gives_nothing_back", error=type(error).__name__)
        end_this_process()

    def _cohort_limit(self, spec: JobSpec) -> int:
        from worker.training.cost import cohort_limit

        threads = self._threads_for(spec)
        return cohort_limit(spec, device=self.device, threads=threads, memory_bytes=self.memory_bytes)

    def _threads_for(self, spec: JobSpec) -> int:
        from worker.training.cost import default_threads

        return self._config.worker_threads or default_threads(spec, self._cores)


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
def _prepare(sender: Any, **_: Any) -> None:
    global _processes, _lanes
    _processes = max(1, int(getattr(sender, "concurrency", 1) or 1))
    _lanes = Path(tempfile.mkdtemp(prefix="descent-lanes-"))


@worker_ready.connect
def _watch(**_: Any) -> None:
    global _lane_watch
    assert _lanes is not None
    config = settings()
    # A process that is silent for so long has lost its lease, or is about to.
    silence = config.lease_seconds * 25 / 30
    _lane_watch = LaneWatch(_lanes, lambda: Database(config.database(), pool_size=1), silence)
    _lane_watch.start()


@worker_shutdown.connect
def _clear(**_: Any) -> None:
    if _lane_watch is not None:
        _lane_watch.stop()
    if _lanes is not None:
        shutil.rmtree(_lanes, ignore_errors=True)


@worker_process_init.connect
def _start(**_: Any) -> None:
    global _process
    _process = TrainingProcess(settings())


@worker_process_shutdown.connect
def _leave(**_: Any) -> None:
    if _process is not None:
        _process.presence.leave()
        _process.lane.leave()


@worker_shutting_down.connect
def _drain(**_: Any) -> None:
    _draining[0] = 1
