"""The report: one page that needs nothing else, and that no name can break out of."""

import csv
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest

from api.comparison.compare import compare
from api.comparison.estimate import Estimate
from api.comparison.exports import CSV_HEADER, estimate_words, report_csv, report_markdown, value_words
from api.comparison.history import JobHistory
from api.comparison.report import report_html
from api.comparison.report.predictions import predictions
from api.comparison.result import Claim, Comparison
from api.comparison.wording import number, probability

Fabricate = Callable[..., JobHistory]
CONTENT = {"inputs": [0.0], "outputs": [1.0], "rows": {"inputs": [0.5], "targets": [2.0]}}
NASTY = '</script><script>alert("x")</script><!-- & |'


class Page(HTMLParser):
    """Collects elements, text and scripts as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data


@pytest.fixture
def jobs(make_job: Fabricate) -> list[JobHistory]:
    content = {"inputs": [0.0, 1.0], "outputs": [0.5, 0.25], "rows": {"inputs": [0.1], "targets": [0.2]}}
    first = {s: [9, 1 + s / 10] for s in range(6)}
    second = {s: [9, 3 + s / 10] for s in range(5)} | {5: [9, 20, np.nan]}
    snapshots = {f"a-{s}": [(step, content) for step in (0, 100)] for s in range(6)}
    return [
        make_job("a", first, name=NASTY, snapshots=snapshots, more={"train_seconds": [0, 1]}),
        make_job("b", second, name="=cmd|x", endings={5: ("failed", "diverged")}, optimizer="adam"),
    ]


@pytest.fixture
def comparison(jobs: list[JobHistory]) -> Comparison:
    return compare(jobs, target=2.0, claims=[Claim(better="a", worse="b")])


@pytest.fixture
def page(comparison: Comparison, jobs: list[JobHistory]) -> Page:
    return Page(report_html(comparison, jobs, f"A title {NASTY}"))


def test_names_stay_names(page: Page) -> None:
    # The data, Plotly and the page's own script: no name has opened a fourth.
    assert len(page.scripts) == 3
    assert f"A title {NASTY}" in page.text
    assert json.loads(page.scripts[0])["jobs"][0]["label"] == NASTY


def test_the_page_asks_the_network_for_nothing(page: Page) -> None:
    assert not [tag for tag, _ in page.elements if tag in {"link", "img", "iframe", "object", "embed", "base"}]
    assert not [attributes for _, attributes in page.elements if {"src", "href", "srcset"} & attributes.keys()]
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "Plotly" in page.scripts[1]


def test_the_page_says_the_verdict_the_claims_and_the_warnings(page: Page, comparison: Comparison) -> None:
    assert comparison.verdict == "supported"
    assert "Supported: the runs bear out all that was claimed." in page.text
    assert comparison.claims[0].sentence in page.text
    assert all(warning in page.text for warning in comparison.warnings)
    assert all(one.sentence in page.text for one in comparison.paired)
    assert all(job.spec_hash in page.text for job in comparison.jobs)
    assert "optimizer.kind" in page.text


def test_the_page_carries_every_metric_and_the_predictions(page: Page) -> None:
    drawn = json.loads(page.scripts[0])
    assert [metric["label"] for metric in drawn["metrics"]] == ["validation loss", "train seconds (s)"]
    assert drawn["predictions"]["steps"] == [0, 100]
    assert drawn["predictions"]["columns"][0]["data"] == {"x": [0.1], "y": [0.2]}


def test_a_page_without_claims_target_or_snapshots_leaves_them_out(make_job: Fabricate) -> None:
    jobs = [make_job("a", {0: [9, 1]})]
    page = Page(report_html(compare(jobs), jobs, "One job"))
    shown = [a.get("id") for _, a in page.elements]
    assert "curves" in shown
    assert "targets" not in shown
    assert "predictions" not in shown
    assert "Claims" not in page.text
    assert "Against the baseline" not in page.text


def test_predictions_are_drawn_only_over_one_feature(make_job: Fabricate) -> None:
    taken = {"a-0": [(0, CONTENT)]}
    assert predictions([make_job("a", {0: [1]}, dataset="diabetes", snapshots=taken)]) is None
    found = predictions([make_job("a", {0: [1]}, snapshots=taken)])
    assert found is not None
    assert found["columns"] == [
        {"job_id": "a", "data": {"x": [0.5], "y": [2.0]}, "curves": [[{"seed": 0, "x": [0.0], "y": [1.0]}]]}
    ]


def test_of_many_snapshots_the_first_the_last_and_some_between_are_drawn(make_job: Fabricate) -> None:
    taken = {"a-0": [(step, CONTENT) for step in range(0, 101, 5)]}
    found = predictions([make_job("a", {0: [1]}, snapshots=taken)])
    assert found is not None
    assert found["steps"] == [0, 20, 40, 60, 80, 100]
    assert all(len(drawn) == 1 for drawn in found["columns"][0]["curves"])


def test_markdown_shows_names_as_they_are(comparison: Comparison) -> None:
    text = report_markdown(comparison)
    assert text.startswith("# Comparison of validation loss\n\nVerdict: **supported**\n")
    assert not re.search(r"(?<!\\)<", text)
    scores = [line for line in text.partition("## Scores")[2].partition("##")[0].splitlines() if line]
    # Header, rule and two jobs of seven cells each: the bar inside a name ends none.
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in scores] == [8, 8, 8, 8]
    assert "| median steps to validation loss ≤ 2 |" in text.replace("\\", "")
    assert "## Warnings" in text


def test_csv_has_one_row_a_run(comparison: Comparison) -> None:
    rows = list(csv.DictReader(StringIO(report_csv(comparison))))
    assert list(rows[0]) == CSV_HEADER
    assert len(rows) == 12
    assert (rows[0]["seed"], rows[0]["last"], rows[0]["steps_to_target"], rows[0]["outcome"]) == (
        "0",
        "1.0",
        "10",
        "reached",
    )
    assert (rows[11]["status_reason"], rows[11]["steps_to_target"], rows[11]["outcome"]) == ("diverged", "", "diverged")


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+x", "'+x"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        ("-inf", "'-inf"),
        ("-0.5", "-0.5"),
        ("a=b", "a=b"),
    ],
)
def test_no_spreadsheet_takes_a_name_for_a_formula(make_job: Fabricate, name: str, cell: str) -> None:
    text = report_csv(compare([make_job("a", {0: [9, -1.5]}, name=name)]))
    row = next(csv.DictReader(StringIO(text)))
    assert row["job"] == cell
    assert row["last"] == "-1.5"
    assert row["target"] == row["outcome"] == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.012345, "0.01235"),
        (-0.5, "−0.5"),
        (1412.6, "1,413"),
        (3.0, "3"),
        (1e-9, "1e-09"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_numbers_in_sentences(value: float | None, words: str) -> None:
    assert number(value) == words


def test_probabilities_in_sentences() -> None:
    assert [probability(p) for p in (None, 0.03125, 1.0, 1e-6)] == ["–", "0.0312", "1", "< 0.0001"]


def test_values_of_a_spec_in_words() -> None:
    values = (None, True, [64, 64], 0.01, "adam", 3)
    assert [value_words(value) for value in values] == ["none", "yes", "64, 64", "0.01", "adam", "3"]


def test_an_estimate_in_words() -> None:
    assert estimate_words(Estimate(mean=0.12345, lower=0.1, upper=0.135, n=3)) == "0.1235 ± 0.012"
    assert estimate_words(Estimate(mean=2.0, lower=None, upper=None, n=1)) == "2"
    assert estimate_words(Estimate(mean=None, lower=None, upper=None, n=0)) == "–"
