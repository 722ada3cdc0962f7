"""YAML and JSON files, read as JSON would be."""

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from descent.errors import DescentError


class _Loader(yaml.SafeLoader):
    """PyYAML takes 1e-2 for a text; everybody who writes a learning rate means a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse(text: str, source: str) -> dict[str, Any]:
    """Read one mapping.

    Raises:
        DescentError: if the text is no YAML (and so no JSON either), or something else than a mapping.

    """
    try:
        content = yaml.load(text, _Loader)  # noqa: S506
    except yaml.YAMLError as error:
        raise DescentError(f"{source} is neither YAML nor JSON: {error}") from error
    if not isinstance(content, dict):
        raise DescentError(f"{source} holds no mapping such as `dataset: digits`")
    return content


def read(path: Path) -> dict[str, Any]:
    """Read a file, or standard input for `-`.

    Raises:
        DescentError: if it cannot be read.

    """
    if str(path) == "-":
        return parse(sys.stdin.read(), "standard input")
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DescentError(f"{path} cannot be read: {reason}") from error
