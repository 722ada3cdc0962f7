"""The dashboard beside a great many jobs: how soon something is seen, and for how long a page deafens its reader.

`python -m benchmarks.dashboard [--json]`: takes a Chromium, headless, on this machine's processor.
"""

import argparse
import json
import os
import shutil
import sys
import time
from statistics import median
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from benchmarks.api_process import api_process, surroundings
from benchmarks.comparison import fill
from models.database import Database
from models.settings import Settings
from tests.browser.conftest import NAMES, QUIET
from tests.servers import KEY

JOBS = 10_000
REPETITIONS = 5
SETTLED_SECONDS = 4.0
PAINT_TARGET, TASK_TARGET = 1_000, 200
"""Milliseconds."""
LISTEN = """
globalThis.tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((one) => one.duration)))
  .observe({ type: "longtask", buffered: true });
"""


def measure(browser: Browser, url: str, address: str, seen: str) -> dict[str, float]:
    """Milliseconds until the first paint and until what was asked for is seen, and of the longest task."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    context.add_init_script(LISTEN + f"sessionStorage.setItem('descent.key', {KEY!r});")
    page = context.new_page()
    began = time.perf_counter()
    page.goto(f"{url}/{address}")
    page.wait_for_selector(seen)
    content = 1000 * (time.perf_counter() - began)
    page.wait_for_timeout(1000 * SETTLED_SECONDS)
    if address.startswith("#/jobs"):
        for _ in range(10):
            page.mouse.wheel(0, 1_500)
            page.wait_for_timeout(100)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    longest = max(page.evaluate("tasks"), default=0.0)
    context.close()
    return {"paint": paint, "content": content, "longest": longest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        sys.exit(f"no browser on this machine: none of {', '.join(NAMES)} is installed")
    rows: list[dict[str, Any]] = []
    with surroundings() as environment:
        _fill(environment)
        with api_process(environment) as (client, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
            for name, address, seen in (
                (f"{JOBS:,} jobs, listed", "#/jobs", ".jobs tbody tr"),
                ("100 runs × 10,000 points, compared", "#/compare?experiment=wide", "canvas[data-curves]"),
                ("a form for a job", "#/submit", ".beside dd"),
            ):
                found = [measure(browser, str(client.base_url), address, seen) for _ in range(REPETITIONS)]
                rows.append({"page": name} | {key: median(one[key] for one in found) for key in found[0]})
            browser.close()
    if arguments.json:
        print(json.dumps({"dashboard": rows}))
        return
    print(f"{'page, median of ' + str(REPETITIONS):<38} {'first paint':>12} {'content':>10} {'longest task':>13}")
    for row in rows:
        met = row["paint"] < PAINT_TARGET and row["longest"] <= TASK_TARGET
        numbers = f"{row['paint']:>9.0f} ms {row['content']:>7.0f} ms {row['longest']:>10.0f} ms"
        print(f"{row['page']:<38} {numbers}  {'met' if met else 'missed'}")


def _fill(environment: Any) -> None:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        database = Database(Settings().database())
    finally:
        os.environ.clear()
        os.environ.update(before)
    fill(database, "wide", 10, 10)
    fill(database, "many", JOBS - 10, 1, with_points=False)
    database.dispose()


if __name__ == "__main__":
    main()
