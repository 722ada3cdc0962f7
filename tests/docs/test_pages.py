"""What pages say is what happens."""

from pathlib import Path

import pytest

from descent import Client, Refused
from tests.docs.naming import check
from tests.docs.pages import PAGES, Block, blocks
from tests.docs.reader import follow, reading
from tests.journey.service import Service, running_service
from tests.servers import running_valkey

REASONS = {
    "installs packages",
    "needs a GPU",
    "needs an object store",
    "needs Docker",
    "needs files that do not come with Descent",
    "needs PostgreSQL",
    "needs several machines",
    "starts the service",
    "takes minutes",
}
"""Why a block may not be run."""
RUN = {"console", "json", "python", "yaml"}
EVERY_BLOCK = [block for page in PAGES for block in blocks(page)]
PAGES_TO_FOLLOW = list(
    dict.fromkeys(block.page for block in EVERY_BLOCK if block.reason is None and block.language != "text")
)
FIRST_PAGES = {"README.md", "docs/tutorial.md"}
"""Followed in the fast tier."""
NOT_RUN = [block for block in EVERY_BLOCK if block.reason is not None]


def place_of(block: Block) -> str:
    return block.place


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=() if page in FIRST_PAGES else pytest.mark.slow) for page in PAGES_TO_FOLLOW]
)
def test_whoever_does_what_a_page_says_sees_what_it_shows(page: str, service: Service, place: Path) -> None:
    complaints = follow(page, service, place)
    assert not complaints, "\n\n".join(complaints)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("console", "$ echo one\ntwo\n"),
        ("console", "$ false\n"),
        ("console", '$ echo \'{"dataset": "sine"}\' | descent validate -\n'),
    ],
)
def test_a_page_that_does_not_keep_its_word_is_complained_of(
    language: str, text: str, service: Service, place: Path
) -> None:
    with reading(service, place) as reader:
        reader.read(Block("page.md", 1, language, text, title=None, reason=None, follows_python=False))
    assert len(reader.complaints) == 1


@pytest.mark.parametrize(("language", "text"), [("yaml", "optimizer: adamm\n"), ("python", "client.jobs()\n")])
def test_a_spec_or_a_program_that_is_wrong_ends_the_reading(
    language: str, text: str, service: Service, place: Path
) -> None:
    with reading(service, place) as reader, pytest.raises((Refused, NameError)):
        reader.read(Block("page.md", 1, language, text, title=None, reason=None, follows_python=False))


def test_a_command_that_fails_may_do_so_where_its_status_is_shown(service: Service, place: Path) -> None:
    with reading(service, place) as reader:
        text = "$ ls nothing\n…\n$ echo $?\n2\n"
        reader.read(Block("page.md", 1, "console", text, title=None, reason=None, follows_python=False))
    assert reader.complaints == []


def test_a_copy_that_is_made_as_the_page_says_has_jobs_points_and_weights(service: Service, place: Path) -> None:
    assert not follow("docs/how-to/back-up.md", service, place)
    with Client() as client:
        job = next(client.jobs())
        run = client.runs(job)[0]
        points, weights = client.history(run).series, client.weights(run)
        client.delete(job)
    restored = place / "restored"
    storage = {"DESCENT_STORAGE_URL": str(restored / "storage")}
    with (
        running_valkey(restored) as valkey,
        running_service(restored, f"sqlite:///{restored / 'descent.sqlite3'}", valkey, storage) as again,
        Client(again.url, key=(restored / "key").read_text()) as client,
    ):
        assert client.job(job.id).status == "succeeded"
        assert client.history(run).series == points
        assert client.weights(run) == weights


@pytest.mark.parametrize("block", EVERY_BLOCK, ids=place_of)
def test_a_block_is_run_or_says_why_it_is_not(block: Block) -> None:
    if block.reason is None:
        assert block.language in {*RUN, "text"} or block.title is not None
    else:
        assert block.reason in REASONS


@pytest.mark.parametrize("block", NOT_RUN, ids=place_of)
def test_what_is_not_run_names_what_there_is(block: Block) -> None:
    for command in block.commands():
        check(command.typed)
