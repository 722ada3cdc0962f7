"""The demonstration: a service of its own, a lab's jobs as they are taught, and the verdict that the data give."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from descent import tables
from descent.comparison import Comparison
from descent.lab_runs import introduce, question, train
from descent.private_service import private_service, temporary_folder, terminable
from models.labs import Lab


def run_demo(lab: Lab, console: Console, report: Path, *, keep: bool) -> dict[str, Any]:
    """Train a lab's jobs on a service of their own, tell what came out, and return it as JSON would have it.

    Raises:
        DescentError: if the service does not start, or a run ends without a result of its own.
        KeyboardInterrupt: if Ctrl-C or SIGTERM asks to end; everything has stopped by then.

    """
    started = time.monotonic()
    assert lab.compare is not None
    asked = question(lab.compare)
    introduce(lab, console, len(lab.jobs), sum(len(spec.runs) for spec in lab.jobs))
    with (
        terminable(),
        temporary_folder("demo", console, keep=keep) as folder,
        private_service(folder, console) as client,
    ):
        jobs = train(client, lab.jobs, console)
        comparison = client.compare(jobs, **asked)
        report.write_text(client.report(jobs, **asked), encoding="utf-8")
        seconds = time.monotonic() - started
        console.print(Text(), tables.draw(comparison), sep="\n")
        console.print(f"\nReport: {report}   ({seconds:.0f} s in all)", highlight=False)
        return summary(lab, comparison, seconds)


def summary(lab: Lab, comparison: Comparison, seconds: float) -> dict[str, Any]:
    """What the demonstration found, as one JSON object."""
    return {
        "lab": lab.name,
        "verdict": comparison.verdict,
        "claims": comparison.raw["claims"],
        "jobs": [
            {
                "name": comparison.label(row.job_id),
                "steps_to_target": None if row.steps_to_target is None else row.steps_to_target.median,
                "final_validation_loss": row.last.mean,
                "runs": sum(len(job.seeds) for job in comparison.jobs if job.id == row.job_id),
            }
            for row in comparison.table
        ],
        "seconds": round(seconds, 1),
    }
