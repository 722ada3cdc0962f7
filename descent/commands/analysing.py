"""Commands that measure trained networks: analyse, analyses."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from descent import documents
from descent.client import Client
from descent.commands.jobs import client
from descent.console import Json, err, out, print_json
from descent.measuring import RUN_PREFIX
from descent.references import find_job
from models.answers import Analysis, Job, Run

Reference = Annotated[
    str, typer.Argument(metavar="JOB|RUN", help="A job's name or id, or a run's id.", show_default=False)
]


def analyse(
    reference: Reference,
    kind: Annotated[str, typer.Argument(help="What to measure: `descent components analysis` lists it.")],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="A field of the analysis, such as rows=500."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a trained network, or those of all runs of a job: sharpness, hessian, loss_landscape, …"""
    with client() as service:
        named = _find(service, reference)
        asked = {one.id for one in service.analyse(named, {"kind": kind} | _options(option or ()))}
        with err.status(f"Measuring {len(asked)} {'run' if len(asked) == 1 else 'runs'} …"):
            found = [one for one in service.wait_for_analyses(named, details=as_json) if one.id in asked]
    _show(found, as_json=as_json)


def analyses(reference: Reference, as_json: Json = False) -> None:
    """Show what was measured of a job's networks, or of a run's."""
    with client() as service:
        found = service.analyses(_find(service, reference), details=as_json)
    _show(found, as_json=as_json)


def _find(service: Client, reference: str) -> Job | Run:
    return service.run(reference) if reference.startswith(RUN_PREFIX) else find_job(service, reference)


def _options(given: Sequence[str]) -> dict[str, Any]:
    """`rows=500` as YAML reads it: numbers are numbers, [1, 2] is a list."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{text!r} is no NAME=VALUE", param_hint="--option")
        options |= documents.parse(f"{name.strip()}: {value}", "--option")
    return options


def _show(found: Sequence[Analysis], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("Nothing was measured. `descent analyse JOB sharpness` does.", highlight=False)
        return
    for index, kind in enumerate(dict.fromkeys(one.kind for one in found)):
        if index:
            out.print()
        out.print(Text(kind.replace("_", " "), style="bold"))
        out.print(_table([one for one in found if one.kind == kind]))


def _table(found: Sequence[Analysis]) -> Table:
    """A row a run, a column a number; what is not there yet, or never will be, says so."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    names = list(dict.fromkeys(name for one in found for name in one.values))
    several = any(one.member for one in found)
    unmeasured = any(one.status != "succeeded" for one in found)
    for heading in ("seed", *(["run"] if several else []), *(name.replace("_", " ") for name in names)):
        table.add_column(heading, justify="right")
    if unmeasured:
        table.add_column("")
    for one in found:
        cells: list[str | Text] = [str(one.seed), *([str(one.member)] if several else [])]
        cells += [_number(one.values.get(name)) for name in names]
        if unmeasured:
            cells.append(_state(one))
        table.add_row(*cells)
    return table


def _state(one: Analysis) -> Text:
    said = "" if one.status == "succeeded" else one.status_detail or one.status
    return Text(said, style="red" if one.status == "failed" else "dim")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
