"""The comparison as one HTML page that needs nothing else: no server, no network, no font."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from api.comparison.claims import median_words
from api.comparison.curves import curve
from api.comparison.exports import estimate_words, steps_cell, value_words
from api.comparison.history import JobHistory
from api.comparison.predictions import predictions
from api.comparison.result import Comparison, JudgedClaim
from api.comparison.wording import metric_words, probability, target_words
from models.metrics import METRICS

MAX_POINTS = 300
_VERDICT_WORDS = {
    "supported": "Supported: the runs bear out all that was claimed.",
    "refuted": "Refuted: the runs say the opposite of what was claimed.",
    "undecided": "Undecided: these runs cannot settle what was claimed.",
}
# The page may run its own scripts and fetch nothing at all.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def report_html(comparison: Comparison, jobs: Sequence[JobHistory], title: str) -> str:
    """One self-contained page: verdict, claims, curves, scores, time-to-target, predictions, spec diff, warnings.

    `jobs` are those that were compared, in the same order. Plotly travels inside the page (about 5 MB), so it opens
    from a file or an attachment.
    """
    assert [job.job_id for job in jobs] == [job.id for job in comparison.jobs]
    drawn = _drawn(comparison, jobs)
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(title)}</title>\n<style>\n{_own_file('report.css')}</style>\n</head>\n<body>\n<main>\n",
            *_sections(comparison, drawn, title),
            "</main>\n",
            f'<script type="application/json" id="comparison">{_inside_script(drawn)}</script>\n',
            f"<script>{_plotly()}</script>\n<script>\n{_own_file('report.js')}</script>\n</body>\n</html>\n",
        )
    )


def _drawn(comparison: Comparison, jobs: Sequence[JobHistory]) -> dict[str, Any]:
    """What the page's charts show."""
    recorded = {name for job in jobs for run in job.runs for name in run.series}
    others = sorted(recorded - {comparison.metric}, key=lambda name: [*METRICS, name].index(name))
    curves = {comparison.metric: [one.model_dump(mode="json") for one in comparison.curves]}
    for name in others:
        curves[name] = [
            curve(job, name, comparison.x, MAX_POINTS, comparison.confidence).model_dump(mode="json") for job in jobs
        ]
    return {
        "metric": comparison.metric,
        "metrics": [{"name": name, "label": _with_unit(name)} for name in curves],
        "better": comparison.better,
        "x": comparison.x,
        "confidence": comparison.confidence,
        "target": comparison.target,
        "jobs": [{"id": job.id, "label": job.label} for job in comparison.jobs],
        "curves": curves,
        "table": [row.model_dump(mode="json") for row in comparison.table],
        "predictions": predictions(jobs),
    }


def _with_unit(metric: str) -> str:
    unit = METRICS[metric].unit if metric in METRICS else ""
    return f"{metric_words(metric)} ({unit})" if unit else metric_words(metric)


def _sections(comparison: Comparison, drawn: dict[str, Any], title: str) -> Iterator[str]:
    yield from _heading(comparison, title)
    yield from _claims(comparison)
    yield '<nav id="legend" aria-label="Jobs"></nav>\n'
    yield (
        '<section><div class="bar"><h2>Curves</h2><div class="choices" id="metrics"></div>'
        '<div class="choices" id="scale"></div></div><div class="chart tall" id="curves"></div>'
        f'<p class="note">Mean over seeds; the band is its {comparison.confidence:.0%} t interval. '
        "✕ marks where a run diverged.</p></section>\n"
    )
    yield '<div class="pair"><section><h2>Last value by seed</h2><div class="chart" id="scores"></div>'
    yield '<p class="note">Thin lines join runs of one seed: they saw the same rows in the same order.</p></section>'
    if comparison.target is not None:
        words = escape(target_words(comparison.metric, comparison.better, comparison.target))
        yield f'<section><h2>Steps to {words}</h2><div class="chart" id="targets"></div>'
        yield '<p class="note">Open markers missed the target and stand at their budget.</p></section>'
    yield "</div>\n"
    if drawn["predictions"]:
        yield '<section><h2>Predictions over the data</h2><div class="wide"><div id="predictions"></div></div>'
        yield '<p class="note">One thin curve a seed, after the step at the left; dots are the data.</p></section>\n'
    yield from _scores(comparison)
    yield from _differences(comparison)
    yield from _spec(comparison)
    yield from _footer(comparison)


