"""How a notebook shows a job and a comparison: IPython is told, where it runs."""

import io
import sys
from html import escape
from typing import Any

from rich.console import Console, RenderableType

from descent import tables
from descent.comparison import Comparison
from models.answers import Job

WIDTH = 110
"""In letters."""
_STYLE = 'style="border-collapse:collapse;font-variant-numeric:tabular-nums"'
_COLORS = {"succeeded": "#00704f", "failed": "#a84300", "running": "#0067a3"}


def register() -> None:
    """Teach IPython, if this is a notebook, to show what the client hands out."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return
    formatter: Any = shell.display_formatter.formatters["text/html"]
    formatter.for_type(Job, job_html)
    formatter.for_type(Comparison, comparison_html)


def job_html(job: Job) -> str:
    """A job in a few lines, with a bar for how far it is."""
    share = job.progress.completed / max(1, job.progress.total)
    runs = ", ".join(f"{count} {status}" for status, count in job.runs_by_status.items() if count)
    color = _COLORS.get(job.status.value, "#55606c")
    facts = {
        "status": f'<b style="color:{color}">{escape(job.status.value)}</b>, {escape(runs)}',
        "progress": f'<progress max="1" value="{share:.4f}"></progress> {share:.0%}',
        "experiment": escape(job.experiment),
        "data, network": escape(f"{job.spec.dataset.kind}, {job.spec.network.kind}"),
        "optimizer": escape(job.spec.optimizer.kind),
        "id": f"<code>{escape(job.id)}</code>",
    }
    rows = "".join(
        f'<tr><td style="text-align:left;opacity:.7">{name}</td><td style="text-align:left">{value}</td></tr>'
        for name, value in facts.items()
        if value
    )
    return f"<b>{escape(job.name or job.id)}</b><table {_STYLE}>{rows}</table>"


def comparison_html(comparison: Comparison) -> str:
    """What the terminal shows, with its colors."""
    return as_html(tables.draw(comparison))


def as_html(shown: RenderableType, width: int = WIDTH) -> str:
    """What a terminal would show, with its colors."""
    # In a notebook rich would show at once what is only written down here.
    console = Console(record=True, width=width, file=io.StringIO(), force_jupyter=False)
    console.print(shown)
    return console.export_html(inline_styles=True, code_format='<pre style="line-height:1.35">{code}</pre>')
