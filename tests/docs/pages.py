"""The pages that people read, and the blocks of code in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    "README.md",
    *sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "docs").rglob("*.md")),
]

_REASON = re.compile(r"<!-- not run: (.+) -->")
_TITLE = re.compile(r'title="([^"]+)"')
_PROMPT = "$ "


@dataclass(frozen=True)
class Command:
    """What is typed, and what the page shows of what comes back."""

    line: int
    typed: str
    shown: str


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    """Of its first fence, from 1."""
    language: str
    text: str
    title: str | None
    """The file that it is the content of."""
    reason: str | None
    """Why it is not run, where a comment before it says so."""
    follows_python: bool
    """Nothing stands between it and a block of Python: then it shows what that prints."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[Command]:
        """A prompt begins a command; what follows is more of it until it is complete, and then what it prints."""
        found: list[Command] = []
        for line, text in enumerate(self.text.splitlines(), self.line + 1):
            if text.startswith(_PROMPT) and not (found and _is_open(found[-1].typed)):
                found.append(Command(line, text.removeprefix(_PROMPT), ""))
                continue
            assert found, f"{self.page}:{line}: a console block begins with a command, after {_PROMPT!r}"
            last = found[-1]
            typed, shown = (
                (f"{last.typed}\n{text}", "") if _is_open(last.typed) else (last.typed, f"{last.shown}{text}\n")
            )
            found[-1] = Command(last.line, typed, shown)
        return found


def _is_open(typed: str) -> bool:
    """Whether a shell would wait for more: a line that goes on, a quotation or a document that has not ended."""
    if typed.endswith("\\"):
        return True
    if document := re.search(r"<<-?\s*['\"]?(\w+)", typed):
        return typed.splitlines()[-1].strip() != document[1]
    unquoted = re.sub(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", "", typed, flags=re.DOTALL)
    return "'" in unquoted or '"' in unquoted


def blocks(page: str) -> list[Block]:
    return list(_blocks(page, MarkdownIt().parse((REPOSITORY / page).read_text(encoding="utf-8"))))


def _blocks(page: str, tokens: list[Token]) -> Iterator[Block]:
    before: Token | None = None
    for token in tokens:
        if token.type == "fence":
            assert token.map is not None
            language, _, more = token.info.partition(" ")
            title = _TITLE.search(more)
            reason = _REASON.fullmatch(before.content.strip()) if before and before.type == "html_block" else None
            yield Block(
                page,
                token.map[0] + 1,
                language,
                token.content,
                title[1] if title else None,
                reason[1] if reason else None,
                before is not None and before.type == "fence" and before.info == "python",
            )
        before = token
