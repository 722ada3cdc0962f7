"""A comparison as a reader of a terminal wants it: scores, differences, claims, verdict."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from descent.comparison import Comparison, Estimate, StepsToTarget

VERDICT_STYLES = {"supported": "bold green", "refuted": "bold red", "undecided": "bold yellow"}


def draw(comparison: Comparison) -> RenderableType:
    """Everything that a comparison says in words and single numbers."""
    legend = f"{comparison.metric}: mean ± {comparison.confidence:.0%} interval"
    if comparison.target is not None:
        legend += "; steps: median [first–last run]"
    parts: list[RenderableType] = [Text(legend, style="dim"), scores(comparison)]
    if comparison.claims:
        parts += [Text(), claims(comparison), Text(), verdict(comparison)]
    elif comparison.paired:
        parts += [Text(), differences(comparison)]
    if comparison.warnings:
        parts += [Text()] + [Text(f"Note: {warning}", style="yellow") for warning in comparison.warnings]
    return Group(*parts)


def scores(comparison: Comparison) -> Table:
    """One row per job."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("job")
    if comparison.target is not None:
        table.add_column(f"steps to {comparison.target:g}", justify="right")
        table.add_column("reached", justify="right")
    table.add_column("final", justify="right")
    table.add_column("best", justify="right")
    for row in comparison.table:
        cells: list[RenderableType] = [Text(comparison.label(row.job_id), style="bold")]
        if (times := row.steps_to_target) is not None:
            cells += [Text(_median_and_range(times)), Text(f"{times.reached}/{len(times.runs)}")]
        elif comparison.target is not None:
            cells += [Text("–"), Text("–")]
        table.add_row(*cells, Text(plus_minus(row.last)), Text(plus_minus(row.best)))
    return table


def claims(comparison: Comparison) -> Group:
    """What was claimed and what the data say to it, in the service's own sentences."""
    return Group(*(_with_style(claim.sentence, VERDICT_STYLES[claim.verdict]) for claim in comparison.claims))


def _with_style(sentence: str, style: str) -> Text:
    """The sentence with its first word, which is the verdict, made to stand out."""
    first, _, rest = sentence.partition(" ")
    return Text.assemble((first, style), " ", rest)


def differences(comparison: Comparison) -> Group:
    """Each job against the baseline, in the service's own sentences."""
    return Group(*(Text(paired.sentence) for paired in comparison.paired))


def verdict(comparison: Comparison) -> Text:
    assert comparison.verdict is not None
    return Text.assemble("Verdict: ", (comparison.verdict.upper(), VERDICT_STYLES[comparison.verdict]))


def plus_minus(estimate: Estimate) -> str:
    """Mean and half the interval's width, as in `0.0105 ± 0.0002`."""
    if estimate.mean is None:
        return "–"
    if estimate.lower is None or estimate.upper is None:
        return f"{estimate.mean:.4g}"
    return f"{estimate.mean:.4g} ± {(estimate.upper - estimate.lower) / 2:.2g}"


def _median_and_range(times: StepsToTarget) -> str:
    steps = sorted(run.steps for run in times.runs if run.steps is not None)
    if not steps:
        return times.median_text
    last = f"{steps[-1]:,}" if len(steps) == len(times.runs) else f"> {times.budget:,}"
    return f"{times.median_text} [{steps[0]:,}–{last}]"
