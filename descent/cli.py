"""The command line: `descent --help`."""

from importlib.metadata import version as installed_version
from typing import Any

import typer
from typer.core import TyperGroup

from descent.commands import (
    analysing,
    comparing,
    components,
    datasets,
    diagnosing,
    exporting,
    jobs,
    keeping,
    keys,
    labs,
    operations,
    predicting,
    results,
    stack,
    sweeps,
    testing,
    validating,
)
from descent.console import INTERRUPTED, Json, err, out, print_json
from descent.errors import DescentError


class _Commands(TyperGroup):
    """Tells errors to people: what went wrong on standard error, exit code 1, and no traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except DescentError as error:
            err.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Train networks from specs, watch them, and compare them with statistics.",
)
app.command()(jobs.submit)
app.command()(validating.validate)
app.command("jobs")(jobs.list_jobs)
app.command()(jobs.show)
app.command()(jobs.watch)
app.command()(results.results)
app.command()(diagnosing.diagnose)
app.command()(analysing.analyse)
app.command()(analysing.analyses)
app.add_typer(testing.app, name="test")
app.command()(comparing.compare)
app.add_typer(labs.app, name="lab")
app.command()(jobs.pause)
app.command()(jobs.resume)
app.command()(jobs.extend)
app.command()(jobs.cancel)
app.command()(jobs.retry)
app.command()(jobs.label)
app.command()(jobs.download)
app.command()(exporting.export)
app.command()(jobs.delete)
app.add_typer(sweeps.app, name="sweep")
app.command("experiments")(operations.list_experiments)
app.command("components")(components.list_components)
app.add_typer(datasets.app, name="datasets")
app.command()(predicting.predict)
app.add_typer(keys.app, name="keys")
app.command("events")(keys.events)
app.command()(operations.queue)
app.command()(operations.usage)
app.command()(operations.workers)
app.command()(operations.doctor)
app.command("gc")(keeping.collect_garbage)
app.command()(stack.up)
app.command()(stack.demo)


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version of this package."""
    number = installed_version("descent")
    if as_json:
        print_json({"version": number})
    else:
        out.print(f"descent {number}", highlight=False)
