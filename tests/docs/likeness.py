"""When what a command prints is what its page shows.

Words have to be the same. What no two runs have in common may differ: numbers, sizes, ids, secrets, how lines are
broken. `…` on a page stands for anything that it leaves out. A run that a page shows waiting or training may be further
by the time somebody looks.
"""

import re
from collections.abc import Iterator

_SECRET = r"\bdk_[0-9a-f]{6,}_[\w-]+"
_ID = r"\b(?:[a-z]+_[0-9a-f]{12,}|(?=[0-9]*[a-f])[0-9a-f]{16,})\b"
_NUMBER = r"[-−+]?(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][-+]?\d+)?"
_SIZE = f"{_NUMBER} (?:bytes|[kMGT]B)"
# In this order: of two that fit, the first one counts.
_SHOWN = {
    "gap": r"\s*…\s*",
    "line_break": r"\s*\n\s*",
    "secret": _SECRET,
    "id": _ID,
    "size": _SIZE,
    "number": _NUMBER,
    "under_way": r"\b(?:queued|running)\b",
    "space": r"\s+",
    "letter": ".",
}
_PRINTED = {
    "gap": ".*?",
    "line_break": r"\s*",
    "secret": _SECRET,
    "size": _SIZE,
    "number": _NUMBER,
    "under_way": "(?:queued|running|succeeded)",
    "space": r"\s+",
}
_PART = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _SHOWN.items()))


class Ids:
    """Which ids and secrets of the service stand for those that a page shows."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def real(self, text: str) -> str:
        """The text with the service's own ids, where they are known."""
        return re.sub(f"{_SECRET}|{_ID}", lambda match: self._real.get(match[0], match[0]), text)

    def agree(self, shown: str, printed: str) -> bool:
        """Whether this is what the page shows; the ids in it are known from now on."""
        groups: dict[str, str] = {}
        found = re.fullmatch("".join(self._pattern(shown.strip(), groups)), printed.strip(), re.DOTALL)
        if found is not None:
            self._real |= {name: found[group] for name, group in groups.items()}
        return found is not None

    def _pattern(self, shown: str, groups: dict[str, str]) -> Iterator[str]:
        for part in _PART.finditer(shown):
            kind, text = str(part.lastgroup), part[0]
            if text in self._real:
                yield re.escape(self._real[text])
            elif text in groups:
                yield f"(?P={groups[text]})"
            elif kind in ("id", "secret"):
                groups[text] = f"id{len(groups)}"
                yield f"(?P<{groups[text]}>{_SECRET if kind == 'secret' else _id_like(text)})"
            else:
                yield _PRINTED.get(kind, re.escape(text))


def _id_like(text: str) -> str:
    prefix = text[: text.find("_") + 1]
    return f"{prefix}[0-9a-f]+"
