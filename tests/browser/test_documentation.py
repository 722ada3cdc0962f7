"""The page of the documentation in a browser: a key opens it, stays in the tab, and leaves no trace in the address."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from api.app import create_app
from tests.servers import KEY, Valkey, running_api, settings_in


@pytest.fixture(scope="module")
def url(valkey: Valkey, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = settings_in(tmp_path_factory.mktemp("documented"), sqlite_template, valkey)
    with running_api(create_app(settings)) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of its own, which complains of nothing and asks nobody else."""
    page, complaints, asked = browser.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    # A refusal of ours is told by the browser, too.
    assert not [text for text in complaints if "401" not in text]
    assert all(address.startswith(("http://127.0.0.1", "data:")) for address in asked)


def test_a_link_with_a_key_opens_it_and_the_key_leaves_the_address(page: Page, url: str) -> None:
    page.goto(f"{url}/docs#key={KEY}")
    expect(page.get_by_text("Submit a job").first).to_be_visible()
    assert page.url == f"{url}/docs"
    page.reload()
    expect(page.get_by_text("Submit a job").first).to_be_visible()


def test_without_a_key_it_asks_for_one_and_says_what_is_wrong_with_another(page: Page, url: str) -> None:
    page.goto(f"{url}/docs")
    asked = page.get_by_label("A key opens this page")
    asked.fill("nonsense")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_text("this key is wrong, expired or revoked")).to_be_visible()
    asked.fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Submit a job").first).to_be_visible()
    expect(asked).to_be_hidden()


def test_requests_from_the_page_carry_the_key(page: Page, url: str) -> None:
    page.goto(f"{url}/docs#key={KEY}")
    page.get_by_text("List sweeps").first.click()
    page.get_by_role("button", name="Try it out").click()
    with page.expect_response(lambda answer: "/v1/sweeps" in answer.url) as answer:
        page.get_by_role("button", name="Execute").click()
    assert answer.value.status == 200
