"""Takes the pictures of the README from a real service: `make screenshots`."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright
from rich.console import Console

from descent.client import Client
from descent.local.state import State
from descent.private_service import private_service, temporary_folder
from tests.browser.conftest import NAMES, QUIET

FOLDER = Path(__file__).parent / "screenshots"
SIZE: ViewportSize = {"width": 1180, "height": 800}
SINE = {"dataset": "sine", "seeds": 8, "budget": {"steps": 3_000}, "experiment": "optimizers"}
DIGITS = {"dataset": "digits", "optimizer": "adam", "experiment": "digits", "seeds": 3, "budget": {"epochs": 15}}
PLANE = {
    "name": "two moons",
    "dataset": {"kind": "moons", "noise": 0.2},
    "network": {"kind": "mlp", "hidden": [64, 64]},
    "optimizer": {"kind": "adam", "learning_rate": 0.003},
    "budget": {"steps": 60_000},
    "seeds": 3,
    "record": {"snapshots": [0, 100, 1_000, 5_000]},
    "execution": "eager",
}


def submit_all(client: Client) -> str:
    """Three optimizers and some others that have ended, and one job that trains; its id."""
    jobs = []
    for kind, rate in (("sgd", 0.01), ("momentum", 0.01), ("adam", 0.01)):
        jobs.append(client.submit(SINE | {"name": kind, "optimizer": {"kind": kind, "learning_rate": rate}}))
    for name, regularizers in (("plain", []), ("dropout", ["dropout"]), ("l2", [{"kind": "l2", "weight": 0.001}])):
        jobs.append(client.submit(DIGITS | {"name": name, "regularizers": regularizers}))
    for job in jobs:
        client.wait(job)
    return client.submit(PLANE).id


def take(page: Page, url: str, running: str) -> None:
    page.goto(f"{url}/#/jobs/{running}")
    page.get_by_text("step 5,000").wait_for(timeout=120_000)
    page.wait_for_timeout(2_000)
    page.screenshot(path=FOLDER / "job.png", full_page=True, clip={"x": 0, "y": 0, "width": 1180, "height": 1080})
    page.goto(f"{url}/#/jobs")
    page.locator(".sparkline polyline").nth(6).wait_for()
    for name in ("adam", "sgd", "momentum"):
        page.get_by_label(f"Choose {name}").check()
    page.screenshot(path=FOLDER / "jobs.png", clip={"x": 0, "y": 0, "width": 1180, "height": 600})
    page.goto(f"{url}/#/compare?experiment=optimizers&target=0.02&claim=adam<momentum&claim=momentum<sgd")
    page.locator("canvas[data-curves]").first.wait_for()
    page.wait_for_timeout(1_000)
    page.screenshot(path=FOLDER / "compare.png", full_page=True, clip={"x": 0, "y": 0, "width": 1180, "height": 1180})
    page.goto(f"{url}/#/labs/generalization")
    page.get_by_role("button", name="Run it").click()
    page.locator(".verdict").wait_for(timeout=300_000)
    page.wait_for_timeout(1_500)
    page.screenshot(path=FOLDER / "lab.png", full_page=True, clip={"x": 0, "y": 0, "width": 1180, "height": 1080})
    page.goto(f"{url}/#/submit?from={running}")
    page.locator(".beside dd").first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=FOLDER / "submit.png")


def main() -> None:
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        sys.exit(f"no browser on this machine: none of {', '.join(NAMES)} is installed")
    console = Console(stderr=True)
    FOLDER.mkdir(exist_ok=True)
    with (
        temporary_folder("screenshots", console, keep=False) as folder,
        private_service(folder, console) as client,
        sync_playwright() as playwright,
    ):
        running = submit_all(client)
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.add_init_script(f"sessionStorage.setItem('descent.key', {State.at(folder).key!r});")
        take(page, client.url, running)
        browser.close()
    for picture in sorted(FOLDER.glob("*.png")):
        console.print(f"{picture.relative_to(Path.cwd())}, {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
