# Made from descent/asynchronous/watching.py: change that file, then `make format`.
"""What there is to see of jobs in training: looked up now and then, and shown."""

import time
from collections import deque
from collections.abc import Sequence

from rich.console import Console

from descent.client import Client
from descent.drawing import Seen
from descent.errors import Unreachable
from descent.pacing import Pace, still
from descent.screens import screen
from models.answers import Job
from models.metrics import DEFAULT_METRIC
from models.status import RunStatus

LOOK_SECONDS = 0.4
LINE_SECONDS = 10.0
RUNS_PER_LOOK = 8
"""How many runs are asked for their latest loss at each look: watching must not cost more than training."""
SILENCE_SECONDS = 60.0
"""How long a service may be away, for a restart for example, before watching ends."""


class Watch(Seen):
    """What is seen of jobs by looking again and again."""

    def __init__(self, client: Client, jobs: Sequence[Job], metric: str = DEFAULT_METRIC) -> None:
        super().__init__(jobs, metric)
        self._client = client
        self._cursors: dict[str, str] = {}
        self._turns: deque[str] = deque()
        self._heard = time.monotonic()

    def look(self) -> None:
        """Ask the service again; while it is away, what was known stays.

        Raises:
            Unreachable: if it has been away for a minute.

        """
        try:
            self._look_at_jobs()
            self._look_at_losses()
        except Unreachable:
            if time.monotonic() - self._heard > SILENCE_SECONDS:
                raise
            self.is_silent = True
        else:
            self._heard = time.monotonic()
            self.is_silent = False

    def _look_at_jobs(self) -> None:
        for index, job in enumerate(self.jobs):
            if job.is_terminal and self.runs[job.id]:
                continue
            # The runs come after the job: a job that has ended has runs that have.
            self.jobs[index] = self._client.job(job)
            self.runs[job.id] = self._client.runs(job)
            for run in self.runs[job.id]:
                if self.metric in run.summary and run.is_terminal:
                    self.losses[run.id] = run.summary[self.metric].last

    def _look_at_losses(self) -> None:
        if not self._turns:
            started = (run for runs in self.runs.values() for run in runs if run.status is RunStatus.RUNNING)
            self._turns.extend(run.id for run in started)
        for _ in range(min(RUNS_PER_LOOK, len(self._turns))):
            run_id = self._turns.popleft()
            page = self._client.metrics_page(run_id, [self.metric], after=self._cursors.get(run_id, ""))
            self._cursors[run_id] = page.next_after
            if values := [column.value for name, column in page.series.items() if name == self.metric and column.value]:
                self.losses[run_id] = values[0][-1]


def watch(client: Client, jobs: Sequence[Job], console: Console, timeout: float | None = None) -> list[Job]:
    """Show jobs until they have ended, as moving bars in a terminal or a notebook and as lines elsewhere.

    A paused job is told to be so, and watched on: it may be resumed from elsewhere.

    Raises:
        TimedOut: after `timeout` seconds.

    """
    seen = Watch(client, jobs)
    pace = Pace(timeout, first=LOOK_SECONDS, longest=LOOK_SECONDS)
    seen.look()
    with screen(console, LINE_SECONDS) as show:
        show(seen)
        while not seen.is_over:
            under_way = next(job for job in seen.jobs if not job.is_terminal)
            time.sleep(pace.next_pause_while(*still(under_way)))
            seen.look()
            show(seen)
    return seen.jobs
