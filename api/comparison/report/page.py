"""The page itself: its head, its sections, and inside it the data, Plotly and the scripts that draw."""

import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from api.comparison.history import JobHistory
from api.comparison.report.drawn import drawn
from api.comparison.report.sections import sections
from api.comparison.result import Comparison

# The page may run its own scripts and fetch nothing at all.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_SCRIPTS = ("shared.js", "curves.js", "scores.js", "standing.js", "fields.js", "pictures.js", "start.js")
"""One program in several files: each stands on those before it."""


def report_html(comparison: Comparison, jobs: Sequence[JobHistory], title: str) -> str:
    """One self-contained page, each section of which is there only if there is something to show.

    `jobs` are those that were compared, in the same order. Plotly travels inside the page (about 5 MB), so it opens
    from a file or an attachment.
    """
    assert [job.job_id for job in jobs] == [job.id for job in comparison.jobs]
    data = drawn(comparison, jobs)
    program = "".join(_own_file(name) for name in _SCRIPTS)
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(title)}</title>\n<style>\n{_own_file('report.css')}</style>\n</head>\n<body>\n<main>\n",
            *sections(comparison, data, title),
            "</main>\n",
            f'<script type="application/json" id="comparison">{_inside_script(data)}</script>\n',
            f'<script>{_plotly()}</script>\n<script>\n"use strict";\n{program}</script>\n</body>\n</html>\n',
        )
    )


def _inside_script(value: Any) -> str:
    """JSON that cannot end the script element or open a comment in it, whatever the names in it are."""
    text = json.dumps(_short(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _short(value: Any) -> Any:
    """Floats to six digits, more than any screen shows, and whole ones as integers."""
    match value:
        case float():
            rounded = float(f"{value:.6g}")
            return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded
        case dict():
            return {name: _short(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_short(inner) for inner in value]
        case _:
            return value


def _own_file(name: str) -> str:
    return resources.files("api.comparison.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    text = resources.files("plotly").joinpath("package_data/plotly.min.js").read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script")
