"""The sections that are tables: ranking, scores, test scores, specs and their hashes."""

from collections.abc import Iterator
from html import escape
from typing import Any

from api.comparison.exports import estimate_words, over_seeds_words, steps_cell, value_words
from api.comparison.report.markup import Bar, note, table
from api.comparison.result import Comparison
from api.comparison.wording import metric_words

_MOST_COLUMNS = 8
"""Jobs beside each other in a table; more stand below each other."""


def ranking(comparison: Comparison) -> Iterator[str]:
    found = comparison.ranking
    if found is None:
        return
    labels = {job.id: job.label for job in comparison.jobs}
    most = max(one.tried for one in found.contenders)
    some_diverged = any(one.diverged for one in found.contenders)
    rows: list[list[str | Bar]] = []
    for one in found.contenders:
        row: list[str | Bar] = ["–" if one.rank is None else str(one.rank), one.label]
        if found.by:
            row.append("–" if one.job_id is None else labels[one.job_id])
        behind = "–" if one.rank == 1 else estimate_words(one.difference)
        row += [estimate_words(one.estimate), f"{behind}, tied" if one.tied else behind, Bar(one.tried, most)]
        if some_diverged:
            row.append(str(one.diverged))
        rows.append(row)
    header = ["rank", *([found.by, "best spec"] if found.by else ["contender"])]
    header += [f"{found.score} {metric_words(comparison.metric)}", "behind the first", "specs tried"]
    if some_diverged:
        header.append("of them diverged")
    yield f"<section><h2>Ranking and tuning budgets</h2>{table(header, rows)}"
    if not found.even_budgets:
        yield '<p class="caution">Not on equal terms: who tried more specs had more chances.</p>'
    yield note(
        "Selected on validation rows alone. The best of several specs is an optimistic pick: some of its lead is luck. "
        "Tied: the interval of its difference to the first includes 0."
    )
    yield "</section>\n"


def scores(comparison: Comparison) -> Iterator[str]:
    header = ["job", "seeds", "diverged", "last", "best", "best step"]
    if comparison.target is not None:
        header.append("median steps to target")
    rows = []
    for job, row in zip(comparison.jobs, comparison.table, strict=True):
        estimates = [estimate_words(estimate) for estimate in (row.last, row.best, row.best_step)]
        rows.append([job.label, str(len(job.seeds)), str(job.diverged), *estimates, *steps_cell(row)])
    yield f"<section><h2>Scores</h2>{table(header, rows)}"
    yield note(f"Mean ± half its {comparison.confidence:.0%} t interval, over runs that succeeded.")
    yield "</section>\n"


def test_scores(comparison: Comparison) -> Iterator[str]:
    if not comparison.test_scores:
        return
    labels = {job.id: job.label for job in comparison.jobs}
    names = list(dict.fromkeys(name for one in comparison.test_scores for name in one.scores))
    rows = [
        [
            labels.get(one.job_id, one.job_id),
            *(over_seeds_words(one.scores[name]) if name in one.scores else "–" for name in names),
            str(one.runs),
            str(one.look),
            str(one.looks_at_dataset),
        ]
        for one in comparison.test_scores
    ]
    header = ["job", *map(metric_words, names), "runs", "look of its experiment", "looks at the data set"]
    yield f"<section><h2>Test scores</h2>{table(header, rows)}"
    yield note(
        "Of sealed rows, by which nothing was selected and no verdict was given. Each look makes the next one worth "
        "less: how many there had been by then stands beside the scores."
    )
    yield "</section>\n"


def spec(comparison: Comparison) -> Iterator[str]:
    if not comparison.spec_diff:
        return
    differing = sorted(comparison.spec_diff.items())

    def cell(values: dict[str, Any], job_id: str) -> str:
        return value_words(values[job_id]) if job_id in values else "–"

    if len(comparison.jobs) <= _MOST_COLUMNS:
        header = ["field", *(job.label for job in comparison.jobs)]
        rows = [[path, *(cell(values, job.id) for job in comparison.jobs)] for path, values in differing]
    else:
        header = ["job", *(path for path, _ in differing)]
        rows = [[job.label, *(cell(values, job.id) for _, values in differing)] for job in comparison.jobs]
    yield f'<section class="spec"><h2>What differs in the specs</h2>{table(header, rows)}</section>\n'


def footer(comparison: Comparison) -> Iterator[str]:
    hashes = "".join(
        f"<div><dt>{escape(job.label)}</dt><dd>{escape(job.spec_hash)}</dd></div>" for job in comparison.jobs
    )
    listed = f"<dl>{hashes}</dl>"
    if len(comparison.jobs) > _MOST_COLUMNS:
        listed = f"<details><summary>The hash of each spec</summary>{listed}</details>"
    yield f"<footer><p>Descent. Same spec and seed, same bits:</p>{listed}</footer>\n"
