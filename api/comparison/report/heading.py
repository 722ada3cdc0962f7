"""What the page says first: its title, the verdict, the warnings, the claims."""

from collections.abc import Iterator
from html import escape

from api.comparison.claims import median_words
from api.comparison.exports import estimate_words
from api.comparison.report.markup import folded
from api.comparison.result import Comparison, JudgedClaim
from api.comparison.wording import count, metric_words, probability

_VERDICT_WORDS = {
    "supported": "Supported: the runs bear out all that was claimed.",
    "refuted": "Refuted: the runs say the opposite of what was claimed.",
    "undecided": "Undecided: these runs cannot settle what was claimed.",
}


def heading(comparison: Comparison, title: str) -> Iterator[str]:
    contenders = " · ".join(escape(job.label) for job in comparison.jobs[:12])
    more = f" and {count(len(comparison.jobs) - 12, 'more job')}" if len(comparison.jobs) > 12 else ""
    yield f'<header><p class="kicker">Comparison of {escape(metric_words(comparison.metric))}</p>'
    yield f'<h1>{escape(title)}</h1><p class="contenders">{contenders}{more}</p>'
    if comparison.verdict:
        yield f'<p class="verdict {comparison.verdict}">{_VERDICT_WORDS[comparison.verdict]}</p>'
    yield "</header>\n"
    if comparison.warnings:
        yield f'<section class="warnings"><h2>Read this first</h2>{folded(comparison.warnings)}</section>\n'


def claims(comparison: Comparison) -> Iterator[str]:
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
