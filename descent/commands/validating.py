"""The command that says what a spec asks for, before anything is trained."""

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from descent import documents
from descent.commands.jobs import client
from descent.console import Json, err, out, print_json
from descent.dataset_tables import omissions, reading


def validate(
    spec: Annotated[Path, typer.Argument(help="A YAML or JSON file, or - for standard input.", allow_dash=True)],
    as_json: Json = False,
) -> None:
    """Check a spec, and say what it asks for and what it takes its data for; nothing is stored."""
    content = documents.read(spec)
    with client() as service:
        planned = service.validate(content)
    if as_json:
        print_json(planned)
        return
    if planned.dataset is not None:
        out.print(Text(planned.dataset.name, style="bold"))
        out.print(reading(planned.dataset))
    work = Table.grid(padding=(0, 2))
    for name, value in (
        ("runs", f"{planned.runs:,} of {planned.steps:,} steps, {planned.steps_per_epoch:,} an epoch"),
        ("trains on", f"{planned.training_rows:,} rows in batches of {planned.batch_rows:,}"),
        ("validates on", f"{planned.validation_rows:,} rows"),
        ("seals", f"{planned.test_rows:,} rows"),
        ("parameters", f"{planned.parameters:,}"),
        ("memory", f"{decimal(planned.memory_bytes)} a run"),
        ("storage", f"{decimal(planned.stored_bytes)} for all runs"),
        ("spec hash", planned.spec_hash[:12]),
    ):
        work.add_row(Text(name, style="dim"), Text(value))
    out.print(work)
    told = omissions(planned.dataset) if planned.dataset else ()
    for warning in planned.warnings:
        if warning not in told:
            err.print(warning, style="yellow", highlight=False, markup=False)
