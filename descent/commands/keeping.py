"""The command that tidies an installation."""

from typing import Annotated

import typer
from rich.filesize import decimal
from rich.table import Table

from descent.commands.jobs import client
from descent.console import Json, out, print_json


def collect_garbage(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, and say what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what has had its time, and files that nothing names. The service does so by itself once an hour."""
    with client() as service:
        report = service.collect_garbage(dry_run=dry_run)
    if as_json:
        print_json(report)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "count", "size"):
        table.add_column(heading, justify="right" if heading else "left")
    for what, removed in (
        ("checkpoints of runs that ended long ago", report.checkpoints),
        ("histories", report.histories),
        ("artifacts", report.artifacts),
        ("files that nothing names", report.orphans),
    ):
        table.add_row(what, f"{removed.count:,}", decimal(removed.bytes))
    out.print(table)
    for key in report.orphan_keys:
        out.print(f"  {key}", style="dim", highlight=False, markup=False)
    for key in report.damaged:
        out.print(
            f"Not what was written: {key}. Its runs go on from the checkpoint before.", style="yellow", markup=False
        )
    out.print("Nothing was removed." if report.dry_run else "That is removed.", style="dim")
