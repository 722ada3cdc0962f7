"""Whose a run is, for readers of live metrics: Redis does not know, and SQL is not to be asked at every poll."""

from collections import OrderedDict

from sqlalchemy import select

from api.auth.principals import Principal
from api.errors import NOT_FOUND, Refusal
from api.quotas.requests import run_in_turn
from models.database import Database
from models.tables import Run

MOST_REMEMBERED = 100_000


class RunOwners:
    """Remembers whose runs are, which never changes. What does not exist is asked for anew each time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owners: OrderedDict[str, str] = OrderedDict()

    async def demand(self, principal: Principal, run_id: str) -> None:
        """Check that a principal may read a run.

        Raises:
            Refusal: if the run does not exist or belongs to another owner; the error is the same.

        """
        if principal.is_admin or self._owners.get(run_id) == principal.owner:
            return
        await run_in_turn(self._look_up, principal, run_id)
        self._owners[run_id] = principal.owner
        if len(self._owners) > MOST_REMEMBERED:
            self._owners.popitem(last=False)

    def _look_up(self, principal: Principal, run_id: str) -> None:
        with self._database.of(principal.sees).read() as session:
            if session.scalar(select(Run.id).where(Run.id == run_id)) is None:
                raise Refusal(NOT_FOUND, f"there is no run {run_id}")
