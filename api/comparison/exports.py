"""A comparison as Markdown and as CSV."""

import csv
import re
from collections.abc import Iterator, Sequence
from io import StringIO
from math import isfinite
from typing import Any

from api.comparison.estimate import Estimate
from api.comparison.result import Comparison, TableRow
from api.comparison.standings import InterquartileMean, Profile, Ranking
from api.comparison.wording import count, metric_words, number, target_words
from models import answers


def report_markdown(comparison: Comparison) -> str:
    """Verdict, claims, scores, standings, differences, specs and warnings, for a README or a pull request."""
    return "\n".join(_markdown_lines(comparison)).rstrip() + "\n"


def _markdown_lines(comparison: Comparison) -> Iterator[str]:
    names = {job.id: _plain(job.label) for job in comparison.jobs}
    yield f"# Comparison of {metric_words(comparison.metric)}"
    if comparison.verdict:
        yield from ("", f"Verdict: **{comparison.verdict}**", "")
    yield from (f"- {_plain(claim.sentence)}" for claim in comparison.claims)
    yield from ("", "## Scores", "", *_score_table(comparison, names), "")
    if comparison.ranking:
        yield from (f"## Ranking{_by(comparison.ranking)}", "", *_ranking_table(comparison.ranking), "")
    if comparison.profile:
        yield from (f"## Performance profile over {count(comparison.profile.problems, 'problem')}", "")
        yield from (*_profile_table(comparison.profile), "")
    if any(one.datasets > 1 for one in comparison.interquartile):
        yield from ("## Over data sets", "", *_interquartile_table(comparison.interquartile), "")
    if comparison.paired:
        yield from ("## Against the baseline", "")
        yield from (f"- {_plain(one.sentence)}" for one in comparison.paired)
    if comparison.test_scores:
        yield from ("", "## Sealed test", "", *_test_table(comparison, names))
    if comparison.spec_diff:
        yield from ("", "## What differs in the specs", "")
        header = ["field", *names.values()]
        yield from _table(header, [[_plain(path), *_cells(values, names)] for path, values in _spec_rows(comparison)])
    if comparison.warnings:
        yield from ("", "## Warnings", "")
        yield from (f"- {_plain(warning)}" for warning in comparison.warnings)
    yield from ("", "## Specs", "")
    yield from (f"- {names[job.id]}: `{job.spec_hash}`" for job in comparison.jobs)


def _score_table(comparison: Comparison, names: dict[str, str]) -> Iterator[str]:
    header = ["job", "runs", "diverged", "last", "best", "best step"]
    if comparison.target is not None:
        header.append(
            _plain(f"median steps to {target_words(comparison.metric, comparison.better, comparison.target)}")
        )
        if comparison.score == "seconds_to_target":
            header.append("median seconds")
    rows = []
    for job, row in zip(comparison.jobs, comparison.table, strict=True):
        cells = [names[job.id], str(len(row.runs)), str(job.diverged)]
        cells += [estimate_words(estimate) for estimate in (row.last, row.best, row.best_step)]
        cells += steps_cell(row)
        if row.steps_to_target and comparison.score == "seconds_to_target":
            cells.append(row.steps_to_target.median_seconds_text)
        rows.append(cells)
    yield from _table(header, rows)


def _test_table(comparison: Comparison, names: dict[str, str]) -> Iterator[str]:
    """Of jobs that were opened; a contender of several jobs is called by the one that was."""
    scores = list(dict.fromkeys(name for one in comparison.test_scores for name in one.scores))
    header = ["job", *(metric_words(name) for name in scores), "looks"]
    rows = [
        [
            names.get(one.job_id, one.job_id),
            *(over_seeds_words(one.scores[name]) if name in one.scores else "–" for name in scores),
            f"look {one.look} of its experiment, {one.looks_at_dataset} at the data set",
        ]
        for one in comparison.test_scores
    ]
    yield from _table(header, rows)


