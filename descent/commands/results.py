"""The command about what a job's runs come to together."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from descent.commands.jobs import Reference, client
from descent.console import Json, out, print_json
from descent.references import find_job
from models.answers import Estimate, JobResults

MEASURES = {"accuracy": "accuracy: higher is better", "mean_squared_error": "mean squared error: lower is better"}
MOST_ROWS = 20


def results(reference: Reference, as_json: Json = False) -> None:
    """Show what a job's folds, replicates or ensemble members come to together."""
    with client() as service:
        found = service.results(find_job(service, reference))
    if as_json:
        print_json(found)
        return
    counted = f"{found.counted} of {found.runs} runs"
    out.print(Text(f"{found.evaluation}, {counted}; {MEASURES[found.measure]}", style="dim"))
    if not found.seeds:
        out.print("No run has succeeded yet.")
        return
    parts: list[RenderableType] = [_scores(found)]
    if any(seed.series for seed in found.seeds):
        parts += [Text(), _growth(found)]
    out.print(Group(*parts))


def _scores(found: JobResults) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("score")
    table.add_column("mean ± deviation over seeds" if len(found.seeds) > 1 else "value", justify="right")
    for name, estimate in found.scores.items():
        table.add_row(Text(name.replace("_", " "), style="bold"), number(estimate))
    return table


def number(estimate: Estimate) -> str:
    """The mean with the standard deviation over seeds."""
    if estimate.standard_deviation is None:
        return f"{estimate.mean:.4g}"
    return f"{estimate.mean:.4g} ± {estimate.standard_deviation:.2g}"


def _growth(found: JobResults) -> Table:
    """The series of the first seed, thinned to a screen."""
    series = found.seeds[0].series
    length = len(next(iter(series.values())))
    every = -(-length // MOST_ROWS)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("members", justify="right")
    for name in series:
        table.add_column(f"{name}, seed {found.seeds[0].seed}", justify="right")
    for index in range(length):
        if (index + 1) % every == 0 or index in (0, length - 1):
            table.add_row(str(index + 1), *(f"{curve[index]:.4g}" for curve in series.values()))
    return table