def _heading(comparison: Comparison, title: str) -> Iterator[str]:
    contenders = " · ".join(escape(job.label) for job in comparison.jobs)
    yield f'<header><p class="kicker">Comparison of {escape(metric_words(comparison.metric))}</p>'
    yield f'<h1>{escape(title)}</h1><p class="contenders">{contenders}</p>'
    if comparison.verdict:
        yield f'<p class="verdict {comparison.verdict}">{_VERDICT_WORDS[comparison.verdict]}</p>'
    yield "</header>\n"
    if comparison.warnings:
        items = "".join(f"<li>{escape(warning)}</li>" for warning in comparison.warnings)
        yield f'<section class="warnings"><h2>Read this first</h2><ul>{items}</ul></section>\n'


def _claims(comparison: Comparison) -> Iterator[str]:
    if comparison.claims:
        yield '<section><h2>Claims</h2><div class="claims">'
        yield from (_claim(one) for one in comparison.claims)
        yield "</div></section>\n"


def _claim(one: JudgedClaim) -> str:
    facts = {
        "median": " vs ".join(median_words(one, middle) for middle in (one.median_better, one.median_worse)),
        "ratio": f"{one.ratio_of_medians:.2g} ×" if one.ratio_of_medians is not None else "–",
        "mean difference": estimate_words(one.difference),
        "ahead": f"{one.wins} of {one.pairs}",
        "p": probability(one.p_value),
        "Holm p": probability(one.holm_p),
    }
    cells = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return (
        f'<article class="claim {one.verdict}"><p class="badge">{one.verdict}</p><h3>{escape(one.statement)}</h3>'
        f"<dl>{cells}</dl><p>{escape(one.sentence)}</p></article>"
    )


def _scores(comparison: Comparison) -> Iterator[str]:
    header = ["job", "seeds", "diverged", "last", "best", "best step"]
    if comparison.target is not None:
        header.append("median steps to target")
    rows = []
    for job, row in zip(comparison.jobs, comparison.table, strict=True):
        estimates = [estimate_words(estimate) for estimate in (row.last, row.best, row.best_step)]
        rows.append([job.label, str(len(job.seeds)), str(job.diverged), *estimates, *steps_cell(row)])
    yield f"<section><h2>Scores</h2>{_table(header, rows)}"
    yield f'<p class="note">Mean ± half its {comparison.confidence:.0%} t interval, over runs that succeeded.</p>'
    yield "</section>\n"


def _differences(comparison: Comparison) -> Iterator[str]:
    if comparison.paired:
        items = "".join(f"<li>{escape(one.sentence)}</li>" for one in comparison.paired)
        yield f"<section><h2>Against the baseline</h2><ul>{items}</ul></section>\n"


def _spec(comparison: Comparison) -> Iterator[str]:
    if comparison.spec_diff:
        rows = [
            [path, *(value_words(values[job.id]) if job.id in values else "–" for job in comparison.jobs)]
            for path, values in sorted(comparison.spec_diff.items())
        ]
        header = ["field", *(job.label for job in comparison.jobs)]
        yield f'<section class="spec"><h2>What differs in the specs</h2>{_table(header, rows)}</section>\n'


def _footer(comparison: Comparison) -> Iterator[str]:
    hashes = "".join(
        f"<div><dt>{escape(job.label)}</dt><dd>{escape(job.spec_hash)}</dd></div>" for job in comparison.jobs
    )
    yield f"<footer><p>Descent. Same spec and seed, same bits:</p><dl>{hashes}</dl></footer>\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _inside_script(value: Any) -> str:
    """JSON that cannot end the script element or open a comment in it, whatever the names in it are."""
    text = json.dumps(_short(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _short(value: Any) -> Any:
    """Floats to six digits: more than any screen shows."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {name: _short(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_short(inner) for inner in value]
        case _:
            return value


def _own_file(name: str) -> str:
    return resources.files("api.comparison").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    text = resources.files("plotly").joinpath("package_data/plotly.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script")
