"""Paths that have one reading: whatever two programs could read differently is refused before anything else."""

import re
from unicodedata import category
from urllib.parse import unquote_to_bytes

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED_SEPARATOR = re.compile(rb"%2f|%5c|\\", re.IGNORECASE)
_CONTROLS = frozenset({"Cc", "Zl", "Zp"})
"""Control characters, and the separators of lines and paragraphs."""


def path_flaw(raw_path: bytes) -> str | None:
    """Return what is wrong with the path of a request; None for a path that has one reading.

    Args:
        raw_path: as the request has it, with its escapes and without the query.

    """
    if not raw_path.startswith(b"/"):
        return "the path has to begin with a slash"
    if _BROKEN_ESCAPE.search(raw_path):
        return "the path holds a % that is not followed by two hexadecimal digits"
    if _ENCODED_SEPARATOR.search(raw_path):
        return "the path holds an encoded slash or a backslash"
    try:
        # Strict decoding refuses overlong forms, halves of surrogate pairs and everything else that is not UTF-8.
        path = unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return "the path is not UTF-8"
    if any(category(character) in _CONTROLS for character in path):
        return "the path holds a control character"
    if any(segment in (".", "..") for segment in path.split("/")):
        return "the path holds a segment . or .."
    if path[-1].isspace():
        return "the path ends with white space"
    return None
