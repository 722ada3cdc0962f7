"""A comparison as Markdown and as CSV: everything that it says in words and single numbers."""

import csv
from collections.abc import Callable
from io import StringIO

import pytest

from api.comparison.compare import compare
from api.comparison.exports import CSV_HEADER, report_csv, report_markdown
from api.comparison.history import JobHistory
from api.comparison.result import Comparison

Fabricate = Callable[..., JobHistory]


@pytest.fixture
def comparison(make_job: Fabricate) -> Comparison:
    clock = {"train_seconds": [0.0, 0.5, 1.25]}
    jobs = [
        make_job("slow", {s: [9, 3, 1 + s / 10] for s in range(3)}, more=clock),
        make_job(
            "fast", {s: [9, 1, 0.5] for s in range(3)}, more=clock, optimizer={"kind": "sgd", "learning_rate": 1.0}
        ),
        make_job("adam", {s: [9, 5, 2] for s in range(3)}, more=clock, optimizer="adam"),
    ]
    return compare(jobs, target=2.0, score="seconds_to_target", rank_by="optimizer.kind")


def tables(markdown: str) -> dict[str, list[list[str]]]:
    """The rows of each section's table, without header and rule."""
    sections = {}
    for part in markdown.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        rows = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("|")]
        sections[title] = [[cell.strip() for cell in row] for row in rows[2:]]
    return sections


def test_markdown_tells_the_seconds_the_ranking_and_the_profile(comparison: Comparison) -> None:
    told = tables(report_markdown(comparison))
    assert [row[-1] for row in told["Scores"]] == ["1.25 s", "0.5 s", "1.25 s"]
    assert [row[:4] for row in told["Ranking by optimizer.kind"]] == [["1", "sgd", "2", "0"], ["2", "adam", "1", "0"]]
    assert told["Performance profile over 3 problems"] == [
        ["slow", "0.5", "3 of 3"],
        ["fast", "1", "3 of 3"],
        ["adam", "0.5", "3 of 3"],
    ]
    assert "Over data sets" not in told


def test_markdown_tells_interquartile_means_where_there_are_several_data_sets(make_job: Fabricate) -> None:
    jobs = [make_job(f"on {name}", {0: [9, 2]}, dataset=name) for name in ("moons", "circles")]
    told = tables(report_markdown(compare(jobs)))
    assert told["Over data sets"] == [["on moons and 1 more", "2", "2"]]


def test_csv_tells_every_run_with_its_member_and_its_seconds(comparison: Comparison, make_job: Fabricate) -> None:
    rows = list(csv.DictReader(StringIO(report_csv(comparison))))
    assert list(rows[0]) == CSV_HEADER
    assert (rows[0]["member"], rows[0]["steps_to_target"], rows[0]["seconds_to_target"]) == ("0", "20", "1.25")
    folds = make_job("a", {(0, fold): [9.0, fold] for fold in range(5)}, evaluation="k_fold")
    members = [row["member"] for row in csv.DictReader(StringIO(report_csv(compare([folds]))))]
    assert members == ["0", "1", "2", "3", "4"]
