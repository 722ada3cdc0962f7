"""The pages that are written by the code leave nothing out: `make check` insists that they are up to date."""

import re

import pytest
import typer
from pydantic import SecretStr
from typer.core import TyperGroup

from api.app import create_app
from descent.cli import app
from models.settings import Settings
from tests.docs.pages import REPOSITORY
from tests.servers import KEY


def page(name: str) -> str:
    return (REPOSITORY / "docs" / name).read_text(encoding="utf-8")


def commands(group: object, called: str = "descent") -> list[str]:
    assert isinstance(group, TyperGroup)
    return [
        name
        for word, command in group.commands.items()
        for name in (commands(command, f"{called} {word}") if isinstance(command, TyperGroup) else [f"{called} {word}"])
    ]


def test_every_route_stands_on_the_page_of_the_interface() -> None:
    document = create_app(Settings(admin_key=SecretStr(KEY))).openapi()
    routes = [f"`{method.upper()} {path}`" for path, methods in document["paths"].items() for method in methods]
    assert [route for route in routes if page("api.md").count(f"\n{route} (") != 1] == []


def test_every_command_stands_on_the_page_of_the_command_line() -> None:
    told = re.findall(r"^#{2,3} (descent .+)$", page("cli.md"), re.MULTILINE)
    found = commands(typer.main.get_command(app))
    assert len(found) > 40
    assert set(found) <= set(told)


@pytest.mark.parametrize("name", ["api.md", "cli.md"])
def test_every_heading_of_a_generated_page_is_there_once_so_that_links_mean_one_place(name: str) -> None:
    headings = re.findall(r"^#{2,3} (.+)$", page(name), re.MULTILINE)
    assert sorted(headings) == sorted(set(headings))
