"""The report in a browser: it draws everything, alone, and answers whoever handles it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

Open = Callable[..., Page]

CHARTS = {
    "plane": {"curves", "scores", "targets", "differences", "profile", "measured", "fields", "regions"},
    "line": {"curves", "scores", "differences", "predictions"},
    "hundred": {"curves", "scores", "targets", "differences", "profile", "fields"},
}


@dataclass
class Heard:
    """What pages asked for, and what they complained of."""

    opened: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(autouse=True)
def _pages_want_nothing_and_complain_of_nothing(heard: Heard) -> Iterator[None]:
    yield
    assert heard.asked == heard.opened
    assert not heard.complaints


@pytest.fixture(scope="module")
def visit(browser: Browser, heard: Heard) -> Open:
    """Open an address and wait until all is drawn."""

    def visit(url: str, **looks: Any) -> Page:
        page = browser.new_page(**({"viewport": {"width": 1180, "height": 900}} | looks))
        page.on("request", lambda request: heard.asked.append(request.url))
        page.on("console", lambda message: heard.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.complaints.append(str(error)))
        heard.opened.append(url)
        page.goto(url)
        page.wait_for_selector("html[data-drawn=all]")
        return page

    return visit


@pytest.fixture(scope="module")
def page(visit: Open, files: dict[str, str]) -> Page:
    """One page that tests handle in turn."""
    return visit(files["plane"])


def drawn(page: Page) -> set[str]:
    """The charts that show something: a line, a marker or a picture."""
    marks = "svg .trace path[d], svg .hm image"
    return {
        str(chart.get_attribute("id")) for chart in page.locator(".chart").all() if chart.locator(marks).count() > 0
    }


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than the window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return wider


def test_a_file_draws_every_chart(page: Page) -> None:
    assert drawn(page) == CHARTS["plane"]


def test_nothing_moves_while_the_page_is_drawn(page: Page) -> None:
    moved = page.evaluate(
        """new Promise((resolve) => {
            let sum = 0;
            new PerformanceObserver((list) => list.getEntries().forEach((entry) => { sum += entry.value; }))
                .observe({ type: "layout-shift", buffered: true });
            setTimeout(() => resolve(sum), 100);
        })"""
    )
    assert moved < 0.02


@pytest.mark.parametrize("name", CHARTS)
def test_a_page_under_the_service_s_own_policy_draws_every_chart(
    visit: Open, served: dict[str, str], name: str
) -> None:
    page = visit(served[name])
    assert drawn(page) == CHARTS[name]
    assert overflow(page) <= 0
    if name == "hundred":
        for place in ("#legend", ".tall:has(#scores)"):
            shown, whole = page.locator(place).evaluate("(element) => [element.clientHeight, element.scrollHeight]")
            assert shown <= 620 < whole
    page.close()


@pytest.mark.parametrize("name", ["plane", "line"])
def test_a_small_dark_screen_is_wide_enough(visit: Open, files: dict[str, str], name: str) -> None:
    page = visit(files[name], viewport={"width": 400, "height": 800}, color_scheme="dark")
    assert overflow(page) <= 0
    assert drawn(page) == CHARTS[name]
    page.close()


def test_curves_change_metric_scales_and_bands(page: Page) -> None:
    curves = page.locator("#curves")
    bands = curves.locator(".js-fill")
    expect(bands).to_have_count(6)
    page.get_by_role("button", name="no bands").click()
    expect(bands).to_have_count(0)

    halves = curves.locator(".yaxislayer-above text", has_text="0.5")
    above = halves.bounding_box()
    page.get_by_role("button", name="linear y").click()
    expect(page.get_by_role("button", name="linear y")).to_have_attribute("aria-pressed", "true")
    assert curves.locator(".yaxislayer-above text", has_text="0.5").first.bounding_box() != above

    page.get_by_label("Metric").select_option("generalization_gap")
    expect(curves.locator(".ytitle")).to_have_text("generalization gap")
    # It starts at 0, which no logarithm knows.
    expect(page.get_by_role("group", name="Vertical axis")).to_be_hidden()


def test_times_are_told_in_seconds_too(page: Page) -> None:
    expect(page.locator("#targets .xtitle")).to_have_text("steps")
    page.get_by_role("group", name="Time in").get_by_role("button", name="seconds").click()
    expect(page.locator("#targets .xtitle")).to_have_text("seconds of training")


def test_another_measurement_can_be_set_against_the_gap(page: Page) -> None:
    expect(page.locator("#measured .xtitle")).to_have_text("sharpness 0.001")
    page.locator("#measure").select_option("largest_eigenvalue")
    expect(page.locator("#measured .xtitle")).to_have_text("largest eigenvalue")
    expect(page.locator("#measured .trace path")).to_have_count(47)  # one run of 48 diverged


def test_a_job_of_the_legend_is_highlighted_in_all_charts_by_keyboard(page: Page) -> None:
    job = page.locator("#legend button").nth(4)
    job.focus()
    page.keyboard.press("Enter")
    expect(job).to_have_attribute("aria-pressed", "true")
    for chart in ("curves", "scores", "measured", "fields"):
        own = page.locator(f'#{chart} [class*="tracejob4_"]').first
        other = page.locator(f'#{chart} [class*="tracejob1_"]').first
        expect(own).to_have_css("opacity", "1")
        expect(other).to_have_css("opacity", "0.09")
    page.keyboard.press("Enter")
    expect(page.locator('#curves [class*="tracejob1_"]').first).to_have_css("opacity", "1")


def test_paper_is_white_and_as_wide_as_it_is(visit: Open, files: dict[str, str]) -> None:
    page = visit(files["plane"], color_scheme="dark", viewport={"width": 1180, "height": 900})
    page.set_viewport_size({"width": 720, "height": 900})
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    expect(page.locator("#curves .xtick text").first).to_have_css("fill", "rgb(91, 100, 112)")
    assert overflow(page) <= 0
    page.close()
