"""Commands that run the service on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from descent.console import Json, err, out, print_json
from descent.demo import run_demo
from descent.errors import DescentError
from descent.local.state import DEFAULT_FOLDER
from models import labs
from models.cores import cores

CORES_PER_PROCESS = 2
DEMO = "optimizers"


def up(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8000,
    state: Annotated[Path, typer.Option(help="Folder for the database, the artifacts and the queue.")] = DEFAULT_FOLDER,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Training processes; by default one for every two cores.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Threads of each process; by default one, and more for large networks."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Write the log to a file in the state folder.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object once the service is ready; implies --quiet.")
    ] = False,
) -> None:
    """Run the whole service on this machine, until Ctrl-C."""
    try:
        from descent.local.stack import Options, run_stack
    except ModuleNotFoundError as error:
        raise DescentError(f"{error.name} is missing: `pip install 'descent[local]'` installs the service.") from error
    options = Options(
        state=state,
        port=port,
        processes=processes or max(1, cores() // CORES_PER_PROCESS),
        threads=threads,
        quiet=quiet or as_json,
    )
    run_stack(options, console=err if as_json else out, announce=print_json if as_json else None)


def demo(
    output: Annotated[Path, typer.Option(help="Where to write the report.", dir_okay=False)] = Path(
        "descent-demo.html"
    ),
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder in which the service ran.")] = False,
    as_json: Json = False,
) -> None:
    """Check a claim from the lectures with an experiment: 24 networks, three optimizers, one verdict."""
    if not output.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {output.absolute().parent}", param_hint="--output")
    found = run_demo(labs.shipped()[DEMO], err if as_json else out, output, keep=keep)
    if as_json:
        print_json(found)
