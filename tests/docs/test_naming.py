"""What is told of commands that are not run, and how a console block is cut into commands."""

import pytest

from tests.docs.naming import check
from tests.docs.pages import Block, Command


@pytest.mark.parametrize(
    "typed",
    [
        "make up",
        "mkdir build && make docs   # and the site",
        "docker compose -f docker-compose.yml -f docker-compose.gpu.yml up --detach --scale worker=4",
        "docker compose exec -T postgres pg_dump --username descent descent > descent.dump",
        "DESCENT_WORKER_DEVICE=cpu descent up --processes 4",
        ".venv/bin/python -m pytest tests/docs",
        "celery --quiet -A worker.tasks worker -Q cpu",
    ],
)
def test_what_is_there_may_be_named(typed: str) -> None:
    check(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "make nonsense",
        "docker compose up --scale workers=4",
        "docker compose exec -T database true",
        "descent train spec.yaml",
        "descent up --gpus 4",
        "cat key | descent keys make",
        "python -m migration",
        ".venv/bin/python -m pytest tests/nothing",
        "celery -A worker.nothing worker",
    ],
)
def test_what_is_not_there_is_found(typed: str) -> None:
    with pytest.raises(AssertionError, match="no"):
        check(typed)


def test_a_command_goes_on_until_a_shell_would_take_it_for_complete() -> None:
    text = "$ echo 'one\n    two'\none\n$ cat <<END\nthree\nEND\n$ ls \\\n    docs\n…\n"
    block = Block("page.md", 1, "console", text, title=None, reason=None, follows_python=False)
    assert block.commands() == [
        Command(2, "echo 'one\n    two'", "one\n"),
        Command(5, "cat <<END\nthree\nEND", ""),
        Command(8, "ls \\\n    docs", "…\n"),
    ]
