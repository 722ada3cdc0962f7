"""Pieces of HTML that several sections are made of. Everything that goes in as text is escaped here."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

COLORS = 7
_DASHES = ("", "6 4", "2 3", "6 3 2 3")
"""Past seven jobs, dashes tell them apart."""


_MOST_ROWS = 20


class Bar(NamedTuple):
    """A number in a table, with a bar as long as its share of the most."""

    value: int
    most: int


def table(header: Sequence[str], rows: Sequence[Sequence[str | Bar]]) -> str:
    """A table that scrolls in its own room."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>{"".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="wide {"tall" if len(rows) > _MOST_ROWS else ""}" tabindex="0" role="region" aria-label="Table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str | Bar) -> str:
    if isinstance(cell, str):
        return escape(cell)
    width = round(72 * cell.value / max(1, cell.most))
    return f'<span class="bar-cell"><span style="width:{width}px"></span>{cell.value}</span>'


def bullets(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def folded(sentences: Sequence[str], shown: int = 6) -> str:
    """Bullets, of which those after the first few unfold."""
    if len(sentences) <= shown + 1:
        return bullets(sentences)
    more = f"<details><summary>{len(sentences) - shown} more</summary>{bullets(sentences[shown:])}</details>"
    return f"{bullets(sentences[:shown])}{more}"


def note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def chart(name: str, label: str, height: int, *, scrolls: bool = False) -> str:
    """Room for a chart of this height in pixels, so that nothing moves when it is drawn."""
    room = f'<div class="chart" id="{name}" role="img" aria-label="{escape(label)}" style="height:{height}px"></div>'
    return (
        f'<div class="tall" tabindex="0" role="region" aria-label="{escape(label)}">{room}</div>' if scrolls else room
    )


def swatch(index: int) -> str:
    """The line by which a job is known in all charts."""
    dash = _DASHES[index // COLORS % len(_DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<svg width="22" height="8" aria-hidden="true"><line x1="0" x2="22" y1="4" y2="4" stroke-width="3"'
        f' class="line{index % COLORS}"{dashes}/></svg>'
    )


def choices(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    """A row of buttons of which one is pressed; the script says which."""
    buttons = "".join(
        f'<button type="button" data-choice="{escape(value)}" aria-pressed="false">{escape(text)}</button>'
        for value, text in options
    )
    return f'<div class="choices" id="{name}" role="group" aria-label="{escape(label)}">{buttons}</div>'


def select(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    listed = "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options)
    return f'<label class="select">{escape(label)} <select id="{name}">{listed}</select></label>'
