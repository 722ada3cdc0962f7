"""Somebody who follows a page from its top to its end, and complains where it does not keep its word."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from descent import Client
from descent.documents import parse
from tests.docs.given import GIVEN
from tests.docs.likeness import Ids
from tests.docs.pages import Block, blocks
from tests.docs.shell import Shell
from tests.docs.surroundings import ADDRESS, typing_environment
from tests.journey.service import Service

PATIENCE_SECONDS = 60.0
BARE: dict[str, Any] = {"dataset": "sine", "optimizer": "adam"}
"""What a piece of a spec is put over."""
FAILED = "echo $?"
"""Typed by whoever means the command before it to fail."""
_HEAVY = re.compile(r"\b(?:apt|brew|docker|make|pip|sudo)\b")
"""What changes the machine that the tests run on is not for them to run."""


class Reader:
    """Has one shell and one Python for the whole page."""

    def __init__(self, service: Service, folder: Path, shell: Shell) -> None:
        self._service = service
        self._folder = folder
        self._shell = shell
        self._ids = Ids()
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._printed = ""
        self._ways: dict[str, Callable[[Block], None]] = {
            "console": self._console,
            "python": self._python,
            "json": self._spec,
            "yaml": self._spec,
        }
        self.complaints: list[str] = []

    def close(self) -> None:
        """A program's connections end with it."""
        for value in self._names.values():
            if isinstance(value, Client):
                value.close()

    def read(self, block: Block) -> None:
        if block.title is not None:
            (self._folder / block.title).write_text(self._here(block.text), encoding="utf-8")
        elif block.language == "text" and block.follows_python:
            self._demand_likeness(block.place, block.text, self._printed)
        elif block.language != "text":
            self._ways[block.language](block)

    def _console(self, block: Block) -> None:
        commands = block.commands()
        for command, following in zip(commands, [*commands[1:], None], strict=True):
            place = f"{block.page}:{command.line}"
            assert not _HEAVY.search(command.typed), f"{place}: {command.typed}\nis not for a test to run: say why not"
            status, printed = self._shell.run(self._here(command.typed), PATIENCE_SECONDS)
            if following is None or following.typed != FAILED:
                self._demand(status == 0, f"{place}: {command.typed}\nended with {status}:\n{printed}")
            if command.shown.strip():
                self._demand_likeness(place, command.shown, printed)

    def _python(self, block: Block) -> None:
        code = compile(self._here(block.text), block.place, "exec")
        with redirect_stdout(io.StringIO()) as output:
            exec(code, self._names)
        self._printed = output.getvalue()

    def _spec(self, block: Block) -> None:
        with Client(self._service.url) as client:
            client.validate(BARE | parse(block.text, block.place))

    def _here(self, text: str) -> str:
        return self._ids.real(text.replace(ADDRESS, self._service.url))

    def _demand_likeness(self, place: str, shown: str, printed: str) -> None:
        printed = printed.replace(self._service.url, ADDRESS)
        self._demand(self._ids.agree(shown, printed), f"{place} shows\n{shown}\nand what came is\n{printed}")

    def _demand(self, holds: bool, complaint: str) -> None:
        if not holds:
            self.complaints.append(complaint)


@contextmanager
def reading(service: Service, folder: Path) -> Iterator[Reader]:
    """Somebody who reads in a folder."""
    environment = typing_environment()
    environment |= {"PATH": f"{folder / '.venv' / 'bin'}:{environment['PATH']}", "HOME": str(folder)}
    with Shell(folder, environment) as shell, closing(Reader(service, folder, shell)) as reader:
        yield reader


def follow(page: str, service: Service, folder: Path) -> list[str]:
    """Do what a page says, in a folder; what it is to be complained of."""
    with Client() as client:
        for prepare in GIVEN.get(page, ()):
            prepare(client)
    with reading(service, folder) as reader:
        for block in blocks(page):
            if block.reason is None:
                reader.read(block)
    return reader.complaints
