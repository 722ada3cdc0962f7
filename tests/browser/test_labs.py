"""Labs in a browser: one is run, watched, read, gone on with, and shared."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from descent import Client
from models.labs import Lab, shipped
from models.spec.job import JobSpec
from models.status import RunStatus
from tests.browser.conftest import PATIENCE

LAB = "optimizers"
LAB_PATIENCE = 6 * PATIENCE


def begin(page: Page, name: str) -> str:
    """Run its quick version; the tag of what it hands in."""
    page.goto(page.url.partition("#")[0] + f"#/labs/{name}")
    page.get_by_role("button", name="Run the quick version").click()
    page.wait_for_url(re.compile(rf"#/labs/{name}/[0-9a-f]{{8}}-"))
    content, _, run = page.url.rpartition("/")[2].partition("-")
    return f"lab:{name}:{content}:{run}"


def tagged(client: Client, tag: str) -> dict[str, JobSpec]:
    """Specs by name, without their tags."""
    return {job.name: job.spec.model_copy(update={"tags": ()}) for job in client.jobs(tag=tag)}


def wanted(lab: Lab) -> set[str]:
    trials = {contender.trial.name for tuned in lab.tuned for contender in tuned.contenders}
    return {spec.name for spec in lab.specs} | trials


def test_a_lab_is_chosen_from_a_list_run_and_judged(page: Page, mine: Client) -> None:
    lab = shipped()[LAB].as_quick()
    page.get_by_role("link", name="Labs").click()
    page.get_by_role("link", name=lab.title).click()
    expect(page.get_by_text(lab.claim)).to_be_visible()
    tag = begin(page, LAB)
    assert tag.startswith(lab.tag)
    expect(page.locator(".verdict")).to_contain_text("Verdict:", timeout=LAB_PATIENCE)
    specs = tagged(mine, tag)
    assert set(specs) == wanted(lab)
    for job in lab.jobs:
        assert specs[job.name] == job
    for tuned in lab.tuned:
        assert specs[tuned.base.name] in [contender.judged for contender in tuned.contenders]
    ids = {job.name: job.id for job in mine.jobs(tag=tag)}
    claims = [claim.model_dump_json() for claim in lab.family]
    for name in sorted(ids, key=len, reverse=True):
        claims = [claim.replace(f'"job":"{name}"', f'"job":"{ids[name]}"') for claim in claims]
    judged = mine.verdict([type(one).model_validate_json(text) for one, text in zip(lab.family, claims, strict=True)])
    expect(page.locator(".verdict")).to_have_text(f"Verdict: {judged.verdict}")
    for number, claim in enumerate(judged.claims):
        row = page.get_by_role("region", name="Claims").locator("tbody tr").nth(number)
        expect(row).to_contain_text(claim.statement)
        expect(row.locator(".verdict-word")).to_have_text(claim.verdict)
    page.goto(page.url.rpartition("/")[0])
    expect(page.get_by_role("heading", name="Earlier runs")).to_be_visible()
    expect(page.get_by_text(f"quick, {len(ids)} jobs, ended")).to_be_visible()


def test_the_best_of_a_grid_is_chosen_as_the_command_line_chooses_it(page: Page, mine: Client) -> None:
    lab = shipped()[LAB].as_quick()
    tag = begin(page, LAB)
    expect(page.locator(".verdict")).to_be_visible(timeout=LAB_PATIENCE)
    jobs = {job.name: job for job in mine.jobs(tag=tag)}
    assert lab.compare is not None
    for tuned in lab.tuned:
        trials = [jobs[contender.trial.name] for contender in tuned.contenders]
        found = mine.compare(trials, metric=lab.compare.metric, target=lab.compare.target, score=lab.compare.score)
        medians = [row.steps_to_target.median for row in found.table if row.steps_to_target]
        reached = [median for median in medians if median is not None]
        if len(set(reached)) != len(medians):
            continue
        fastest = found.table[medians.index(min(reached))].job_id
        (contender,) = [one for one in tuned.contenders if jobs[one.trial.name].id == fastest]
        assert jobs[tuned.base.name].spec.model_copy(update={"tags": ()}) == contender.judged


def test_a_lab_whose_claims_are_about_sealed_rows_and_analyses_opens_and_measures_them(
    page: Page, mine: Client
) -> None:
    lab = shipped()["cross-validation"].as_quick()
    assert lab.to_open
    tag = begin(page, lab.name)
    expect(page.locator(".verdict")).to_be_visible(timeout=LAB_PATIENCE)
    looks = {look.job_name: look for look in mine.test_ledger()}
    assert set(looks) == set(lab.to_open)
    assert {look.reason for look in looks.values()} == {f"lab {lab.name}"}
    assert all(job.status is RunStatus.SUCCEEDED for job in mine.jobs(tag=tag))


def test_a_lab_goes_on_after_a_reload_and_hands_nothing_in_twice(page: Page, mine: Client) -> None:
    tag = begin(page, LAB)
    page.reload()
    page.reload()
    expect(page.locator(".verdict")).to_be_visible(timeout=LAB_PATIENCE)
    names = [job.name for job in mine.jobs(tag=tag)]
    assert sorted(names) == sorted(wanted(shipped()[LAB].as_quick()))


def test_whoever_follows_a_link_looks_on_until_they_say_that_it_is_to_go_on(
    page: Page, mine: Client, browser: Browser, key: str
) -> None:
    lab = shipped()["cross-validation"].as_quick()
    address = f"{page.url.partition('#')[0]}#/labs/{lab.name}/{lab.tag.split(':')[2]}-abcd1234"
    page.goto(address)
    expect(page.get_by_role("status").filter(has_text="It waits for somebody")).to_be_visible()
    assert not list(mine.jobs())
    expect(page.get_by_text("Keep this page open")).to_have_count(0)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".verdict")).to_be_visible(timeout=LAB_PATIENCE)
    other = browser.new_page()
    other.goto(f"{page.url.partition('#')[0]}#key={key}")
    other.goto(address)
    expect(other.locator(".verdict")).to_have_text(page.locator(".verdict").text_content() or "")
    other.close()
    assert {job.name for job in mine.jobs(tag=f"{lab.tag}abcd1234")} == wanted(lab)


def test_a_run_of_another_version_of_a_lab_is_said_to_be_one(page: Page) -> None:
    page.goto(f"{page.url.partition('#')[0]}#/labs/{LAB}/00000000-abcd1234")
    expect(page.get_by_text("of another version of the lab")).to_be_visible()


@pytest.mark.parametrize("name", ["../keys", "nonesuch"])
def test_a_lab_that_is_not_there_is_said_not_to_be(page: Page, name: str) -> None:
    page.goto(f"{page.url.partition('#')[0]}#/labs/{name}")
    expect(page.get_by_role("heading", name=re.compile("This cannot be shown|Jobs"))).to_be_visible()


def test_what_keeps_a_lab_from_a_verdict_is_told(page: Page, mine: Client) -> None:
    lab = shipped()[LAB]
    endless = {"steps": 2_000_000}
    spec = lab.jobs[0].model_dump(mode="json") | {"tags": [f"{lab.tag}abcd1234"], "budget": endless, "record": {}}
    spec["execution"] = "eager"
    assert mine.wait(mine.cancel(mine.submit(spec)), 60).status is RunStatus.CANCELLED
    page.goto(f"{page.url.partition('#')[0]}#/labs/{lab.name}/{lab.tag.split(':')[2]}-abcd1234")
    expect(page.get_by_role("alert")).to_contain_text(f"{lab.jobs[0].name}, seed")
    expect(page.get_by_role("alert")).to_contain_text("ended as cancelled")
