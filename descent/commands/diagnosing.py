"""The command that says what ails a job."""

from rich.table import Table
from rich.text import Text

from descent.commands.jobs import Reference, client
from descent.console import Json, out, print_json
from descent.references import find_job

COLOURS = {
    "diverged": "red",
    "unstable": "red",
    "overfitting": "yellow",
    "underfitting": "yellow",
    "good_fit": "green",
}


def diagnose(reference: Reference, as_json: Json = False) -> None:
    """Say whether a job's runs fit well, overfit, underfit, are unstable or diverged, and what to change."""
    with client() as service:
        job = find_job(service, reference)
        found = service.diagnosis(job)
    if as_json:
        print_json(found)
        return
    out.print(Text.assemble((job.name or job.id, "bold"), "  ", _verdict(found.verdict)))
    out.print(found.advice + (f" ({found.field[1:].replace('/', '.')})" if found.field else ""), highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("seed", "verdict", "since epoch", "training loss", "validation loss", "at best"):
        table.add_column(heading, justify="left" if heading == "verdict" else "right")
    for run in found.runs:
        numbers = [run.numbers.get(name) for name in ("train_end", "validation_end", "validation_best")]
        since = "" if run.since_epoch is None else f"{run.since_epoch:.3g}"
        shown = ["" if number is None else f"{number:.4g}" for number in numbers]
        table.add_row(str(run.seed), _verdict(run.verdict), since, *shown)
    out.print(table)


def _verdict(verdict: str) -> Text:
    return Text(verdict.replace("_", " "), style=COLOURS.get(verdict, "dim"))
