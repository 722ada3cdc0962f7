"""Commands about labs: list, show, run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from descent import lab_results
from descent.client import Client
from descent.commands import reports
from descent.console import Json, err, out, print_json
from descent.errors import DescentError
from descent.lab_results import LabResult
from descent.lab_runs import question, run_lab, service_at_hand
from descent.private_service import terminable
from models import labs
from models.answers import Job
from models.claims import Claim
from models.labs import Lab

app = typer.Typer(no_args_is_help=True, help="Experiments that check what is taught, each with a verdict.")

Quickly = Annotated[bool, typer.Option("--quick", help="A smaller version: under two minutes, few seeds.")]


class Results(BaseModel):
    """What `lab run --json` prints."""

    labs: list[LabResult]


@app.command("list")
def list_labs(as_json: Json = False) -> None:
    """List the labs that come with Descent."""
    found = labs.shipped().values()
    if as_json:
        print_json({"labs": [{"name": lab.name, "title": lab.title, "claim": lab.claim} for lab in found]})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("lab", no_wrap=True)
    for heading in ("jobs", "runs", "claims"):
        table.add_column(heading, justify="right")
    table.add_column("title")
    for lab in found:
        counts = (len(list(lab.specs)), lab.runs, len(lab.family))
        table.add_row(Text(lab.name, style="bold"), *(str(count) for count in counts), Text(lab.title))
    out.print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="One that `descent lab list` lists.")],
    as_json: Json = False,
) -> None:
    """Show what a lab claims, what it trains and how it judges."""
    lab = _named(name)
    if as_json:
        print_json(lab)
        return
    out.print(Text(lab.title, style="bold"))
    for heading, text in (("Claim", lab.claim), ("Judged by", lab.judged_by), ("Caveat", lab.caveat)):
        out.print(Text.assemble((f"{heading}: ", "dim"), text))
    out.print(Text(f"{len(list(lab.specs))} jobs, {lab.runs} runs", style="dim"))
    for spec in lab.specs:
        parts = (spec.dataset.kind, spec.network.kind, spec.optimizer.kind, spec.evaluation.kind)
        out.print(Text.assemble("  ", (spec.name, "bold"), f"  {', '.join(parts)}; {len(spec.runs)} runs"))
    out.print(Text(f"{len(lab.family)} claims, judged together", style="dim"))
    for claim in lab.family:
        out.print(Text(f"  {_told(claim)}"))


def _named(name: str) -> Lab:
    """The shipped lab of that name.

    Raises:
        DescentError: if there is none.

    """
    found = labs.shipped()
    if name not in found:
        raise DescentError(f"There is no lab {name!r}; there are: {', '.join(found)}")
    return found[name]


def _told(claim: Claim) -> str:
    match claim.kind:
        case "less":
            return f"{_quantity(claim.left)} < {_quantity(claim.right)}"
        case "close":
            return f"|{_quantity(claim.left)} − {_quantity(claim.right)}| < {claim.margin:g}"
        case "between":
            low, high = (None if bound is None else f"{bound:g}" for bound in (claim.low, claim.high))
            return " < ".join(filter(None, (low, _quantity(claim.of), high)))
        case "diagnosed":
            return f"{claim.job} is diagnosed as {claim.verdict.replace('_', ' ')}"


def _quantity(side: BaseModel) -> str:
    said = side.model_dump(exclude={"job", "kind"}, exclude_defaults=True)
    return f"{getattr(side, 'job', '')} [{', '.join(str(value) for value in said.values())}]"


@app.command()
def run(
    chosen: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help="Labs, as `descent lab list` lists them.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every lab.")] = False,
    quick: Quickly = False,
    report: Annotated[
        Path | None, typer.Option(help="Write the comparison of one lab's jobs: .html, .md or .csv.", dir_okay=False)
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Write each result to FOLDER/<lab>.json.", file_okay=False, metavar="FOLDER")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder of a private service.")] = False,
    as_json: Json = False,
) -> None:
    """Train a lab's jobs and judge its claims: on the service at hand, or else on a private one."""
    if bool(chosen) == every:
        raise typer.BadParameter("name some labs, or say --all", param_hint="NAME")
    wanted = list(labs.shipped().values()) if every else [_named(name) for name in chosen or ()]
    _check_report(report, wanted)
    if store is not None and not store.is_dir():
        raise typer.BadParameter(f"there is no folder {store}", param_hint="--store")
    console = err if as_json else out
    results = []
    with terminable(), service_at_hand(console, keep=keep) as client:
        for number, lab in enumerate(wanted):
            if number:
                console.print()
            result, jobs = run_lab(client, lab, console, quick=quick)
            console.print(Text(), lab_results.draw(result), sep="\n")
            results.append(result)
            if store is not None:
                (store / f"{lab.name}.json").write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
            if report is not None:
                _write_report(client, report, lab, jobs)
                console.print(f"Report: {report}", highlight=False)
    if as_json:
        print_json(Results(labs=results))


def _check_report(report: Path | None, wanted: Sequence[Lab]) -> None:
    if report is None:
        return
    if len(wanted) != 1:
        raise typer.BadParameter("a report is about one lab: name one", param_hint="--report")
    reports.demand_ending(report)
    if not report.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {report.absolute().parent}", param_hint="--report")


def _write_report(client: Client, report: Path, lab: Lab, jobs: Sequence[Job]) -> None:
    asked = {} if lab.compare is None else question(lab.compare)
    reports.write(report, client.report(jobs, format=reports.FORMATS[report.suffix], **asked))
