"""How long to wait before the next look or the next try, and when it has been long enough."""

import random
import time
from math import inf

from descent.errors import TimedOut
from models.answers import Job
from models.status import RunStatus


class Pace:
    """Pauses that grow until time is up; all in seconds, and None is for ever."""

    def __init__(self, seconds: float | None, *, first: float = 0.1, growth: float = 1.5, longest: float = 1.0) -> None:
        self._seconds = inf if seconds is None else seconds
        self._deadline = time.monotonic() + self._seconds
        self._pause = first
        self._growth = growth
        self._longest = longest

    @property
    def is_over(self) -> bool:
        """Whether time would be up after the next pause."""
        return time.monotonic() + self._pause > self._deadline

    def slow_down(self, seconds: float | None) -> None:
        """Make the next pause as long as the other side asks for, if it does."""
        if seconds is not None:
            self._pause = seconds

    def next_pause(self) -> float:
        # A little chance keeps a crowd of clients from coming back all at once.
        pause = self._pause * random.uniform(1.0, 1.2)  # noqa: S311
        self._pause = min(self._growth * self._pause, self._longest)
        return pause

    def next_pause_while(self, what: str, later: str = "it goes on") -> float:
        """The next pause of somebody who waits for an end.

        Raises:
            TimedOut: if time is up.

        """
        if self.is_over:
            raise TimedOut(f"{what} after {self._seconds:g} s; {later}")
        return self.next_pause()


def still(job: Job) -> tuple[str, str]:
    """What to say of a job that has not ended, and of what comes later."""
    later = "it goes on once it is resumed" if job.status is RunStatus.PAUSED else "it goes on"
    return f"{job.name or job.id} is still {job.status}", later
