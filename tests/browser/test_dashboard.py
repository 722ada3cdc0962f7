"""The dashboard in a browser, on a real service: jobs are submitted, watched, compared and shared, by keyboard too."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from descent import Client
from models.labs import shipped
from models.status import RunStatus
from tests.journey.service import Service
from tests.servers import KEY

SINE = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 400}, "seeds": 3}
LONG = SINE | {"budget": {"steps": 2_000_000}, "execution": "eager"}


def trained(client: Client, *names: str, **changes: Any) -> list[str]:
    """Jobs of one experiment that have ended; their ids."""
    jobs = [client.submit(SINE | {"name": name, "experiment": "optimizers"} | changes) for name in names]
    assert all(client.wait(job, 60).status is RunStatus.SUCCEEDED for job in jobs)
    return [job.id for job in jobs]


def test_without_jobs_it_teaches_the_first_submission(page: Page) -> None:
    expect(page.get_by_role("heading", name="No jobs yet")).to_be_visible()
    assert "key=" not in page.url
    page.get_by_role("button", name="Submit it").click()
    expect(page.get_by_role("heading", name="first")).to_be_visible()
    expect(page.locator(".title .badge")).to_have_text("✓ succeeded")
    expect(page.get_by_role("heading", name="Diagnosis")).to_be_visible()
    expect(page.locator("canvas[data-curves]")).not_to_have_attribute("data-curves", "0")
    page.get_by_role("link", name="Jobs").first.click()
    expect(page.get_by_role("row", name=re.compile("first"))).to_contain_text("succeeded")
    expect(page.locator(".sparkline polyline")).to_be_visible()


def test_a_job_is_submitted_by_the_form_with_mistakes_told_at_their_fields(page: Page, mine: Client) -> None:
    page.get_by_role("link", name="New job").click()
    page.get_by_label("name", exact=True).fill("by hand")
    page.get_by_label("optimizer", exact=True).select_option("sgd")
    rate = page.locator("fieldset", has_text="Optimizer").get_by_label("learning rate")
    rate.fill("-1")
    expect(page.get_by_text("greater than 0")).to_be_visible()
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    rate.fill("0.05")
    page.get_by_label("steps", exact=True).fill("300")
    page.get_by_label("Add a regularizer").select_option("dropout")
    page.get_by_label("probability").fill("0.25")
    expect(page.locator(".beside dd").nth(1)).to_have_text("300")
    expect(page.locator("pre", has_text="curl")).to_contain_text('"learning_rate":0.05')
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="by hand")).to_be_visible()
    (job,) = mine.jobs()
    assert job.spec.optimizer.model_dump()["learning_rate"] == 0.05
    assert (job.spec.budget.steps, job.spec.regularizers[0].kind) == (300, "dropout")


def test_a_running_job_is_watched_paused_and_cancelled(page: Page, mine: Client) -> None:
    job = mine.submit(LONG | {"name": "long"})
    expect(page.get_by_role("row", name=re.compile("long"))).to_contain_text("running")
    page.get_by_role("link", name="long").click()
    expect(page.locator("canvas[data-curves]")).not_to_have_attribute("data-curves", "0")
    before = page.locator("p.progress").inner_text()
    expect(page.locator("p.progress")).not_to_have_text(before)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".title .badge")).to_have_text("‖ paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".title .badge")).to_have_text("● running")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".title .badge")).to_have_text("– cancelled")
    expect(page.locator(".events li").first).to_contain_text("cancelled")
    assert mine.job(job).status is RunStatus.CANCELLED


def test_it_goes_on_by_itself_when_the_service_comes_back(page: Page, mine: Client, service: Service) -> None:
    mine.submit(LONG | {"name": "survivor"})
    page.get_by_role("link", name="survivor").click()
    expect(page.locator("canvas[data-curves]")).not_to_have_attribute("data-curves", "0")
    service.programs[0].send_signal(signal.SIGKILL)
    service.programs[0].wait()
    expect(page.get_by_text("The service does not answer")).to_be_visible()
    service.programs[0] = service.start_api()
    service.programs.pop()
    expect(page.get_by_text("The service does not answer")).to_be_hidden()
    before = page.locator("p.progress").inner_text()
    expect(page.locator("p.progress")).not_to_have_text(before)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".title .badge")).to_have_text("– cancelled")


def test_jobs_are_chosen_compared_and_a_claim_is_tested(page: Page, mine: Client) -> None:
    trained(mine, "adam")
    trained(mine, "sgd", optimizer={"kind": "sgd", "learning_rate": 0.002})
    for name in ("adam", "sgd"):
        page.get_by_label(f"Choose {name}").check()
    page.get_by_role("link", name="Compare 2 jobs").click()
    expect(page.get_by_role("heading", name="2 jobs compared")).to_be_visible()
    expect(page.get_by_role("heading", name="What differs in the specs")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("optimizer.learning_rate"))).to_contain_text("0.002")
    page.get_by_label("The job that is better").select_option(label="adam")
    page.get_by_label("The job that is worse").select_option(label="sgd")
    page.get_by_role("button", name="Test it").click()
    expect(page.locator(".verdict")).to_contain_text("Verdict:")
    for words in ("Scores by seed", "Differences from", "Ranking"):
        expect(page.get_by_role("heading", name=words)).to_be_visible()
    drawn = page.get_by_role("img", name="Last validation loss of each run").locator("canvas")
    expect(drawn).to_have_attribute("data-rows", "2")
    drawn.scroll_into_view_if_needed()
    drawn.hover(position={"x": 400, "y": 20})
    with page.expect_download() as report:
        page.get_by_role("button", name="Page").click()
    assert report.value.suggested_filename == "comparison.html"
    assert Path(report.value.path()).read_text().startswith("<!doctype html>")


def test_times_to_a_target_profiles_measures_and_predictions_are_compared(page: Page, mine: Client) -> None:
    more = {"analyses": [{"kind": "sharpness"}], "record": {"snapshots": [400]}}
    one, _ = trained(mine, "adam", "slow", **more)
    mine.wait_for_analyses(one, 60)
    page.goto(page.url.partition("#")[0] + "#/compare?experiment=optimizers&group=job&target=0.1")
    for words in ("Steps to 0.1", "Performance profile", "Measured"):
        expect(page.get_by_role("heading", name=words)).to_be_visible()
    expect(page.locator("canvas[data-rows]")).to_have_count(4)
    page.get_by_role("button", name="Draw them").click()
    expect(page.get_by_role("img", name="Predictions of adam").locator(".main-svg").first).to_be_visible()


def test_fields_that_differ_stand_beside_the_scores(page: Page, mine: Client) -> None:
    for size, rate in ((8, 0.01), (16, 0.003), (16, 0.1)):
        network, optimizer = {"kind": "mlp", "hidden": [size]}, {"kind": "adam", "learning_rate": rate}
        trained(mine, f"{size} at {rate}", network=network, optimizer=optimizer)
    page.goto(page.url.partition("#")[0] + "#/compare?experiment=optimizers")
    chart = page.get_by_role("img", name="Fields that differ")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    # Down a line between two axes, there is a contender somewhere.
    for down in range(20, 330, 6):
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + down)
        if chart.locator(".told").is_visible():
            break
    expect(chart.locator(".told")).to_contain_text("optimizer.learning_rate")
    names = page.get_by_role("region", name="Differences of specs").locator("tbody th")
    expect(names).to_have_text(["8 at 0.01", "16 at 0.003", "16 at 0.1"])


def test_an_address_shared_shows_the_same_to_whoever_has_a_key(
    page: Page, mine: Client, browser: Browser, key: str
) -> None:
    trained(mine, "one", "two")
    address = page.url.partition("#")[0] + "#/compare?experiment=optimizers"
    page.goto(address)
    expect(page.get_by_role("heading", name="Scores", exact=True)).to_be_visible()
    other = browser.new_page()
    other.goto(address)
    other.get_by_label("A key opens this page").fill(key)
    other.get_by_role("button", name="Open").click()
    expect(other.get_by_role("heading", name="Scores", exact=True)).to_be_visible()
    other.close()


def test_a_spec_is_shared_by_its_address_and_edited_from_a_job(page: Page, mine: Client) -> None:
    (job_id,) = trained(mine, "original", optimizer={"kind": "adam", "learning_rate": 0.02})
    page.goto(page.url.partition("#")[0] + f"#/jobs/{job_id}")
    page.get_by_role("link", name="Edit as new").click()
    rate = page.locator("fieldset", has_text="Optimizer").get_by_label("learning rate")
    expect(rate).to_have_value("0.02")
    rate.fill("0.03")
    page.get_by_role("button", name="Copy a link").click()
    page.reload()
    expect(page.locator("fieldset", has_text="Optimizer").get_by_label("learning rate")).to_have_value("0.03")


def test_filters_are_part_of_the_address(page: Page, mine: Client) -> None:
    trained(mine, "inside")
    trained(mine, "outside", experiment="another")
    page.get_by_label("Experiment").fill("another")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="outside")).to_be_visible()
    expect(page.get_by_role("link", name="inside")).to_be_hidden()
    assert page.url.endswith("#/jobs?experiment=another")
    page.get_by_label("Status").select_option("failed")
    expect(page.get_by_role("heading", name="No job is like that")).to_be_visible()


def test_predictions_are_shown_at_the_step_that_is_chosen(page: Page, mine: Client) -> None:
    for name, dataset in (("curve", "sine"), ("plane", "moons")):
        (job_id,) = trained(mine, name, dataset=dataset, record={"snapshots": [0, 100, 400]})
        page.goto(page.url.partition("#")[0] + f"#/jobs/{job_id}")
        expect(page.get_by_role("heading", name="Predictions, seed 0")).to_be_visible()
        slider = page.get_by_label("Step of the snapshot")
        expect(page.get_by_text("step 400")).to_be_visible()
        slider.focus()
        page.keyboard.press("Home")
        expect(page.get_by_text("step 0", exact=True)).to_be_visible()


def test_a_key_that_was_revoked_is_asked_for_anew(page: Page, client: Client, key: str) -> None:
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    client.revoke_key(key.split("_")[1])
    page.reload()
    expect(page.get_by_text("this key is wrong, expired or revoked")).to_be_visible()
    page.get_by_label("A key opens this page").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()


def test_pages_can_be_used_by_keyboard(page: Page, mine: Client) -> None:
    trained(mine, "keyed")
    expect(page.get_by_role("link", name="keyed")).to_be_visible()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "keyed":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="keyed")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out_on_any_page_in_light_or_dark(page: Page, mine: Client, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    one, _ = trained(mine, "one", "two", record={"snapshots": [0, 400]})
    start = page.url.partition("#")[0]
    for address, seen in (
        ("#/jobs", "one"),
        (f"#/jobs/{one}", "Diagnosis"),
        ("#/submit", "What it comes to"),
        ("#/compare?experiment=optimizers", "Scores"),
        ("#/labs", "Labs"),
        ("#/labs/optimizers", "Judged by"),
        (f"#/labs/optimizers/{shipped()['optimizers'].tag.split(':')[2]}-abcd1234", "Judged by"),
    ):
        page.goto(start + address)
        expect(page.get_by_text(seen).first).to_be_visible()
        page.wait_for_timeout(500)
        found = Axe().run(page).response["violations"]
        told = {one["id"]: [node["html"][:160] for node in one["nodes"]] for one in found}
        assert not told, f"{address}: {told}"


@pytest.mark.parametrize("width", [380, 800])
def test_nothing_is_cut_off_on_a_narrow_screen(page: Page, mine: Client, width: int) -> None:
    (one,) = trained(mine, "a name that is rather long for a telephone")
    start = page.url.partition("#")[0]
    page.set_viewport_size({"width": width, "height": 800})
    for address in (
        "#/jobs",
        f"#/jobs/{one}",
        "#/submit",
        "#/compare?experiment=optimizers",
        "#/labs",
        "#/labs/optimizers",
    ):
        page.goto(start + address)
        page.wait_for_timeout(700)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
