"""The command that hands runs on to other tools."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from descent.commands.jobs import client
from descent.console import Json, err, out, print_json
from descent.exporting import Exported, to_mlflow, to_tensorboard
from descent.references import find_jobs
from models.answers import Job

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""What MLflow reads from the environment, unless it is set there: it reports to nobody, speaks up only where something
is wrong, and lets a person who waits know soon that nothing answers."""


def export(
    references: Annotated[
        list[str] | None, typer.Argument(metavar="JOB…", help="Names or ids of the jobs.", show_default=False)
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="All jobs of this experiment.")] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URI|FOLDER", help="A tracking server, a store, or a folder for a store.", show_default=False
        ),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where TensorBoard looks: its --logdir.", file_okay=False)
    ] = None,
    artifacts: Annotated[bool, typer.Option(help="Hand MLflow the weights and the other files of the runs.")] = True,
    as_json: Json = False,
) -> None:
    """Write the runs of jobs into MLflow or for TensorBoard; what is there already is not doubled."""
    if bool(references) == bool(experiment):
        raise typer.BadParameter("name either jobs or an --experiment")
    if mlflow is None and tensorboard is None:
        raise typer.BadParameter("say where to: --mlflow, --tensorboard or both")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with client() as service:
        jobs = find_jobs(service, references or ()) or list(service.jobs(experiment=experiment))
        targets: dict[str, Callable[[Job], list[Exported]]] = {}
        if mlflow is not None:
            targets["mlflow"] = partial(to_mlflow, service, destination=mlflow, artifacts=artifacts)
        if tensorboard is not None:
            targets["tensorboard"] = partial(to_tensorboard, service, folder=tensorboard)
        done: dict[str, list[Exported]] = {target: [] for target in targets}
        with err.status("Exporting …"):
            for target, write in targets.items():
                for job in jobs:
                    done[target] += write(job)
    if as_json:
        print_json({target: [one.model_dump(mode="json") for one in runs] for target, runs in done.items()})
    elif any(done.values()):
        out.print(_drawn(done, {job.id: job.name or job.id for job in jobs}))
    else:
        out.print("No runs.")


def _drawn(done: dict[str, list[Exported]], names: dict[str, str]) -> Table:
    """One row a run and tool."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    has_members = any(one.member for runs in done.values() for one in runs)
    table.add_column("job", no_wrap=True)
    for heading in ("seed", "member") if has_members else ("seed",):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("to", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("points", no_wrap=True, justify="right")
    # A place gives way first where the terminal is narrow; --json has it in full.
    table.add_column("place", overflow="ellipsis")
    for target, runs in done.items():
        for one in runs:
            table.add_row(
                Text(names[one.job_id], style="bold"),
                str(one.seed),
                *([str(one.member)] if has_members else []),
                target,
                one.outcome,
                f"{one.points:,}",
                Text(one.place),
            )
    return table
