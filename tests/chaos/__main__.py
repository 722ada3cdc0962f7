"""`python -m tests.chaos`: jobs under faults, and what came of them."""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.chaos.driver import Driver, Plan, references_for
from tests.chaos.load import SPECS
from tests.chaos.report import Report, table
from tests.chaos.stack import running_stack


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=60, help="in all, shared by the databases")
    parser.add_argument("--fault-seconds", type=float, default=2.0, help="between two faults")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--limit-seconds", type=float, default=150.0, help="for all databases together")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave logs and data where they are")
    asked = parser.parse_args()
    kinds = ["sqlite", "postgresql"] if asked.database == "both" else [asked.database]
    console = Console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="descent-chaos-"))
    console.print(f"Training {len(SPECS)} specs in peace, to know what they come to ({folder})")
    references = references_for(folder / "peace", range(len(SPECS)))
    jobs, limit = asked.jobs // len(kinds), asked.limit_seconds / len(kinds)
    plan = Plan(jobs, asked.fault_seconds, min(limit * 0.5, jobs * 0.5), limit, asked.seed)
    reports = []
    for kind in kinds:
        console.print(f"Training {jobs} jobs on {kind}, with a fault every {asked.fault_seconds:g} s")
        (folder / kind).mkdir()
        with running_stack(folder / kind, kind) as stack:
            reports.append(Driver(stack, kind, plan, references).run())
    _print(reports, as_json=asked.json)
    if not asked.keep and not any(report.failed for report in reports):
        shutil.rmtree(folder)
    return int(any(report.failed for report in reports))


def _print(reports: list[Report], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([report.as_json() for report in reports], indent=2) + "\n")
        return
    console = Console()
    console.print(table(reports))
    for report in reports:
        for failure in report.failures:
            console.print(f"{report.database}: {failure}", style="red", highlight=False, markup=False)
    passed, failed = (sum(getattr(report, name) for report in reports) for name in ("passed", "failed"))
    sys.stdout.write(f"{passed} passed, {failed} failed\n")


if __name__ == "__main__":
    sys.exit(main())
