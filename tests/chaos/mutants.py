"""Ways to break the product: a suite that stays green under one of them proves nothing.

They are patches on what a process has imported, applied by the entry modules of this folder alone.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from models import crashes, lifecycle
from models.status import RunStatus
from models.tables import Run

VARIABLE = "DESCENT_CHAOS_MUTANT"


def _changed(session: Session, run_id: str, *conditions: Any, **values: Any) -> bool:
    result = session.execute(
        update(Run)
        .where(Run.id == run_id, *conditions)
        .values(**values)
        .returning(Run.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None


def without_fencing() -> None:
    """Whoever has an old attempt may write."""

    def move(session: Session, run_id: str, _: int, before: set[RunStatus], **values: Any) -> bool:
        return _changed(session, run_id, Run.status.in_(before), **values)

    _replace_move(move)


def without_compare_and_set() -> None:
    """A status changes whatever it was."""

    def move(session: Session, run_id: str, attempt: int, _: set[RunStatus], **values: Any) -> bool:
        return _changed(session, run_id, Run.attempt == attempt, **values)

    _replace_move(move)


def _replace_move(move: Callable[..., bool]) -> None:
    vars(lifecycle)["move"] = vars(crashes)["move"] = move


def without_relay() -> None:
    """Nobody returns lost runs."""
    from api.relay import Relay

    def nothing(self: Relay) -> None:
        return

    Relay._return_lost_runs = nothing  # type: ignore[method-assign]


def without_verification() -> None:
    """Whatever lies in storage is taken for a checkpoint."""
    from worker import checkpoints

    class Believed(str):
        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = str.__hash__

    class Hash:
        def __init__(self, content: bytes) -> None:
            self._true = hashlib.sha256(content)

        def hexdigest(self) -> str:
            return Believed(self._true.hexdigest())

    class Hashes:
        sha256 = Hash

    vars(checkpoints)["hashlib"] = Hashes


def without_chunks_beside_the_checkpoint() -> None:
    """A checkpoint may stand while points before it were never written."""
    from worker.delivery import Share

    written = Share.write_history

    def forgetful(self: Share, session: Session) -> None:
        # Every seventh segment is lost on its way.
        if self.chunks and self.chunks[0].cursor.number % 7 == 6:
            return
        written(self, session)

    Share.write_history = forgetful  # type: ignore[method-assign]


def without_lease() -> None:
    """Whoever once held runs believes that it holds them for good."""
    from worker.recorder import Recorder

    held, remembered = lifecycle.held, dict[str, dict[str, RunStatus]]()

    def believed(session: Session, cohort_id: str) -> dict[str, RunStatus]:
        return remembered.setdefault(cohort_id, held(session, cohort_id))

    def go_on(self: Recorder) -> None:
        return

    vars(lifecycle)["held"] = believed
    Recorder._let_go = go_on  # type: ignore[method-assign]


def without_rollback() -> None:
    """An attempt that goes on from a checkpoint does not say which points it takes back."""
    from worker import run_record

    told = vars(run_record)["Chunk"]

    def silent(*arguments: Any, **more: Any) -> Any:
        return told(*arguments, **more | {"from_step": None})

    vars(run_record)["Chunk"] = silent


def without_optimizer_state() -> None:
    """A checkpoint brings the parameters back, and forgets what the update rule remembered."""
    import numpy as np

    from worker import tasks
    from worker.checkpoints import Restored

    read = vars(tasks)["read"]

    def forgetful(*arguments: Any) -> Restored:
        restored: Restored = read(*arguments)
        tensors = {
            name: np.zeros_like(tensor) if name.startswith("rule.") else tensor
            for name, tensor in restored.saved.tensors.items()
        }
        return restored._replace(saved=replace(restored.saved, tensors=tensors))

    vars(tasks)["read"] = forgetful


def without_idempotency() -> None:
    """A submission that comes again is another one."""
    from api.routes import jobs

    answer_once = vars(jobs)["answer_once"]

    def answer_always(request: Any, database: Any, _: Any, body: Any, act: Any) -> Any:
        return answer_once(request, database, None, body, act)

    vars(jobs)["answer_once"] = answer_always


MUTANTS: dict[str, Callable[[], None]] = {
    "without_fencing": without_fencing,
    "without_compare_and_set": without_compare_and_set,
    "without_relay": without_relay,
    "without_verification": without_verification,
    "without_chunks_beside_the_checkpoint": without_chunks_beside_the_checkpoint,
    "without_lease": without_lease,
    "without_rollback": without_rollback,
    "without_optimizer_state": without_optimizer_state,
    "without_idempotency": without_idempotency,
}


def apply() -> None:
    """Break this process as the environment says; leave it whole where that says nothing."""
    name = os.environ.get(VARIABLE, "")
    if name:
        MUTANTS[name]()
