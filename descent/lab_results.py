"""What came out of a lab: the service's verdicts, and what they cost, to be shown, stored and read again."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from descent.tables import VERDICT_STYLES
from models.claims import JudgedClaim, Verdict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ClaimResult(_Part):
    """A claim as the service judged it."""

    statement: str
    verdict: Verdict
    left: float | None
    """Mean of the left side, or of the only one."""
    right: float | None
    effect: float | None
    """Left minus right; of a single side its mean, of a diagnosis the share of runs."""
    interval: tuple[float, float] | None
    """95 %."""
    seeds: int
    p_value: float | None
    holm_p: float | None
    sentence: str

    @classmethod
    def of(cls, judged: JudgedClaim) -> Self:
        effect = judged.effect
        known = effect.lower is not None and effect.upper is not None
        return cls(
            statement=judged.statement,
            verdict=judged.verdict,
            left=judged.left,
            right=judged.right,
            effect=effect.mean,
            interval=(effect.lower, effect.upper) if known else None,
            seeds=judged.seeds,
            p_value=judged.p_value,
            holm_p=judged.holm_p,
            sentence=judged.sentence,
        )


class JobOutcome(_Part):
    """A job that was trained for a lab."""

    name: str
    runs: int
    diverged: int
    updates: int
    """Of each run, at most: one that stops early takes fewer."""
    chosen: str = ""
    """Of a tuned job, what was chosen from how many points, by how many runs."""


class LabResult(_Part):
    """One run of a lab."""

    lab: str
    verdict: Verdict
    claims: list[ClaimResult]
    jobs: list[JobOutcome]
    seconds: float
    quick: bool
    fingerprint: str
    """Of the lab as it was trained."""
    machine: str
    version: str
    """Of Descent."""
    finished_at: datetime


def draw(result: LabResult) -> RenderableType:
    """A row a claim, its numbers beneath it as they would not fit beside it, and the verdict."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim; means: effect, 95 % interval, seeds, p (Holm-adjusted)")
    for claim in result.claims:
        means, effect, interval, seeds, p, holm_p = cells(claim)
        table.add_row(Text(claim.verdict, style=VERDICT_STYLES[claim.verdict]), Text(claim.statement))
        tested = f"p {p} ({holm_p})" if claim.p_value is not None else "by its interval"
        both = f"{means}: " if claim.right is not None else ""
        table.add_row("", Text(f"{both}{effect}, {interval}, {seeds} seeds, {tested}", style="dim"))
    parts: list[RenderableType] = [table, Text(), *(Text(line, style="dim") for line in notes(result))]
    if result.quick:
        parts.append(Text("A quick version: its verdict is about few seeds and short runs.", style="yellow"))
    style = VERDICT_STYLES[result.verdict]
    parts.append(Text.assemble("Verdict: ", (result.verdict.upper(), style), f"   ({result.seconds:.0f} s)"))
    return Group(*parts)


def notes(result: LabResult) -> list[str]:
    """What is to be known of the jobs beside the claims."""
    said = [f"{job.name}: {job.chosen}." for job in result.jobs if job.chosen]
    said += [f"{job.name}: {job.diverged} of {job.runs} runs diverged." for job in result.jobs if job.diverged]
    if len({job.updates for job in result.jobs}) > 1:
        said.append(f"Updates a run: {'; '.join(f'{job.name} {job.updates:,}' for job in result.jobs)}.")
    return said


def cells(claim: ClaimResult) -> tuple[str, str, str, str, str, str]:
    """Means, effect, interval, seeds, p and Holm's p, as texts."""
    means = number(claim.left) if claim.right is None else f"{number(claim.left)} and {number(claim.right)}"
    interval = "–" if claim.interval is None else f"{number(claim.interval[0])} to {number(claim.interval[1])}"
    return means, number(claim.effect), interval, str(claim.seeds), number(claim.p_value, 2), number(claim.holm_p, 2)


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, and every digit before the point; a dash for what is unknown."""
    if value is None:
        return "–"
    said = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return said.replace("-", "−", 1) if value < 0 else said
