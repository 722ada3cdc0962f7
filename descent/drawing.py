"""How jobs in training are drawn: a headline per job, a bar per run."""

from collections.abc import Sequence
from math import ceil
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from models.answers import Job, Run
from models.status import RunStatus

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


class Seen:
    """The jobs, their runs and each run's latest loss, as of the last look."""

    def __init__(self, jobs: Sequence[Job], metric: str) -> None:
        self.jobs = list(jobs)
        self.metric = metric
        self.runs: dict[str, list[Run]] = {job.id: [] for job in jobs}
        self.losses: dict[str, float | None] = {}
        self.is_silent = False

    @property
    def is_over(self) -> bool:
        return all(job.is_terminal for job in self.jobs)


def draw(seen: Seen, console: Console) -> RenderableType:
    """A headline per job and a bar per run, or bars for the jobs alone where the terminal is too small."""
    columns = max(1, console.width // (CELL_WIDTH + 1))
    lines = sum(2 + ceil(len(seen.runs[job.id]) / columns) for job in seen.jobs)
    parts: list[RenderableType] = []
    for job in seen.jobs:
        parts.append(headline(seen, job))
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


def headline(seen: Seen, job: Job) -> Text:
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


def _bars(seen: Seen, runs: Sequence[Run], columns: int) -> Table:
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
