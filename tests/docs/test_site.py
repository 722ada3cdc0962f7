"""The site that `make docs` builds: without a warning, and whole without any other host."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import browser as browser
from tests.docs.pages import REPOSITORY

pytest.importorskip("mkdocs", reason="MkDocs is not installed: `make docs` installs it")

ELSEWHERE = re.compile(r"(?:https?:)?//")
FETCHED_BY_STYLES = re.compile(r"""@import\s+["']?([^"';]+)|url\(\s*["']?([^"')]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (built.returncode, built.stdout) == (0, "")
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A tab that complains of nothing and asks nobody but the site."""
    page, complaints, asked = browser.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    page.close()
    assert not complaints
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)


class Fetched(HTMLParser):
    """The addresses that a browser fetches for a page by itself."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.addresses += [value or "" for name, value in attributes if name in {"src", "srcset", "href", "data"}]


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    assert [(page, one) for page in pages for one in Fetched(page).addresses if ELSEWHERE.match(one)] == []


def test_no_style_fetches_anything_from_another_host(site: Path) -> None:
    styles = list(site.rglob("*.css"))
    fetched = [
        one for style in styles for pair in FETCHED_BY_STYLES.findall(style.read_text(encoding="utf-8")) for one in pair
    ]
    assert styles
    assert [one for one in fetched if ELSEWHERE.match(one)] == []


def test_formulas_are_mathml_and_none_is_left_in_tex(site: Path) -> None:
    page = (site / "methods" / "adaptive-optimizers" / "index.html").read_text(encoding="utf-8")
    assert page.count("<math ") > 20
    assert "arithmatex" not in page


def test_every_page_of_a_folder_stands_in_the_navigation(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    for folder in ("how-to", "methods", "decisions"):
        for path in (REPOSITORY / "docs" / folder).glob("*.md"):
            name = "" if path.stem in {"index", "README"} else f"{path.stem}/"
            assert f'href="{folder}/{name}"' in page


def test_what_is_searched_is_found_by_the_site_alone(page: Page) -> None:
    page.get_by_role("textbox", name="Search").click()
    # The page listens for keys: text that is only filled in is not searched once the index has been built.
    page.get_by_role("textbox", name="Search").press_sequentially("adagrad")
    expect(page.locator(".md-search-result__item").first).to_contain_text("Ada", timeout=60_000)


def test_the_theme_is_light_or_dark_as_is_chosen(page: Page) -> None:
    schemes = set()
    for name in ("Take the light theme", "Take the dark theme"):
        page.get_by_title(name).click()
        schemes.add(page.locator("body").get_attribute("data-md-color-scheme"))
    assert schemes == {"default", "slate"}