def over_seeds_words(score: answers.Estimate) -> str:
    """The mean, and how far the seeds are from each other: "0.98 (s.d. 0.005, 6 seeds)"."""
    if score.standard_deviation is None:
        return number(score.mean)
    return f"{number(score.mean)} (s.d. {number(score.standard_deviation, digits=2)}, {count(score.seeds, 'seed')})"


def _by(ranking: Ranking) -> str:
    return f" by {_plain(ranking.by)}" if ranking.by else ""


def _ranking_table(ranking: Ranking) -> Iterator[str]:
    header = ["rank", "contender", "specs tried", "diverged", f"{ranking.score} of the best", "minus the leader's", ""]
    rows = [
        [
            "–" if one.rank is None else str(one.rank),
            _plain(one.label),
            str(one.tried),
            str(one.diverged),
            estimate_words(one.estimate),
            estimate_words(one.difference),
            "tied with the leader" if one.tied else "",
        ]
        for one in ranking.contenders
    ]
    yield from _table(header, rows)


def _profile_table(profile: Profile) -> Iterator[str]:
    rows = [
        [_plain(one.label), number(one.score, digits=3), f"{one.solved} of {profile.problems}"]
        for one in profile.curves
    ]
    yield from _table(["contender", "score", "met the target"], rows)


def _interquartile_table(means: Sequence[InterquartileMean]) -> Iterator[str]:
    rows = [[_plain(one.label), str(one.datasets), estimate_words(one.estimate)] for one in means]
    yield from _table(["contender", "data sets", "interquartile mean of the last values"], rows)


def estimate_words(estimate: Estimate) -> str:
    """The mean with half its interval's width: "0.0123 ± 0.0011"."""
    if estimate.mean is None or estimate.upper is None:
        return number(estimate.mean)
    return f"{number(estimate.mean)} ± {number(estimate.upper - estimate.mean, digits=2)}"


def steps_cell(row: TableRow) -> list[str]:
    """The median and how many reached, as one cell; no cell where no target was given."""
    if row.steps_to_target is None:
        return []
    time = row.steps_to_target
    return [f"{time.median_text} ({time.reached} of {time.reached + time.missed} reached)"]


def _spec_rows(comparison: Comparison) -> list[tuple[str, dict[str, Any]]]:
    return sorted(comparison.spec_diff.items())


def _cells(values: dict[str, Any], names: dict[str, str]) -> list[str]:
    return [_plain(value_words(values[job_id])) if job_id in values else "–" for job_id in names]


def value_words(value: Any) -> str:
    """A spec's value as people write it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(value_words(part) for part in value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _plain(text: str) -> str:
    """Text that Markdown shows as it stands: no markup, no table cell, no HTML."""
    return re.sub(r"([\\`*_\[\]|<>#&~])", r"\\\1", text)


CSV_HEADER = [
    "job",
    "job_id",
    "seed",
    "member",
    "run_id",
    "status",
    "status_reason",
    "metric",
    "last",
    "best",
    "best_step",
    "target",
    "steps_to_target",
    "seconds_to_target",
    "outcome",
]


def report_csv(comparison: Comparison) -> str:
    """One row a run, with its scores as far as it got; empty cells are unknown."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_HEADER)
    for job, row in zip(comparison.jobs, comparison.table, strict=True):
        times = row.steps_to_target.runs if row.steps_to_target else [None] * len(row.runs)
        for run, time in zip(row.runs, times, strict=True):
            cells = [
                job.label,
                job.id,
                run.seed,
                run.member,
                run.run_id,
                run.status,
                run.status_reason,
                comparison.metric,
            ]
            cells += [run.last, run.best, run.best_step, comparison.target]
            cells += [time.steps, time.seconds, time.outcome] if time else [None, None, None]
            writer.writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _harmless(cell: Any) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before = + - @ unless it is a number."""
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
