"""Commands about data sets: upload, list, show, delete."""

import json
import shlex
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from descent import dataset_tables, packing, suggestion
from descent.client import Client
from descent.commands.jobs import client
from descent.console import Json, err, out, print_json
from descent.errors import Refused
from descent.references import find_dataset
from descent.sending import SendingDisplay
from models.answers import Dataset

app = typer.Typer(no_args_is_help=True, help="Upload data sets, and look at them.")

Reference = Annotated[
    str, typer.Argument(metavar="DATASET", help="Its name, its id, or the beginning of its id.", show_default=False)
]
Format = Literal["auto", "csv", "tsv", "parquet", "npy", "npz", "images", "idx", "cifar"]


@app.command()
def upload(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="One file; or several, or a folder of class folders.", show_default=False),
    ],
    name: Annotated[str, typer.Option(help="By which specs may call it; the file's own by default.")] = "",
    format: Annotated[Format, typer.Option(help='"auto" goes by the content.')] = "auto",
    image_size: Annotated[
        int | None, typer.Option(min=1, max=1_024, help="Side in pixels to which images of class folders are resized.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Upload a file as a data set; several files or a folder are packed into one."""
    with client() as service:
        with SendingDisplay(err) as display:
            dataset = service.upload(*files, name=name, format=format, image_size=image_size, progress=display)
        if as_json:
            print_json(dataset)
            return
        out.print(dataset_tables.headline(dataset))
        asked = name or packing.default_name(files)
        if asked and dataset.name != asked:
            out.print(Text(f"The service has had the same data already, called {dataset.name}.", style="yellow"))
        out.print(dataset_tables.contents(dataset), Text(), sep="\n")
        _suggest(service, dataset)


def _suggest(service: Client, dataset: Dataset) -> None:
    """Print a command to type next, and what it takes the data for."""
    spec = suggestion.spec_for(dataset)
    try:
        planned = service.validate(spec)
    except Refused as refused:
        out.print(Text(f"No job can train on this as it is:\n{refused}", style="yellow"))
        return
    if planned.dataset is not None:
        out.print(dataset_tables.reading(planned.dataset))
    for warning in planned.warnings:
        if planned.dataset is None or warning not in dataset_tables.omissions(planned.dataset):
            out.print(Text(warning, style="yellow"))
    typed = f"echo {shlex.quote(json.dumps(spec, ensure_ascii=False))} | descent submit - --watch"
    out.print(Text("\nTrain on it so, or with another target:", style="dim"))
    # In one piece, however long: it is there to be copied.
    out.print(Text(f"  {typed}"), soft_wrap=True)


@app.command("list")
def list_datasets(
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20, as_json: Json = False
) -> None:
    """List the data sets that were uploaded, newest first."""
    with client() as service:
        found = list(islice(service.datasets(page_size=min(limit, 200)), limit))
    if as_json:
        print_json(found)
    elif found:
        out.print(dataset_tables.listed(found))
    else:
        out.print("No data sets.")


@app.command()
def show(reference: Reference, as_json: Json = False) -> None:
    """Show a data set: its columns and its first rows, or its classes."""
    with client() as service:
        dataset = find_dataset(service, reference)
        preview = service.preview(dataset)
    if as_json:
        print_json({"dataset": dataset.model_dump(mode="json"), "preview": preview.model_dump(mode="json")})
        return
    facts = Table.grid(padding=(0, 2))
    for name, value in (
        ("id", dataset.id),
        ("format", dataset.format),
        ("known as", dataset.known),
        ("uploaded", f"{dataset.created_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("sha256", dataset.sha256[:12]),
    ):
        if value:
            facts.add_row(Text(name, style="dim"), Text(value))
    parts = [dataset_tables.headline(dataset), facts, Text(), dataset_tables.contents(dataset)]
    if preview.rows and dataset.layout == "table":
        parts += [Text(), dataset_tables.first_rows(preview, out.width)]
    out.print(Group(*parts))


@app.command()
def delete(reference: Reference, as_json: Json = False) -> None:
    """Delete a data set that no job needs."""
    with client() as service:
        dataset = find_dataset(service, reference)
        service.delete_dataset(dataset)
    if as_json:
        print_json({"id": dataset.id, "name": dataset.name, "deleted": True})
    else:
        out.print(f"{dataset.name} is deleted.", highlight=False, markup=False)
