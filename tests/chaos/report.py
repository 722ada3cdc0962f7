"""What came of a chaos run."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table


@dataclass
class Report:
    """Counts of jobs, unless they say otherwise."""

    database: str
    submitted: int = 0
    accepted: int = 0
    terminal: int = 0
    lost: int = 0
    """Accepted, and not there or not ended in the end, or ended as nobody wanted."""
    doubled: int = 0
    """In SQL without having been accepted: submitted twice."""
    sent_twice: int = 0
    """Submitted once more on purpose, with the same key."""
    runs: int = 0
    duplicated_points: int = 0
    gaps: int = 0
    """Points that are missing."""
    wrong_bits: int = 0
    """Runs whose weights or points are not those of an undisturbed run."""
    bit_equal: int = 0
    """Runs whose weights and points are."""
    executed_again: int | None = None
    """Of tasks that know no attempts: executions too many."""
    resumed: int = 0
    """Runs of more than one attempt."""
    from_checkpoints: int = 0
    """Cohorts that went on from a checkpoint."""
    cancelled: int = 0
    paused: int = 0
    followed: int = 0
    """Runs whose points were read while they trained."""
    followed_wrong: int = 0
    """Of these, where the reader ended with other points than SQL."""
    seconds: float = 0.0
    faults: "Counter[str]" = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """One line for each job with which something is wrong."""

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def passed(self) -> int:
        return self.submitted - self.failed

    def as_json(self) -> dict[str, Any]:
        told = {name: value for name, value in vars(self).items() if name != "faults"}
        return told | {"faults": dict(self.faults), "passed": self.passed, "failed": self.failed}


ROWS = (
    ("submitted", "jobs submitted"),
    ("accepted", "jobs accepted"),
    ("terminal", "jobs ended"),
    ("lost", "jobs lost"),
    ("doubled", "jobs doubled"),
    ("sent_twice", "jobs sent twice on purpose"),
    ("runs", "runs"),
    ("duplicated_points", "points twice"),
    ("gaps", "points missing"),
    ("wrong_bits", "runs with other bits"),
    ("bit_equal", "runs equal to the bit"),
    ("executed_again", "executions too many"),
    ("resumed", "runs of several attempts"),
    ("from_checkpoints", "cohorts from a checkpoint"),
    ("cancelled", "jobs cancelled"),
    ("paused", "jobs paused and resumed"),
    ("followed", "runs followed live"),
    ("followed_wrong", "readers misled"),
)


def table(reports: list[Report]) -> Table:
    """All reports side by side."""
    drawn = Table(box=None, pad_edge=False, header_style="dim")
    drawn.add_column("", no_wrap=True)
    for report in reports:
        drawn.add_column(report.database, justify="right")
    for name, words in ROWS:
        told = [getattr(report, name) for report in reports]
        drawn.add_row(words, *("–" if count is None else f"{count:,}" for count in told))
    drawn.add_row("seconds", *(f"{report.seconds:.0f}" for report in reports))
    for fault in sorted({fault for report in reports for fault in report.faults}):
        drawn.add_row(f"  {fault}", *(str(report.faults[fault]) for report in reports))
    return drawn
