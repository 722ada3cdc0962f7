"""The command that puts jobs side by side."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from descent import tables
from descent.commands import reports
from descent.commands.jobs import client
from descent.comparison import Question
from descent.console import Json, err, out, print_json
from descent.references import find_job


def compare(
    references: Annotated[
        list[str] | None, typer.Argument(metavar="JOB…", help="Names or ids of the jobs.", show_default=False)
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="All jobs of this experiment.")] = None,
    sweep: Annotated[str | None, typer.Option(metavar="ID", help="All jobs of this sweep.")] = None,
    metric: Annotated[str | None, typer.Option(help="What to compare; validation_loss by default.")] = None,
    target: Annotated[float | None, typer.Option(help="Value that a run is to reach.")] = None,
    score: Annotated[
        Literal["steps_to_target", "seconds_to_target", "best", "last"] | None,
        typer.Option(help="What a claim is judged by, and what counts as time."),
    ] = None,
    x: Annotated[
        Literal["step", "epoch", "samples", "seconds"] | None, typer.Option("--x", help="What curves run along.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="Rank the values of this field of the spec, such as optimizer.kind."),
    ] = None,
    group: Annotated[
        Literal["auto", "spec", "job"] | None,
        typer.Option(help="Whether jobs that differ in seeds alone are one contender."),
    ] = None,
    baseline: Annotated[str | None, typer.Option(metavar="JOB", help="The job that others are compared with.")] = None,
    claim: Annotated[
        list[str] | None, typer.Option(metavar="A<B", help='Such as "adam<sgd": the left job is better. Repeatable.')
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report to a file: .html, .md or .csv.", dir_okay=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare jobs, paired by seed: scores, standings, differences, and a verdict on claims."""
    if sum(map(bool, (references, experiment, sweep))) != 1:
        raise typer.BadParameter("name either jobs, an --experiment or a --sweep")
    if report is not None:
        reports.demand_ending(report)
    with client() as service:
        jobs = [find_job(service, reference) for reference in references or ()]
        ids = {reference: job.id for reference, job in zip(references or (), jobs, strict=True)}
        question = Question(
            experiment=experiment,
            sweep=sweep,
            metric=metric,
            x=x,
            target=target,
            score=score,
            rank_by=by,
            group=group,
            # Any other name is for the service to look up, among the compared jobs only.
            baseline=ids.get(baseline, baseline) if baseline else None,
            claims=claim or (),
        )
        comparison = service.compare(jobs, **question)
        if report is not None:
            reports.write(report, service.report(jobs, format=reports.FORMATS[report.suffix], **question))
    if as_json:
        print_json(comparison.raw)
    else:
        out.print(tables.draw(comparison))
    if report is not None:
        err.print(f"Report: {report}", highlight=False)
