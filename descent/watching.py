"""What there is to see of jobs in training: looked up now and then, drawn as bars or told in lines."""

import time
from collections import deque
from collections.abc import Sequence
from math import ceil, inf
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from descent.client import Client
from descent.errors import Unreachable
from models.answers import Job, Run
from models.metrics import DEFAULT_METRIC
from models.status import RunStatus

LOOK_SECONDS = 0.4
LINE_SECONDS = 10.0
RUNS_PER_LOOK = 8
"""How many runs are asked for their latest loss at each look: watching must not cost more than training."""
SILENCE_SECONDS = 60.0
"""How long a service may be away, for a restart for example, before watching ends."""
CELL_WIDTH = 38
STYLES = {
    RunStatus.QUEUED: "dim",
    RunStatus.RUNNING: "cyan",
    RunStatus.PAUSING: "blue",
    RunStatus.PAUSED: "blue",
    RunStatus.CANCELLING: "yellow",
    RunStatus.SUCCEEDED: "green",
    RunStatus.FAILED: "red",
    RunStatus.CANCELLED: "yellow",
}


class Watch:
    """The jobs, their runs and each run's latest loss, as of the last look."""

    def __init__(self, client: Client, jobs: Sequence[Job], metric: str = DEFAULT_METRIC) -> None:
        self.jobs = list(jobs)
        self.metric = metric
        self.runs: dict[str, list[Run]] = {job.id: [] for job in jobs}
        self.losses: dict[str, float | None] = {}
        self.is_silent = False
        self._client = client
        self._cursors: dict[str, str] = {}
        self._turns: deque[str] = deque()
        self._heard = time.monotonic()

    @property
    def is_over(self) -> bool:
        return all(job.is_terminal for job in self.jobs)

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


def watch(client: Client, jobs: Sequence[Job], console: Console) -> list[Job]:
    """Show jobs until they have ended, as moving bars on a terminal and as a line now and then elsewhere.

    A paused job is told to be so, and watched on: it may be resumed from elsewhere.
    """
    seen = Watch(client, jobs)
    seen.look()
    if not console.is_terminal:
        _tell(seen, console)
        return seen.jobs
    with Live(draw(seen, console), console=console, auto_refresh=False) as live:
        while not seen.is_over:
            time.sleep(LOOK_SECONDS)
            seen.look()
            live.update(draw(seen, console), refresh=True)
    return seen.jobs


def _tell(seen: Watch, console: Console) -> None:
    """A line per job now and then, the last one when the job has ended."""
    under_way = set(seen.runs)
    told = -inf
    while under_way:
        is_time = time.monotonic() - told >= LINE_SECONDS
        for job in seen.jobs:
            if job.id in under_way and (is_time or job.is_terminal):
                console.print(_headline(seen, job), soft_wrap=True)
        if is_time:
            told = time.monotonic()
        under_way -= {job.id for job in seen.jobs if job.is_terminal}
        if under_way:
            time.sleep(LOOK_SECONDS)
            seen.look()


def draw(seen: Watch, console: Console) -> RenderableType:
    """A headline per job and a bar per run, or bars for the jobs alone where the terminal is too small."""
    columns = max(1, console.width // (CELL_WIDTH + 1))
    lines = sum(2 + ceil(len(seen.runs[job.id]) / columns) for job in seen.jobs)
    parts: list[RenderableType] = []
    for job in seen.jobs:
        parts.append(_headline(seen, job))
        if lines < console.height:
            parts += [_bars(seen, seen.runs[job.id], columns), Text()]
        else:
            # A bar alone does not end its line; a row of a table does.
            row = Table.grid(expand=True)
            row.add_row(ProgressBar(total=max(1, job.progress.total), completed=job.progress.completed))
            parts.append(row)
    if seen.is_silent:
        parts.append(Text("The service does not answer; trying again.", style="yellow"))
    return Group(*parts)


def _headline(seen: Watch, job: Job) -> Text:
    ended = sum(count for status, count in job.runs_by_status.items() if status.is_terminal)
    parts = [f"{ended}/{sum(job.runs_by_status.values())} ended"]
    losses = [loss for run in seen.runs[job.id] if (loss := seen.losses.get(run.id)) is not None]
    if losses:
        parts.append(f"{seen.metric} {median(losses):.4g}" + (" median" if len(losses) > 1 else ""))
    if not job.is_terminal and job.progress.eta_seconds is not None:
        parts.append(f"{job.progress.eta_seconds:.0f} s left")
    share = f"{_percent(job.progress.completed, job.progress.total):>4}"
    text = Text.assemble((f"{job.name or job.id}", "bold"), "  ", (job.status.value, STYLES[job.status]), f"  {share}")
    text.append("  " + ", ".join(parts), style="dim")
    if job.status is RunStatus.PAUSED:
        text.append(f"\n  It rests until it is resumed: descent resume {job.name or job.id}", style=STYLES[job.status])
    for warning in job.warnings if not job.is_terminal else ():
        text.append(f"\n  {warning}", style="yellow")
    return text


def _bars(seen: Watch, runs: Sequence[Run], columns: int) -> Table:
    table = Table.grid(padding=(0, 1))
    for _ in range(columns):
        table.add_column(width=9, no_wrap=True)
        table.add_column(width=13)
        table.add_column(width=5, justify="right", no_wrap=True)
        table.add_column(width=8, justify="right", no_wrap=True)
    rows = ceil(len(runs) / columns)
    has_members = any(run.member for run in runs)
    for row in range(rows):
        # Down the first column, then down the next, as one reads a list.
        cells = [
            cell for run in runs[row::rows] for cell in _cell(run, seen.losses.get(run.id), has_members=has_members)
        ]
        table.add_row(*cells)
    return table


def _cell(run: Run, loss: float | None, *, has_members: bool) -> tuple[RenderableType, ...]:
    style = STYLES[run.status]
    bar = ProgressBar(
        total=max(1, run.progress.total),
        completed=run.progress.completed,
        width=13,
        complete_style=style,
        finished_style=style,
    )
    told = {
        RunStatus.FAILED: "fails",
        RunStatus.CANCELLED: "off",
        RunStatus.QUEUED: "waits",
        RunStatus.PAUSED: "rests",
    }
    share = told.get(run.status) or _percent(run.progress.completed, run.progress.total)
    value = "" if loss is None else f"{loss:.4g}"
    name = f" run {run.seed}.{run.member}" if has_members else f" seed {run.seed}"
    return Text(name), bar, Text(share, style=style), Text(value)


def _percent(completed: int, total: int) -> str:
    return f"{100 * completed // max(1, total)} %"
