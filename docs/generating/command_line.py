"""cli.md: every command of `descent`, from the commands themselves."""

from typing import get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from descent.cli import app
from descent.console import Json
from docs.generating.markdown import ORIGIN, Parts, table

PROGRAM = "descent"
_JSON = get_args(Json)[1].help
"""Of the option that every command has, and that is told once."""
_WORDS = {"str": "text", "int": "whole number", "float": "number", "Path": "path"}


def command_line() -> Parts:
    group = typer.main.get_command(app)
    yield "# Command line"
    yield ORIGIN
    yield (
        f"{group.help} `{PROGRAM} COMMAND --help` says the same as this page. Results go to standard output, "
        "everything else to standard error. The exit status is 0 if all went well, 1 if something was refused or a "
        "watched job did not succeed, 2 if the command was not understood, and 130 after Ctrl-C."
    )
    yield (
        "Every command takes `--json` as well, and then prints one JSON document with the field names of "
        "[the HTTP interface](api.md)."
    )
    yield "## Which service, and with which key"
    yield table(("variable", "meaning"), _VARIABLES)
    yield (
        f"`{PROGRAM} up` and `{PROGRAM} demo` start a service of their own, which reads "
        "[the settings of the service](settings.md)."
    )
    yield "## Completion"
    yield (
        f"`{PROGRAM} --install-completion` teaches the shell at hand (bash, zsh, fish or PowerShell) to complete "
        f"commands and options with the Tab key, from its next start on. `{PROGRAM} --show-completion` prints the "
        f"same, to be put elsewhere. What is completed is called `{PROGRAM}`, so activate the environment first: "
        "`source .venv/bin/activate`."
    )
    yield from _commands(group, PROGRAM)


_VARIABLES = [
    (
        "`DESCENT_URL`",
        "Where the service answers. Without it: that which `descent up` started in this folder, or else "
        "`http://127.0.0.1:8000`.",
    ),
    ("`DESCENT_KEY`", "The key to show. Without it: that of the service that `descent up` started in this folder."),
    ("`NO_COLOR`", "Set to anything: no colours."),
    ("`COLUMNS`", "How wide tables may be, where standard output is no terminal."),
]


def _commands(group: object, name: str) -> Parts:
    assert isinstance(group, TyperGroup)
    for word, command in group.commands.items():
        called = f"{name} {word}"
        yield f"{'##' if name == PROGRAM else '###'} {called}"
        yield command.help or ""
        if isinstance(command, TyperGroup):
            yield from _commands(command, called)
        elif isinstance(command, TyperCommand):
            yield from _parameters(command, called)


def _parameters(command: TyperCommand, called: str) -> Parts:
    context = typer.Context(command, info_name=called)
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    options = [one for one in command.params if isinstance(one, TyperOption) and one.help != _JSON]
    yield f"`{' '.join([called, *map(_called, arguments), *(['[OPTIONS]'] if options else [])])}`"
    if arguments:
        told = [(_called(one).replace("|", " or "), _type(one, context), one.help or "") for one in arguments]
        yield table(("argument", "type", "meaning"), told)
    if options:
        rows = [(_spelled(one), _type(one, context), _default(one), one.help or "") for one in options]
        yield table(("option", "type", "default", "meaning"), rows)


def _called(argument: TyperArgument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    if argument.nargs != 1 and not name.endswith("…"):
        name += "…"
    return name if argument.required else f"[{name}]"


def _spelled(option: TyperOption) -> str:
    return ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])


def _type(parameter: TyperArgument | TyperOption, context: typer.Context) -> str:
    if isinstance(parameter, TyperOption) and parameter.is_flag:
        return "flag"
    kind = parameter.display_type(context).strip("<>").removesuffix(" range")
    kind = kind.removeprefix("list[").removesuffix("]")
    limits = [f"{sign} {limit:,}" for sign, limit in (("≥", parameter.min), ("≤", parameter.max)) if limit is not None]
    often = ["as often as needed"] if parameter.multiple else []
    return ", ".join([_WORDS.get(kind) or kind.replace("|", " or "), *limits, *often])


def _default(option: TyperOption) -> str:
    if option.required:
        return "required"
    return "" if option.default is None or option.default is False or option.default == "" else f"`{option.default}`"
