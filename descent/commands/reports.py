"""Reports in files: the ending of the name says what is written."""

from pathlib import Path
from typing import Literal

import typer

from descent.errors import DescentError

FORMATS: dict[str, Literal["html", "markdown", "csv"]] = {".html": "html", ".md": "markdown", ".csv": "csv"}


def demand_ending(path: Path) -> None:
    """Insist on a name that says what to write.

    Raises:
        typer.BadParameter: if its ending is none of those.

    """
    if path.suffix not in FORMATS:
        raise typer.BadParameter(f"a report ends in {', '.join(FORMATS)}", param_hint="--report")


def write(path: Path, text: str) -> None:
    """Write a report.

    Raises:
        DescentError: if it cannot be written.

    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DescentError(f"{path} cannot be written: {error.strerror}") from error
