"""What can be told of a command without running it: whether what it names is there."""

import importlib.util
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import pairwise

import typer
import yaml
from typer.core import TyperCommand, TyperGroup

from descent.cli import app
from tests.docs.pages import REPOSITORY

_BETWEEN = re.compile(r"\s(?:&&|\|\||\||;)\s")
_VARIABLE = re.compile(r"\w+=.*")


def check(typed: str) -> None:
    """Insist that make's targets, compose's files and services, modules, files and options of `descent` are there.

    Raises:
        AssertionError: if one is not.

    """
    for words in _programs(typed):
        known = _CHECKS.get(words[0].rpartition("/")[2])
        if known is not None:
            known(words[1:])


def _programs(typed: str) -> Iterator[list[str]]:
    for part in _BETWEEN.split(typed.replace("\\\n", " ")):
        words = shlex.split(part, comments=True)
        while words and _VARIABLE.fullmatch(words[0]):
            words.pop(0)
        if words:
            yield words


def _make(words: list[str]) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in words:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"make has no target {target}"


def _docker(words: list[str]) -> None:
    assert words[0] == "compose"
    files = [name for option, name in pairwise(words) if option == "-f"] or ["docker-compose.yml"]
    services = {name for file in files for name in yaml.safe_load((REPOSITORY / file).read_text())["services"]}
    verb = next(place for place, word in enumerate(words) if word in {"build", "exec", "run", "stop", "up"})
    named = [word for word in words[verb + 1 :] if not word.startswith("-")]
    if words[verb] in {"exec", "run"}:
        named = named[:1]
    for name in named:
        assert name.partition("=")[0] in services, f"compose has no service {name}"


def _descent(words: list[str]) -> None:
    command: object = typer.main.get_command(app)
    rest = list(words)
    while isinstance(command, TyperGroup):
        assert rest[0] in command.commands, f"descent has no command {' '.join(words)}"
        command = command.commands[rest.pop(0)]
    assert isinstance(command, TyperCommand)
    options = {name for parameter in command.params for name in parameter.opts}
    for word in rest:
        assert not word.startswith("--") or word.partition("=")[0] in options, f"{words[0]} has no option {word}"


def _python(words: list[str]) -> None:
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), f"there is no module {words[1]}"
    for word in words:
        assert not word.startswith("tests/") or (REPOSITORY / word).exists(), f"there is no {word}"


def _celery(words: list[str]) -> None:
    modules = [module for option, module in pairwise(words) if option == "-A"]
    assert [module for module in modules if importlib.util.find_spec(module)], f"there is no module {modules}"


_CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": _make,
    "docker": _docker,
    "descent": _descent,
    "python": _python,
    "celery": _celery,
}
