"""Commands about the service itself: what waits, who works, what is wrong."""

from itertools import islice
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from descent.checkup import Finding, findings
from descent.commands.jobs import client
from descent.console import Json, out, print_json

_WIDEST_OWNER = 40
_MARKS = {"well": ("✓", "green"), "notice": ("!", "yellow"), "broken": ("✗", "red")}


def queue(as_json: Json = False) -> None:
    """Say what waits for a worker."""
    with client() as service:
        found = service.queue()
    if as_json:
        print_json(found)
        return
    waiting = ", ".join(f"{count:,} for {device}" for device, count in found.waiting_by_device.items()) or "nothing"
    oldest = f", the oldest for {found.oldest_waiting_seconds:,.0f} s" if found.oldest_waiting_seconds else ""
    out.print(f"Waiting: {waiting}{oldest}. In training: {found.running:,}.", highlight=False)
    for warning in found.warnings:
        out.print(warning, style="yellow", markup=False, highlight=False)


def usage(
    owner: Annotated[str | None, typer.Option(help="Another owner: for admins.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Show the storage and the runs of an owner against the quotas."""
    with client() as service:
        used = service.usage(owner)
    if as_json:
        print_json(used)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(used.owner, overflow="ellipsis", no_wrap=True, max_width=_WIDEST_OWNER)
    table.add_column("used", justify="right")
    table.add_column("limit", justify="right")
    stored = used.stored_bytes
    for name, size in (
        ("data sets", stored.datasets),
        ("artifacts", stored.artifacts),
        ("checkpoints", stored.checkpoints),
        ("expected of unfinished runs", used.expected_bytes),
    ):
        table.add_row(name, decimal(size), "")
    limit = "none" if used.max_stored_bytes is None else decimal(used.max_stored_bytes)
    table.add_row("storage", decimal(stored.total + used.expected_bytes), limit, style="bold")
    limit = "none" if used.max_queued_runs is None else f"{used.max_queued_runs:,}"
    table.add_row("queued runs", f"{used.queued_runs:,}", limit, style="bold")
    table.add_row("running runs", f"{used.running_runs:,}", f"{used.max_running_runs:,}", style="bold")
    out.print(table)


def workers(as_json: Json = False) -> None:
    """List the training processes that are there: for admins."""
    with client() as service:
        found = service.workers()
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("host", "process", "device", "threads", "torch", "is", "since"):
        table.add_column(heading)
    for worker in found:
        described = worker.description
        row = [
            worker.host,
            str(worker.process_id),
            worker.device,
            str(described.get("threads", "")),
            str(described.get("torch", "")),
        ]
        table.add_row(
            *map(Text, (*row, "busy" if worker.busy else "idle", f"{worker.started_at.astimezone():%m-%d %H:%M}"))
        )
    out.print(table if found else "No workers. `descent up` starts one with the service.")


def list_experiments(
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20, as_json: Json = False
) -> None:
    """List experiments, the one with the newest job first."""
    with client() as service:
        found = list(islice(service.experiments(), limit))
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("experiment", "jobs", "runs", "last job"):
        table.add_column(heading, justify="right" if heading in ("jobs", "runs") else "left")
    for one in found:
        last = f"{one.last_created_at.astimezone():%m-%d %H:%M}"
        table.add_row(Text(one.name, style="bold"), f"{one.jobs:,}", f"{sum(one.runs_by_status.values()):,}", last)
    out.print(table if found else "No experiments: a spec names its own in `experiment`.")


def doctor(as_json: Json = False) -> None:
    """Look at this machine and at the service, and say what is wrong and what helps."""
    found: list[Finding] = []
    with client() as service:
        for one in findings(service):
            found.append(one)
            if not as_json:
                _tell(one)
    is_well = all(one.state != "broken" for one in found)
    if as_json:
        print_json({"well": is_well, "findings": [vars(one) for one in found]})
    if not is_well:
        raise typer.Exit(1)


def _tell(finding: Finding) -> None:
    mark, style = _MARKS[finding.state]
    line = Text.assemble((f"{mark} ", style), (f"{finding.what:<10} ", "bold"), finding.told)
    if finding.remedy:
        line.append(f"\n{'':13}{finding.remedy}", style="dim")
    out.print(line, soft_wrap=True, highlight=False)
