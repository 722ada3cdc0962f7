"""Commands about single jobs, from handing in to deleting."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from descent import documents, watching
from descent.client import Client
from descent.console import INTERRUPTED, Json, err, out, print_json
from descent.drawing import STYLES
from descent.references import find_job, find_run
from models.answers import Job, MetricSummary, Run
from models.metrics import DEFAULT_METRIC
from models.spec.datasets import Dataset
from models.spec.optimizers import SAM, Optimizer
from models.spec.uploads import Uploaded
from models.status import RunStatus

PATIENCE_SECONDS = 2.0

Reference = Annotated[str, typer.Argument(metavar="JOB", help="Its name, its id, or the beginning of its id.")]


def client() -> Client:
    """A person who waits wants to know soon that nothing answers."""
    return Client(patience_seconds=PATIENCE_SECONDS)


def submit(
    spec: Annotated[Path, typer.Argument(help="A YAML or JSON file, or - for standard input.", allow_dash=True)],
    watch: Annotated[bool, typer.Option("--watch", help="Stay and watch it train.")] = False,
    on_duplicate: Annotated[
        Literal["new", "return"],
        typer.Option(help="What to do if a job of the same spec has succeeded: train anew, or return that job."),
    ] = "new",
    as_json: Json = False,
) -> None:
    """Hand in a job."""
    content = documents.read(spec)
    with client() as service:
        job = service.submit(content, on_duplicate=on_duplicate)
        if watch:
            _watch(service, [job], as_json)
        elif as_json:
            print_json(job)
        else:
            out.print(f"{job.id} is {job.status}: {_count(job)}", highlight=False)
            _warn(job)
            out.print(f"Watch it with `descent watch {job.name or job.id}`.", style="dim", highlight=False)


def list_jobs(
    owner: Annotated[str | None, typer.Option(help="Only jobs of this owner: for admins.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only jobs of this experiment.")] = None,
    status: Annotated[RunStatus | None, typer.Option(help="Only jobs of this status.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only jobs with this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    with client() as service:
        page_size = min(limit, 200)
        jobs = service.jobs(owner=owner, experiment=experiment, status=status, tag=tag, page_size=page_size)
        found = list(islice(jobs, limit))
    if as_json:
        print_json(found)
    elif found:
        out.print(table_of(found))
    else:
        out.print("No jobs.")


def show(reference: Reference, as_json: Json = False) -> None:
    """Show a job and its runs."""
    with client() as service:
        job = find_job(service, reference)
        runs = service.runs(job)
    if as_json:
        print_json({"job": job.model_dump(mode="json"), "runs": [run.model_dump(mode="json") for run in runs]})
        return
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("id", job.id),
        ("experiment", job.experiment),
        ("status", job.status.value),
        ("owner", job.owner),
        ("submitted", f"{job.created_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("data", f"{_data(job.spec.dataset)}, batches of {job.spec.batch_size}"),
        ("network", job.spec.network.kind),
        ("steps a run", f"{job.progress.total // max(1, len(runs)):,}"),
        ("optimizer", f"{_rule(job.spec.optimizer)}, learning rate {job.spec.optimizer.learning_rate:g}"),
        ("schedule", job.spec.schedule.kind),
        ("regularizers", ", ".join(regularizer.kind for regularizer in job.spec.regularizers)),
        ("evaluation", job.spec.evaluation.kind),
        ("spec hash", job.spec_hash[:12]),
        ("tags", ", ".join(job.tags)),
        ("notes", job.notes),
        ("can be", ", ".join(job.actions)),
    ):
        if value:
            facts.add_row(Text(name, style="dim"), Text(str(value)))
    out.print(Group(Text(job.name or job.id, style="bold"), facts, Text(), _table_of_runs(runs)))
    _warn(job)


def _data(dataset: Dataset) -> str:
    if isinstance(dataset, Uploaded) and dataset.found is not None:
        return f"{dataset.id}, {dataset.found.task} of {dataset.found.target}"
    return dataset.kind


def _rule(optimizer: Optimizer) -> str:
    return f"sam over {optimizer.base.kind}" if isinstance(optimizer, SAM) else optimizer.kind


def watch(reference: Reference, as_json: Json = False) -> None:
    """Watch a job train, a bar per run. Ctrl-C leaves it running."""
    with client() as service:
        _watch(service, [find_job(service, reference)], as_json)


def cancel(reference: Reference, as_json: Json = False) -> None:
    """Cancel what has not ended of a job."""
    with client() as service:
        _report(service.cancel(find_job(service, reference)), as_json)


def pause(reference: Reference, as_json: Json = False) -> None:
    """Let a job rest: what trains is saved, and frees its worker."""
    with client() as service:
        _report(service.pause(find_job(service, reference)), as_json)


def resume(reference: Reference, as_json: Json = False) -> None:
    """Let a paused job go on from where it was saved."""
    with client() as service:
        _report(service.resume(find_job(service, reference)), as_json)


def extend(
    reference: Reference,
    steps: Annotated[int | None, typer.Option(min=1, help="Train each run for so many steps in all.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Train each run for so many epochs in all.")] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Let each run train for so many seconds at most; alone, at any time.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let an ended job go on under a larger budget, from its last checkpoints."""
    if steps is None and epochs is None and max_seconds is None:
        raise typer.BadParameter("say how far it is to go: --steps, --epochs or --max-seconds")
    if steps is not None and epochs is not None:
        raise typer.BadParameter("give the budget either in --steps or in --epochs")
    if max_seconds is not None and not max_seconds > 0:
        raise typer.BadParameter("--max-seconds must be greater than 0")
    with client() as service:
        job = find_job(service, reference)
        _report(service.extend(job, steps=steps, epochs=epochs, max_seconds=max_seconds), as_json)


