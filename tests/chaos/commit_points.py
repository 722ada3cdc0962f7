"""An API that dies where a submission could be half done: each point once, when its token lies in the folder."""

import os
import signal
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from models.tables import Job

VARIABLE = "DESCENT_CHAOS_FOLDER"
POINTS = ("before_insert", "before_commit", "after_commit")


def token(folder: Path, point: str) -> Path:
    """The file that makes the API die at this point."""
    return folder / f"die-{point}"


def apply() -> None:
    """Watch this process's transactions, if a test says where tokens lie."""
    if not (name := os.environ.get(VARIABLE)):
        return
    folder = Path(name)

    def die_at(point: str) -> None:
        try:
            token(folder, point).unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Session, "before_flush")
    def _flush(session: Session, *_: Any) -> None:
        if any(isinstance(one, Job) for one in session.new):
            session.info["submits"] = True
            die_at("before_insert")

    @event.listens_for(Session, "before_commit")
    def _commit(session: Session) -> None:
        if session.info.get("submits"):
            die_at("before_commit")

    @event.listens_for(Session, "after_commit")
    def _committed(session: Session) -> None:
        if session.info.get("submits"):
            die_at("after_commit")
