"""Whose a run is, for readers of live metrics: Redis does not know, and SQL is not to be asked at every poll."""

from collections import OrderedDict

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select

from api.callers import Caller
from api.errors import NOT_FOUND, Refusal
from models.database import Database
from models.tables import Run

MOST_REMEMBERED = 100_000


class RunOwners:
    """Remembers whose runs are, which never changes. What does not exist is asked for anew each time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owners: OrderedDict[str, str] = OrderedDict()

    async def demand(self, caller: Caller, run_id: str) -> None:
        """Let a caller at a run.

        Raises:
            Refusal: if it is somebody else's, in the words of one that does not exist.

        """
        if caller.is_admin or self._owners.get(run_id) == caller.owner:
            return
        await run_in_threadpool(self._look_up, caller, run_id)
        self._owners[run_id] = caller.owner
        if len(self._owners) > MOST_REMEMBERED:
            self._owners.popitem(last=False)

    def _look_up(self, caller: Caller, run_id: str) -> None:
        with self._database.of(caller.sees).read() as session:
            if session.scalar(select(Run.id).where(Run.id == run_id)) is None:
                raise Refusal(NOT_FOUND, f"there is no run {run_id}")
