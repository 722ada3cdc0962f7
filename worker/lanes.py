"""Sees to training processes that die: says which runs they held and what ended them, within a second.

Each training process keeps a file in a folder that it shares with the worker's main process: who it is, and when its
recorder was last well. The main process looks at them twice a second. Where all of a worker dies at once nobody is left
to look, and the relay takes its runs when their lease is over.
"""

import faulthandler
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from models import crashes
from models.database import Database
from models.status import LIVE, StatusReason
from models.tables import Run, Worker

LOOK_SECONDS = 0.5
_RECORD = struct.Struct("<qd")
"""Process id; the moment of the last beat by the machine's monotonic clock, 0 while nothing trains."""

log = structlog.get_logger()


class Lane:
    """A training process's own file."""

    def __init__(self, folder: Path, worker_id: str) -> None:
        self._path = folder / f"{worker_id}.lane"
        self._fault_path = folder / f"{worker_id}.fault"
        # Python writes here which line a fatal signal came upon, after which nothing else of the process runs.
        self._fault: IO[str] = self._fault_path.open("w")
        faulthandler.enable(self._fault, all_threads=False)
        with self._path.open("w+b") as file:
            file.write(_RECORD.pack(os.getpid(), 0.0))
            file.flush()
            self._record = mmap.mmap(file.fileno(), _RECORD.size)

    def beat(self) -> None:
        """All is well."""
        _RECORD.pack_into(self._record, 0, os.getpid(), time.monotonic())

    def rest(self) -> None:
        """Nothing trains: no beat is missed."""
        _RECORD.pack_into(self._record, 0, os.getpid(), 0.0)

    def leave(self) -> None:
        """The process goes away in good order."""
        faulthandler.disable()
        self._path.unlink(missing_ok=True)
        self._fault_path.unlink(missing_ok=True)


class LaneWatch:
    """A thread of the main process."""

    def __init__(self, folder: Path, connect: Callable[[], Database], silence_seconds: float) -> None:
        """A process whose beat is older than `silence_seconds` is ended."""
        self._folder = folder
        self._connect = connect
        self._silence_seconds = silence_seconds
        self._killed_by_kernel = oom_kills()
        self._hung: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="lane-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            for path in sorted(self._folder.glob("*.lane")):
                try:
                    self._look_at(path)
                except FileNotFoundError:
                    continue  # it left in good order meanwhile
                except SQLAlchemyError as error:
                    log.warning("lanes.retrying", error=type(error).__name__)

    def _look_at(self, path: Path) -> None:
        content = path.read_bytes()
        if len(content) < _RECORD.size:
            return  # it is being written
        process_id, beat = _RECORD.unpack(content)
        if not is_alive(process_id):
            self._account_for(path.stem)
            path.unlink(missing_ok=True)
            path.with_suffix(".fault").unlink(missing_ok=True)
        elif beat and time.monotonic() - beat > self._silence_seconds:
            log.error("process.hung", worker_id=path.stem, process_id=process_id)
            self._hung.add(path.stem)
            os.kill(process_id, signal.SIGKILL)

    def _account_for(self, worker_id: str) -> None:
        """Return what a dead process held, with what ended it."""
        cause = self._cause(worker_id)
        database = self._connect()
        try:
            with database.write() as session:
                held = session.execute(
                    select(Run.id, Run.attempt, Run.cohort_id).where(Run.worker_id == worker_id, Run.status.in_(LIVE))
                ).all()
                for cohort_id in {run.cohort_id for run in held if cause is not None}:
                    assert cause is not None
                    crashes.break_down(session, cohort_id, *cause)
                for run in held:
                    if cause is None:
                        crashes.return_lost(session, run.id, run.attempt)
                # What it measured returns to the queue with this.
                session.execute(delete(Worker).where(Worker.id == worker_id))
        finally:
            # The main process forks: it must not hold a connection then.
            database.dispose()
        log.error("process.died", worker_id=worker_id, runs=len(held), cause=cause[0] if cause else "unknown")

    def _cause(self, worker_id: str) -> tuple[StatusReason, str] | None:
        """What the process itself did wrong; None where somebody else ended it."""
        if worker_id in self._hung:
            self._hung.discard(worker_id)
            return StatusReason.HUNG, f"its training process did nothing for {self._silence_seconds:.0f} s"
        fault = (self._folder / f"{worker_id}.fault").read_text(errors="replace").splitlines()
        if fault:
            where = next((line.strip() for line in fault if line.lstrip().startswith("File ")), "")
            return StatusReason.SEGFAULT, f"its training process broke down: {fault[0].strip()} {where}".strip()
        if (kills := oom_kills()) > self._killed_by_kernel:
            self._killed_by_kernel = kills
            return StatusReason.OUT_OF_MEMORY, "the system ended its training process, as memory was short"
        return None


def is_alive(process_id: int) -> bool:
    """Whether a process exists and is more than a table entry."""
    try:
        # The state stands behind the name, which may hold anything.
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return False
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return False
        return True
    return state not in "ZX"


def oom_kills() -> int:
    """How many processes the kernel has ended here for want of memory; 0 where it does not tell."""
    for source in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        try:
            lines = Path(source).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
