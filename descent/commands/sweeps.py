"""Commands about sweeps: submit a grid, list, show, pause, resume, cancel."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from descent import documents
from descent.client import Client
from descent.commands.jobs import client, table_of
from descent.console import Json, out, print_json
from descent.drawing import STYLES
from descent.errors import DescentError
from models.answers import Sweep
from models.status import RunStatus

app = typer.Typer(no_args_is_help=True, help="A base spec times a grid, as one request.")

Reference = Annotated[
    str, typer.Argument(metavar="SWEEP", help="Its name, its id, or the beginning of its id.", show_default=False)
]
NEWEST = 1_000


@app.command()
def submit(
    base: Annotated[
        Path, typer.Argument(help="The base spec, YAML or JSON, or - for standard input.", allow_dash=True)
    ],
    grid: Annotated[
        list[str],
        typer.Option(
            "--grid",
            "-g",
            metavar="PATH=VALUES",
            help='A dotted path and its values: "optimizer.learning_rate=0.001,0.01". Once for each path.',
        ),
    ],
    name: Annotated[str, typer.Option(help="Begins the names of its jobs, and is their experiment.")] = "",
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of each job, in place of the base's.")] = None,
    as_json: Json = False,
) -> None:
    """Hand in one job for each combination of a grid."""
    content = documents.read(base)
    with client() as service:
        sweep = service.submit_sweep(content, dict(map(_axis, grid)), name=name, seeds=seeds)
    _report(sweep, as_json)


def _axis(text: str) -> tuple[str, list[Any]]:
    path, sign, values = text.partition("=")
    if not sign or not path.strip() or not values.strip():
        raise typer.BadParameter(f'"{text}" is no PATH=VALUES, such as optimizer.learning_rate=0.001,0.01')
    return path.strip(), list(documents.parse(f"values: [{values}]", "--grid")["values"])


@app.command("list")
def list_sweeps(
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20, as_json: Json = False
) -> None:
    """List sweeps, newest first."""
    with client() as service:
        found = list(islice(service.sweeps(page_size=min(limit, 200)), limit))
    if as_json:
        print_json(found)
    elif found:
        out.print(_table(found))
    else:
        out.print("No sweeps.")


@app.command()
def show(reference: Reference, as_json: Json = False) -> None:
    """Show a sweep and its jobs."""
    with client() as service:
        sweep = service.sweep(_find(service, reference))
        jobs = list(service.jobs(sweep=sweep.id, sort="oldest"))
    if as_json:
        print_json({"sweep": sweep.model_dump(mode="json"), "jobs": [job.model_dump(mode="json") for job in jobs]})
        return
    out.print(Text(sweep.name or sweep.id, style="bold"), table_of(jobs), sep="\n")


@app.command()
def cancel(reference: Reference, as_json: Json = False) -> None:
    """Cancel what has not ended of a sweep."""
    _act(reference, Client.cancel_sweep, as_json)


@app.command()
def pause(reference: Reference, as_json: Json = False) -> None:
    """Let every job of a sweep rest: what trains is saved, and frees its worker."""
    _act(reference, Client.pause_sweep, as_json)


@app.command()
def resume(reference: Reference, as_json: Json = False) -> None:
    """Let every paused job of a sweep go on from where it was saved."""
    _act(reference, Client.resume_sweep, as_json)


def _act(reference: str, act: Callable[[Client, str], Sweep], as_json: bool) -> None:
    with client() as service:
        _report(act(service, _find(service, reference)), as_json)


def _report(sweep: Sweep, as_json: bool) -> None:
    if as_json:
        print_json(sweep)
        return
    runs = ", ".join(f"{count} {status}" for status, count in sweep.runs_by_status.items() if count)
    out.print(f"{sweep.id} is {sweep.status}: {sweep.jobs} jobs, {runs}", highlight=False)
    out.print(f"See them with `descent sweep show {sweep.name or sweep.id}`.", style="dim", highlight=False)


def _find(service: Client, reference: str) -> str:
    """The id of the one sweep that a reference means.

    Raises:
        DescentError: if none is meant, or several are.

    """
    newest = list(islice(service.sweeps(), NEWEST))
    meant = [one for one in newest if reference in (one.name, one.id)] or [
        one for one in newest if one.id.startswith(reference)
    ]
    if len(meant) == 1:
        return meant[0].id
    if not meant:
        raise DescentError(f"No sweep is called {reference!r}. `descent sweep list` shows them.")
    listed = "\n".join(f"  {one.id}  {one.created_at:%Y-%m-%d %H:%M}" for one in meant[:10])
    raise DescentError(f"{len(meant)} sweeps are called {reference!r}; take an id:\n{listed}")


def _table(sweeps: list[Sweep]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("sweep", "status", "jobs", "runs", "ended", "grid", "submitted"):
        table.add_column(heading, justify="right" if heading in ("jobs", "runs", "ended") else "left")
    for sweep in sweeps:
        ended = sum(count for status, count in sweep.runs_by_status.items() if RunStatus(status).is_terminal)
        table.add_row(
            Text(sweep.name or sweep.id, style="bold"),
            Text(sweep.status.value, style=STYLES[sweep.status]),
            str(sweep.jobs),
            f"{sum(sweep.runs_by_status.values()):,}",
            f"{ended:,}",
            Text(", ".join(sweep.grid)),
            f"{sweep.created_at.astimezone():%m-%d %H:%M}",
        )
    return table
