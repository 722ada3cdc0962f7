"""Commands about the sealed test: open, show, ledger."""

from itertools import islice
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from descent.client import Client
from descent.commands.jobs import Reference, client
from descent.commands.results import number
from descent.console import Json, err, out, print_json
from descent.references import find_job
from models.answers import Job, TestEvaluation

app = typer.Typer(no_args_is_help=True, help="Open a job's sealed test rows, once and on record.")


@app.command("open")
def open_test(
    reference: Reference,
    opened_by: Annotated[str, typer.Option("--by", help="Who looks; your address by default.")] = "",
    reason: Annotated[str, typer.Option(help="What for.")] = "",
    as_json: Json = False,
) -> None:
    """Measure a job on the rows that were sealed away. It goes on record, and cannot be taken back."""
    with client() as service:
        job = find_job(service, reference)
        service.open_test(job, opened_by=opened_by, reason=reason)
        with err.status("Measuring on the sealed rows …"):
            service.wait_for_test(job)
        _show(service, job, as_json=as_json)


@app.command()
def show(reference: Reference, as_json: Json = False) -> None:
    """Show the test scores of a job that was opened."""
    with client() as service:
        _show(service, find_job(service, reference), as_json=as_json)


@app.command()
def ledger(
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20,
    as_json: Json = False,
) -> None:
    """List who looked at which sealed rows, newest first."""
    with client() as service:
        looks = list(islice(service.test_ledger(), limit))
    if as_json:
        print_json(looks)
    elif looks:
        out.print(_table_of(looks))
    else:
        out.print("Nobody has looked at sealed rows.")


def _show(service: Client, job: Job, *, as_json: bool) -> None:
    found = service.test_evaluation(job)
    if as_json:
        print_json(found)
        return
    out.print(Text(job.name or job.id, style="bold"))
    out.print(
        f"Look {found.look} of its experiment, {found.looks_at_dataset} at this data set; "
        f"{found.evaluated} of {found.runs} runs measured.",
        style="dim",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, estimate in found.scores.items():
        over = "" if estimate.seeds == 1 else f" over {estimate.seeds} seeds"
        table.add_row(Text(name.replace("_", " "), style="bold"), f"{number(estimate)}{over}")
    out.print(table)
    for failure in dict.fromkeys(found.failures):
        out.print(Text(f"Not measured: {failure}", style="red"))


def _table_of(looks: list[TestEvaluation]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("opened", "by", "job", "experiment", "look", "score", "reason"):
        table.add_column(heading, justify="right" if heading == "look" else "left")
    for look in looks:
        name, score = next(((name, score) for name, score in look.scores.items() if name != "test_loss"), ("", None))
        table.add_row(
            f"{look.opened_at:%Y-%m-%d %H:%M}",
            Text(look.opened_by),
            Text(look.job_name or look.job_id),
            Text(look.experiment),
            str(look.look),
            "" if score is None else f"{name.removeprefix('test_')} {score.mean:.4g}",
            Text(look.reason),
        )
    return table
