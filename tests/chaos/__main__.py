"""`python -m tests.chaos`: jobs under faults, and what came of them."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.chaos.driver import Driver, Plan
from tests.chaos.faults import PLAIN_FAULTS, WORKER_FAULTS
from tests.chaos.load import Members, references_of_jobs
from tests.chaos.plain_celery import PlainDriver, PlainInstallation
from tests.chaos.report import Report, table
from tests.chaos.stack import running_stack

WORKERS = 2
# Jobs are submitted over this share of the time, so that most of them meet a fault.
SUBMIT_SHARE = 0.5
SUBMIT_SECONDS = 0.5


def main() -> int:
    asked = _asked()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="descent-chaos-"))
    kinds = ["sqlite", "postgresql"] if asked.database == "both" else [asked.database]
    jobs = asked.jobs // len(kinds)
    try:
        console.print(f"Training what {jobs} jobs should come to, in peace ({folder})")
        references = references_of_jobs(max(jobs, asked.plain_jobs), folder / "peace")
        reports = _strike_descent(asked, kinds, folder, references, console)
        controls = _strike_celery(asked, folder, references, console) if asked.plain_jobs else []
    except KeyboardInterrupt:
        console.print(f"Stopped; what there is lies in {folder}")
        return 130
    _print(reports, controls, as_json=asked.json)
    has_failed = any(report.failed for report in reports)
    if not asked.keep and not has_failed:
        shutil.rmtree(folder)
    return int(has_failed)


def _asked() -> Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=60, help="in all, shared by the databases")
    parser.add_argument("--fault-seconds", type=float, default=2.0, help="between two faults")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--seconds-limit", type=float, default=150.0, help="for all databases together")
    parser.add_argument("--plain-jobs", type=int, default=0, help="of each control on plain Celery; 0: none")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    parser.add_argument("--keep", action="store_true", help="leave logs and data where they are")
    return parser.parse_args()


def _plan(asked: Namespace, jobs: int, limit: float) -> Plan:
    return Plan(jobs, asked.fault_seconds, min(limit * SUBMIT_SHARE, jobs * SUBMIT_SECONDS), limit, asked.seed)


def _strike_descent(
    asked: Namespace, kinds: Sequence[str], folder: Path, references: Sequence[Members], console: Console
) -> list[Report]:
    jobs, reports = asked.jobs // len(kinds), []
    plan = _plan(asked, jobs, asked.seconds_limit / len(kinds))
    for kind in kinds:
        console.print(f"Training {jobs} jobs on {kind}, with a fault every {asked.fault_seconds:g} s")
        (folder / kind).mkdir()
        with running_stack(folder / kind, kind, WORKERS) as stack:
            reports.append(Driver(stack, kind, plan, references).run())
    return reports


def _strike_celery(asked: Namespace, folder: Path, references: Sequence[Members], console: Console) -> list[Report]:
    reports: list[Report] = []
    for name, careful, faults in (
        ("plain Celery", False, PLAIN_FAULTS),
        ("careful Celery", True, PLAIN_FAULTS),
        ("careful, Redis spared", True, WORKER_FAULTS),
    ):
        console.print(f"Training {asked.plain_jobs} jobs on {name}, with a fault as often")
        place = folder / f"control-{len(reports)}"
        place.mkdir()
        stack = PlainInstallation(place, WORKERS, careful=careful)
        try:
            # Without cohorts, each job takes its time: patience in proportion.
            plan = _plan(asked, asked.plain_jobs, max(120.0, 6.0 * asked.plain_jobs))
            reports.append(PlainDriver(stack, name, plan, references, faults).run())
        finally:
            stack.stop()
    return reports


def _print(reports: Sequence[Report], controls: Sequence[Report], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([report.as_json() for report in (*reports, *controls)], indent=2) + "\n")
        return
    console = Console() if sys.stdout.isatty() else Console(width=100)
    console.print(table([*reports, *controls]))
    for report in reports:
        for failure in report.failures:
            console.print(f"{report.database}: {failure}", style="red", highlight=False, markup=False)
    passed, failed = (sum(getattr(report, name) for report in reports) for name in ("passed", "failed"))
    sys.stdout.write(f"{passed} passed, {failed} failed\n")


if __name__ == "__main__":
    sys.exit(main())
