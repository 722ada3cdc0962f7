"""The command that asks a trained network."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from descent.commands.jobs import client
from descent.console import Json, err, out, print_json
from descent.references import find_run
from models.answers import Predictions

MOST_ROWS = 100
MOST_CLASSES = 6
"""Of more, the predicted one's probability alone is shown."""


def predict(
    reference: Annotated[
        str, typer.Argument(metavar="RUN", help="Its id, or a job of which one run has succeeded.", show_default=False)
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Rows below a header.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Predict the rows of a CSV file with a run's network."""
    with client() as service, err.status("Predicting …"):
        found = service.predict(find_run(service, reference), file)
    if as_json:
        print_json(found)
    else:
        out.print(_drawn(found))


def _drawn(found: Predictions) -> RenderableType:
    shares = found.probabilities
    has_few = len(found.classes) <= MOST_CLASSES
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("row", no_wrap=True, justify="right")
    table.add_column(Text(found.target), no_wrap=True, overflow="ellipsis", justify="left" if shares else "right")
    for heading in () if shares is None else found.classes if has_few else ("probability",):
        table.add_column(Text(heading), no_wrap=True, overflow="ellipsis", justify="right")
    for place, said in enumerate(found.predictions[:MOST_ROWS]):
        share = () if shares is None else shares[place] if has_few else (max(shares[place]),)
        told = said if isinstance(said, str) else f"{said:.4g}"
        table.add_row(str(place + 1), Text(told, style="bold"), *(f"{one:.3f}" for one in share))
    left = len(found.predictions) - MOST_ROWS
    return table if left <= 0 else Group(table, Text(f"and {left:,} more rows: --json has them all", style="dim"))
