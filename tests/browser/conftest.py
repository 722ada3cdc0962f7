"""A headless browser, reports for it to open, and a service with a worker behind its dashboard."""

import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from api.comparison.report import report_html
from api.comparison.report.policy import content_security_policy
from descent import Client
from tests.browser import fabricated
from tests.journey.service import Service, running_service
from tests.servers import KEY, running_valkey

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 20_000
"""Milliseconds in which something has to be seen."""
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Gone with its module: while it lives, an event loop runs in this thread."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(NAMES)} is installed")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        except Error as error:
            pytest.skip(f"{found} does not start: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Reports by name."""
    made = {
        "plane": fabricated.classes_in_the_plane(),
        "line": fabricated.curves_over_a_line(),
        "hundred": fabricated.a_hundred_jobs(),
    }
    return {name: report_html(comparison, jobs, f"Report {name}") for name, (comparison, jobs) in made.items()}


@pytest.fixture(scope="module")
def files(pages: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Their addresses on this machine's disk."""
    folder: Path = tmp_path_factory.mktemp("reports")
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in pages}


@pytest.fixture(scope="module")
def served(pages: dict[str, str]) -> Iterator[dict[str, str]]:
    """Their addresses on a server, which sends the policy that the service sends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.strip("/"))
            body = (page or "").encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", content_security_policy(page or ""))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {name: f"http://127.0.0.1:{server.server_port}/{name}" for name in pages}
        server.shutdown()


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("dashboard")
    (folder / "descent.sqlite3").write_bytes(sqlite_template.read_bytes())
    with (
        running_valkey(folder) as valkey,
        running_service(folder, f"sqlite:///{folder / 'descent.sqlite3'}", valkey) as service,
    ):
        service.start_worker()
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, key=KEY, patience_seconds=30) as client:
        yield client


@pytest.fixture
def key(client: Client, request: pytest.FixtureRequest) -> str:
    """Of an owner of this test's own, so that no other's jobs are in sight."""
    return client.create_key(re.sub(r"\W+", "-", request.node.name)[:60]).key


@pytest.fixture
def mine(service: Service, key: str) -> Iterator[Client]:
    with Client(service.url, key=key, patience_seconds=30) as client:
        yield client


@pytest.fixture
def page(browser: Browser, service: Service, key: str) -> Iterator[Page]:
    """A tab that came by a link with a key, complains of nothing, and asks nobody else."""
    page, complaints, asked = browser.new_page(viewport={"width": 1200, "height": 900}), [], []
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{service.url}/#key={key}")
    yield page
    page.close()
    assert not [text for text in complaints if not _is_of_the_network(text)]
    assert all(address.startswith((service.url, "data:", "blob:")) for address in asked)


def _is_of_the_network(text: str) -> bool:
    """What a browser says of answers that it did not like, whatever the page makes of them."""
    return text.startswith("Failed to load resource")
