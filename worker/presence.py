"""A training process's own row in the table of workers: I am here, I can do this, I am busy."""

import os
import socket
import threading
from typing import Any

import structlog
from sqlalchemy import delete, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.database import Database
from models.tables import Worker, new_id, now

log = structlog.get_logger()


class Presence:
    """Registers the process and counts its heartbeat until it leaves."""

    def __init__(self, database: Database, device: str, description: dict[str, Any], seconds: float) -> None:
        self.worker_id = new_id("worker")
        self._database = database
        self._seconds = seconds
        self._leaving = threading.Event()
        self._row = {
            "id": self.worker_id,
            "host": socket.gethostname(),
            "process_id": os.getpid(),
            "device": device,
            "description": description,
            "started_at": now(),
        }
        self._busy = False
        self._thread = threading.Thread(target=self._beat, name="presence", daemon=True)

    def arrive(self) -> None:
        with self._database.write() as session:
            session.add(Worker(**self._row, heartbeat=0, busy=False, seen_at=now()))
        self._thread.start()

    def mark(self, session: Session, *, busy: bool) -> None:
        """Say in the caller's transaction whether the process trains or could be woken."""
        self._busy = busy
        session.execute(update(Worker).where(Worker.id == self.worker_id).values(busy=busy, seen_at=now()))

    def leave(self) -> None:
        self._leaving.set()
        with self._database.write() as session:
            session.execute(delete(Worker).where(Worker.id == self.worker_id))

    def _beat(self) -> None:
        while not self._leaving.wait(self._seconds):
            try:
                with self._database.write() as session:
                    counted = session.execute(
                        update(Worker)
                        .where(Worker.id == self.worker_id)
                        .values(heartbeat=Worker.heartbeat + 1, seen_at=now())
                        .returning(Worker.id)
                    )
                    # Taken for dead while the machine slept or SQL was away: come back.
                    if counted.first() is None and not self._leaving.is_set():
                        session.add(Worker(**self._row, heartbeat=0, busy=self._busy, seen_at=now()))
            except SQLAlchemyError as error:
                log.warning("presence.retrying", error=type(error).__name__)