def retry(reference: Reference, as_json: Json = False) -> None:
    """Queue a job's failed and cancelled runs again; they go on from their last checkpoints."""
    with client() as service:
        _report(service.retry(find_job(service, reference)), as_json)


def label(
    reference: Reference,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="In place of its tags; once for each.")] = None,
    notes: Annotated[str | None, typer.Option(help="In place of its notes.")] = None,
    priority: Annotated[int | None, typer.Option(min=-100, max=100, help="Among your own waiting runs.")] = None,
    as_json: Json = False,
) -> None:
    """Change a job's name, tags, notes or priority; none of it touches what is trained."""
    if (name, tags, notes, priority) == (None, None, None, None):
        raise typer.BadParameter("say what is to change: --name, --tag, --notes or --priority")
    with client() as service:
        job = find_job(service, reference)
        _report(service.update(job, name=name, tags=tags, notes=notes, priority=priority), as_json)


def delete(
    reference: Reference,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete an ended job with its runs, histories and weights."""
    with client() as service:
        job = find_job(service, reference)
        called = job.name or job.id
        if not yes:
            typer.confirm(f"Delete {called} with its histories and weights? It cannot be undone", abort=True, err=True)
        service.delete(job)
    if as_json:
        print_json({"id": job.id, "name": job.name, "deleted": True})
    else:
        out.print(f"{called} is deleted.", highlight=False, markup=False)


def download(
    reference: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, or a job of which one run has succeeded.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; a name of its own by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Save the trained weights of a run as a safetensors file."""
    with client() as service:
        run = find_run(service, reference)
        path = service.weights(run, output or Path(f"{run.id}.safetensors"))
    if as_json:
        print_json({"run_id": run.id, "path": str(path), "size": path.stat().st_size})
    else:
        out.print(f"{path}: {path.stat().st_size:,} bytes", highlight=False, markup=False)


def _watch(service: Client, jobs: Sequence[Job], as_json: bool) -> None:
    try:
        ended = watching.watch(service, jobs, err if as_json else out)
    except KeyboardInterrupt:
        names = ", ".join(job.name or job.id for job in jobs)
        err.print(f"No longer watching; {names} goes on. `descent watch` shows it again, `descent cancel` ends it.")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json(ended[0])
    if any(job.status is not RunStatus.SUCCEEDED for job in ended):
        raise typer.Exit(1)


def _report(job: Job, as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        out.print(f"{job.name or job.id} is {job.status}: {_count(job)}", highlight=False)


def _count(job: Job) -> str:
    return ", ".join(f"{count} {status}" for status, count in job.runs_by_status.items() if count)


def _warn(job: Job) -> None:
    for warning in job.warnings:
        err.print(warning, style="yellow", markup=False, highlight=False)


def table_of(jobs: Sequence[Job]) -> Table:
    """One row per job."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    has_owners = len({job.owner for job in jobs}) > 1
    headings = ("job", *(["owner"] if has_owners else []), "experiment", "status", "progress", "runs", "submitted")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    for job in jobs:
        table.add_row(
            Text(job.name or job.id, style="bold"),
            *([Text(job.owner)] if has_owners else []),
            Text(job.experiment),
            Text(job.status.value, style=STYLES[job.status]),
            ProgressBar(total=max(1, job.progress.total), completed=job.progress.completed, width=16),
            str(sum(job.runs_by_status.values())),
            f"{job.created_at.astimezone():%m-%d %H:%M}",
        )
    return table


def _table_of_runs(runs: Sequence[Run]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    has_members = any(run.member for run in runs)
    headings = ("seed", "member") if has_members else ("seed",)
    for heading in (*headings, "status", "steps", DEFAULT_METRIC, "best", "at step"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "status" else "right")
    has_reasons = any(run.status_reason for run in runs)
    if has_reasons:
        table.add_column("why")
    # An id gives way first where the terminal is narrow; --json has it in full.
    table.add_column("run", overflow="ellipsis")
    nothing = MetricSummary(last=None, best=None, best_step=None)
    for run in runs:
        measured = run.summary.get(DEFAULT_METRIC, nothing)
        why = run.status_detail or run.status_reason or ""
        table.add_row(
            str(run.seed),
            *([str(run.member)] if has_members else []),
            Text(run.status.value, style=STYLES[run.status]),
            f"{run.progress.completed:,}",
            _number(measured.last),
            _number(measured.best),
            "" if measured.best_step is None else f"{measured.best_step:,}",
            *([Text(why)] if has_reasons else []),
            run.id,
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
