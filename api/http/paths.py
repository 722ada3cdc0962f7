"""Reject ambiguous request paths, which two programs could interpret differently."""

import re
from unicodedata import category
from urllib.parse import unquote_to_bytes

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED_SEPARATOR = re.compile(rb"%2f|%5c|\\", re.IGNORECASE)
_CONTROLS = frozenset({"Cc", "Zl", "Zp"})
"""Control characters, and the separators of lines and paragraphs."""


def path_flaw(raw_path: bytes) -> str | None:
    """Return why a request path is rejected, or None if it is unambiguous.

    Args:
        raw_path: Percent-encoded path, without the query.

    """
    if not raw_path.startswith(b"/"):
        return "the path must begin with a slash"
    if _BROKEN_ESCAPE.search(raw_path):
        return "the path contains a % that is not followed by two hexadecimal digits"
    if _ENCODED_SEPARATOR.search(raw_path):
        return "the path contains an encoded slash or a backslash"
    try:
        # Strict decoding rejects overlong forms, surrogates and other invalid UTF-8.
        path = unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return "the path is not UTF-8"
    if any(category(character) in _CONTROLS for character in path):
        return "the path contains a control character"
    if any(segment in (".", "..") for segment in path.split("/")):
        return 'the path contains a "." or ".." segment'
    if path[-1].isspace():
        return "the path ends with white space"
    return None
