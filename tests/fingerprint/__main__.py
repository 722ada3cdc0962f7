"""`python -m tests.fingerprint`: prove that a change of the engine changes no bit of what it trains on this machine.

`save FILE` trains some 230 cases, each of one or a few small specs, and writes the SHA-256 of their weights, histories,
predictions and analyses to FILE. `compare FILE` trains them again, prints the cases that differ, and exits with 1 if
there are any, or if a case is new or missing. FILE is valid for one machine and the packages that are installed there.

Everything trains on one thread, so that no result depends on the load of the machine. A run takes about two minutes of
one core: half of them for the compiled cases, which are compiled every time, and left out without a C++ compiler.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.spec.optimizers import PytorchOptimizer
from tests.fingerprint.case import Case
from tests.fingerprint.cases import all_cases
from tests.fingerprint.digests import Digests, fingerprint
from tests.fingerprint.environment import environment
from tests.fingerprint.uploads import Uploads
from worker.training import programs
from worker.training.threads import threads

INVALID = 2
"""Exit code if the file cannot be read or written, or if a component has no case."""

CasesOf = Callable[[Uploads], Mapping[str, Case]]


def main(arguments: Sequence[str] | None = None, cases_of: CasesOf = all_cases) -> int:
    """Run a command on these cases, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fingerprint", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for command, words in ((save, "train, and overwrite FILE"), (compare, "train, and compare with FILE")):
        subparser = commands.add_parser(command.__name__, help=words)
        subparser.add_argument("file", type=Path, metavar="FILE")
        subparser.set_defaults(command=command)
    options = parser.parse_args(arguments)
    console = Console()
    with threads(1), tempfile.TemporaryDirectory(prefix="descent-fingerprint-") as folder:
        uploads = Uploads(Path(folder))
        try:
            cases = cases_of(uploads)
        except ValueError as error:
            console.print(str(error), markup=False)
            return INVALID
        # Programs of an earlier run would hide a change of the compilation.
        with patch.dict(os.environ, {"XDG_CACHE_HOME": folder}):
            exit_code: int = options.command(options.file, cases, uploads, console)
            return exit_code


def save(file: Path, cases: Mapping[str, Case], uploads: Uploads, console: Console) -> int:
    """Write the digests of these cases to a file."""
    try:
        # Before the training: it takes minutes.
        file.touch()
    except OSError as error:
        console.print(f"{file} cannot be written: {error}", markup=False)
        return INVALID
    digests = _train(_available(cases, console), uploads)
    file.write_text(json.dumps({"environment": environment(), "cases": digests}, indent=1))
    console.print(f"Wrote the digests of {len(digests)} cases to {file}", markup=False)
    return 0


def compare(file: Path, cases: Mapping[str, Case], uploads: Uploads, console: Console) -> int:
    """Print which of these cases differ from a file; return 1 if any does."""
    try:
        saved = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        console.print(f"{file} cannot be read: {error}. Write it with `save` first.", markup=False)
        return INVALID
    for name, value in environment().items():
        if (then := saved["environment"].get(name)) != value:
            console.print(
                f"Warning: {name} is {value} here and was {then}: bits may differ because of it", markup=False
            )
    available = _available(cases, console)
    before = {name: digests for name, digests in saved["cases"].items() if name in available or name not in cases}
    after = _train(available, uploads)
    differences = _differences(before, after)
    if not differences:
        console.print(f"All {len(after)} cases are equal")
        return 0
    table = Table("case", "difference", box=None, pad_edge=False, header_style="dim")
    for name, difference in differences.items():
        table.add_row(name, difference)
    console.print(table)
    console.print(f"{len(differences)} of {len({**before, **after})} cases differ")
    return 1


def _available(cases: Mapping[str, Case], console: Console) -> dict[str, Case]:
    """Return the cases that this machine can train, and print the others."""
    available = {}
    for name, case in cases.items():
        if reason := _why_skipped(case):
            console.print(f"Skipped {name}: {reason}", markup=False)
        else:
            available[name] = case
    return available


def _why_skipped(case: Case) -> str | None:
    """Return what this machine lacks to train a case."""
    if programs.compiles(case.specs[0], "cpu") and not programs.has_compiler():
        return "there is no C++ compiler"
    if isinstance(case.specs[0].optimizer, PytorchOptimizer) and find_spec("pytorch_optimizer") is None:
        return "the package pytorch_optimizer is not installed"
    return None


def _train(cases: Mapping[str, Case], uploads: Uploads) -> dict[str, Digests]:
    digests = {}
    for name, case in track(cases.items(), "Training", console=Console(stderr=True)):
        try:
            digests[name] = fingerprint(case, uploads)
        except Exception as error:
            error.add_note(f"in the case {name}")
            raise
    return digests


def _differences(before: Mapping[str, Digests], after: Mapping[str, Digests]) -> dict[str, str]:
    """Return by case what differs: some of its digests, or in which of the two it is missing."""
    differences = {}
    for name in {**before, **after}:
        if name not in after:
            differences[name] = "missing: only in the file"
        elif name not in before:
            differences[name] = "new: not in the file"
        elif before[name] != after[name]:
            kinds = {**after[name], **before[name]}
            differences[name] = ", ".join(kind for kind in kinds if before[name].get(kind) != after[name].get(kind))
    return differences


if __name__ == "__main__":
    sys.exit(main())
