"""Makes the client of the asynchronous one; `--check` only says whether it is up to date.

What a coroutine awaits, a thread calls. So each module of `descent/asynchronous` becomes its twin in `descent` word by
word: names are replaced, `async` and `await` go, and the line breaks are ruff's. Docstrings are treated like code, for
their examples.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "descent"
SOURCE = TARGET / "asynchronous"
BY_HAND = frozenset({"__init__", "loop"})
ORIGIN = "# Made from {}: change that file, then `make format`.\n"

NAMES = {
    "AsyncClient": "Client",
    "AsyncIterator": "Iterator",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "aclose": "close",
}
CALLS = {"loop.sleep": "time.sleep", "loop.semaphore": "threading.Semaphore"}
"""What a thread has for what a coroutine asks of the loop."""
IN_THREAD, ENTERED = "loop.in_thread", "loop.entered"
"""What takes its first argument into a thread: here is one already."""
_IMPORT = "from descent.asynchronous import loop\n"
_WORDS = re.compile(rf"\b(async |await |{'|'.join(NAMES)}\b)")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")

Edit = tuple[int, int, str]
"""From one place in the text to another: what stands there instead."""


class _Text:
    """A module's text and its tokens, each with its place."""

    def __init__(self, text: str) -> None:
        lengths = [0]
        for line in io.StringIO(text):
            lengths.append(lengths[-1] + len(line))
        self.tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        self.starts = [lengths[token.start[0] - 1] + token.start[1] for token in self.tokens]
        self.ends = [start + len(token.string) for start, token in zip(self.starts, self.tokens, strict=True)]

    def says(self, at: int, *words: str) -> bool:
        return tuple(token.string for token in self.tokens[at : at + len(words)]) == words

    def after_argument(self, at: int) -> int:
        """The place of the comma or bracket that ends the argument which begins at a token."""
        depth = 0
        while depth or self.tokens[at].string not in {",", ")"}:
            depth += (self.tokens[at].string in _OPENING) - (self.tokens[at].string in _CLOSING)
            at += 1
        return at


def synchronous(text: str) -> str:
    """The same module for threads, not yet in shape."""
    text = text.replace(_IMPORT, "import threading\nimport time\n")
    for start, end, instead in sorted(_edits(_Text(text)), reverse=True):
        text = text[:start] + instead + text[end:]
    return text


def _edits(text: _Text) -> Iterator[Edit]:
    for at, token in enumerate(text.tokens):
        here, end = text.starts[at], text.ends[at]
        if token.type == tokenize.STRING and token.string.startswith('"""'):
            yield here, end, _WORDS.sub(lambda found: NAMES.get(found[0], ""), token.string)
        elif token.type != tokenize.NAME:
            continue
        elif token.string in {"async", "await"}:
            yield here, text.starts[at + 1], ""
        elif token.string in NAMES:
            yield here, end, NAMES[token.string]
        elif text.says(at, "descent", ".", "asynchronous"):
            yield end, text.ends[at + 2], ""
        elif text.says(at, "loop", "."):
            yield from _of_loop(text, at)


def _of_loop(text: _Text, at: int) -> Iterator[Edit]:
    name = f"loop.{text.tokens[at + 2].string}"
    if name in CALLS:
        yield text.starts[at], text.ends[at + 2], CALLS[name]
        return
    if name not in {IN_THREAD, ENTERED}:
        raise ValueError(f"line {text.tokens[at].start[0]}: {name} has no twin; give it one in tools/synchronous.py")
    first, rest = at + 4, text.after_argument(at + 4)
    # in_thread(f, x) becomes f(x), in_thread(f) becomes f(), entered(x) becomes x.
    instead = "" if name == ENTERED else "(" if text.says(rest, ",") else "()"
    yield text.starts[at], text.starts[first], ""
    yield text.starts[rest], text.ends[rest], instead


def in_shape(text: str, path: Path) -> str:
    """As `make format` would leave it, without imports that only the asynchronous client needs."""
    ruff = [sys.executable, "-m", "ruff"]
    rules = ["--select", "C416,F401,I,UP028", "--fix-only", "--unsafe-fixes"]
    for command in (["check", "--quiet", *rules], ["format", "--quiet"]):
        whole = [*ruff, *command, "--stdin-filename", str(path), "-"]
        text = subprocess.run(whole, input=text, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return text


def twins() -> Iterator[tuple[Path, str]]:
    """Every module that is made, and its text."""
    for source in sorted(SOURCE.glob("*.py")):
        if source.stem not in BY_HAND:
            origin = ORIGIN.format(source.relative_to(ROOT).as_posix())
            path = TARGET / source.name
            yield path, in_shape(origin + synchronous(source.read_text(encoding="utf-8")), path)


def main() -> int:
    stale = []
    for path, text in twins():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"{', '.join(stale)} no longer what descent/asynchronous says: run `make format`.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
