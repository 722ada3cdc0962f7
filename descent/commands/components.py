"""The command that lists what a spec can name."""

from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from descent.commands.jobs import client
from descent.console import Json, out, print_json
from descent.errors import DescentError
from models.answers import ComponentChoice


def list_components(
    family: Annotated[str | None, typer.Argument(help="Such as optimizer.")] = None,
    kind: Annotated[str | None, typer.Argument(help="Such as adam.")] = None,
    as_json: Json = False,
) -> None:
    """List the choices that a spec can make: all, those of one family, or one in full."""
    with client() as service:
        choices = service.components(family)
    if kind is not None:
        choices = [choice for choice in choices if choice.kind == kind]
        if not choices:
            raise DescentError(f"There is no {family} {kind!r}. `descent components {family}` lists them.")
    if as_json:
        print_json(choices)
    elif kind is not None:
        _print_one(choices[0])
    else:
        _print_all(choices)


def _print_all(choices: Sequence[ComponentChoice]) -> None:
    table = Table.grid(padding=(0, 2))
    for family, members in groupby(choices, key=lambda choice: choice.family):
        table.add_row(Text(family, style="bold"))
        for choice in members:
            table.add_row(Text(f"  {choice.kind}", style="cyan"), Text(choice.summary.partition("\n")[0]))
    out.print(table)


def _print_one(choice: ComponentChoice) -> None:
    out.print(Text.assemble((choice.kind, "bold"), "  ", choice.summary, "\n"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("field", "default", "meaning"):
        table.add_column(heading)
    fields: dict[str, dict[str, Any]] = choice.json_schema.get("properties", {})
    for name, schema in fields.items():
        if name != "kind":
            default = choice.defaults.get(name)
            described = str(schema.get("description") or "")
            table.add_row(Text(name, style="cyan"), Text("" if default is None else str(default)), Text(described))
    out.print(table)
