"""A comparison as a reader of a terminal wants it: scores, differences, claims, verdict."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from descent.comparison import Comparison, Estimate, Ranking, StepsToTarget

VERDICT_STYLES = {"supported": "bold green", "refuted": "bold red", "undecided": "bold yellow"}


def draw(comparison: Comparison) -> RenderableType:
    """Everything that a comparison says in words and single numbers."""
    legend = f"{comparison.metric}: mean ± {comparison.confidence:.0%} interval"
    if comparison.target is not None:
        legend += f"; {_unit(comparison)}: median [first–last run]"
    parts: list[RenderableType] = [Text(legend, style="dim"), scores(comparison)]
    if comparison.profile or any(one.datasets > 1 for one in comparison.interquartile):
        parts += [Text(), standings(comparison)]
    if comparison.ranking and comparison.ranking.by:
        parts += [Text(), ranking(comparison.ranking)]
    if comparison.claims:
        parts += [Text(), claims(comparison), Text(), verdict(comparison)]
    elif comparison.paired:
        parts += [Text(), differences(comparison)]
    if comparison.warnings:
        parts += [Text()] + [Text(f"Note: {warning}", style="yellow") for warning in comparison.warnings]
    return Group(*parts)


def _unit(comparison: Comparison) -> str:
    return "seconds" if comparison.score == "seconds_to_target" else "steps"


def _table(*columns: str, title: str = "") -> Table:
    """The first column is text, the others are numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim", title=title or None, title_justify="left")
    table.title_style = "dim"
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    return table


def scores(comparison: Comparison) -> Table:
    """One row per job."""
    unit = _unit(comparison)
    timed = [] if comparison.target is None else [f"{unit} to {comparison.target:g}", "reached"]
    table = _table("job", *timed, "final", "best")
    for row in comparison.table:
        cells: list[RenderableType] = [Text(comparison.label(row.job_id), style="bold")]
        if (times := row.steps_to_target) is not None:
            when = _seconds(times) if unit == "seconds" else _steps(times)
            cells += [Text(when), Text(f"{times.reached}/{len(times.runs)}")]
        elif comparison.target is not None:
            cells += [Text("–"), Text("–")]
        table.add_row(*cells, Text(plus_minus(row.last)), Text(plus_minus(row.best)))
    return table


def standings(comparison: Comparison) -> Table:
    """One row per contender: a job, or its likes on several data sets. How often it is among the fastest, if a target
    was given, and its interquartile mean.
    """
    profile = comparison.profile
    title = "" if profile is None else f"profile over {profile.problems} problems, in {_unit(comparison)}"
    timed = [] if profile is None else ["score", "fastest", "within 2 ×", "within 4 ×"]
    table = _table("contender", *timed, "interquartile mean, final", title=title)
    for number, one in enumerate(comparison.interquartile):
        cells = [Text(one.label, style="bold")]
        if profile is not None:
            curve = profile.curves[number]
            cells.append(Text(f"{curve.score:.2f}"))
            cells += [Text(f"{curve.within(ratio):.0%}") for ratio in (1, 2, 4)]
        table.add_row(*cells, Text(plus_minus(one.estimate)))
    return table


def ranking(found: Ranking) -> Table:
    """One row per contender, each by the best of the specs that it tried."""
    kind = "final" if found.score == "last" else "best"
    title = f"ranking by {found.by}"
    table = _table(found.by, "rank", "specs tried", f"{kind} of the best", "minus the leader's", "", title=title)
    table.columns[-1].justify = "left"
    for one in found.contenders:
        tried = f"{one.tried}, {one.diverged} diverged" if one.diverged else f"{one.tried}"
        table.add_row(
            Text(one.label, style="bold"),
            Text("–" if one.rank is None else str(one.rank)),
            Text(tried, style="" if found.even_budgets else "yellow"),
            Text(plus_minus(one.estimate)),
            Text("" if one.difference.mean is None else plus_minus(one.difference)),
            Text("tied" if one.tied else "", style="dim"),
        )
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


def _steps(times: StepsToTarget) -> str:
    steps = sorted(run.steps for run in times.runs if run.steps is not None)
    if not steps:
        return times.median_text
    last = f"{steps[-1]:,}" if len(steps) == len(times.runs) else f"> {times.budget:,}"
    return f"{times.median_text} [{steps[0]:,}–{last}]"


def _seconds(times: StepsToTarget) -> str:
    seconds = sorted(run.seconds for run in times.runs if run.seconds is not None)
    if not seconds:
        return times.median_seconds_text
    last = f"{seconds[-1]:.3g}" if len(seconds) == len(times.runs) else "missed"
    return f"{times.median_seconds_text} [{seconds[0]:.3g}–{last}]"
