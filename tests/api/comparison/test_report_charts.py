"""What the report's charts show, and that a section is there only if it has something to show."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from api.comparison.compare import compare
from api.comparison.history import JobHistory
from api.comparison.measured import JobTestScores, RunAnalysis
from api.comparison.report import report_html
from api.comparison.report.drawn import drawn
from api.comparison.report.fields import fields
from api.comparison.report.markup import Bar, folded, swatch, table
from api.comparison.report.measured import measured
from api.comparison.report.regions import regions
from models.answers import Estimate

Fabricate = Callable[..., JobHistory]
MOONS: dict[str, Any] = {"dataset": "moons"}


def plane(step: int, target: int = 0) -> dict[str, Any]:
    return {
        "grid": {"x": [0.0, 1.0], "y": [0.0, 2.0]},
        "classes": [[0, 1], [1, step % 2]],
        "confidence": [[0.5, 0.994], [1.0, None]],
        "rows": {"inputs": [[0.5, 1.5]], "targets": [target]},
    }


def test_regions_are_those_of_the_first_run_that_has_any(make_job: Fabricate) -> None:
    values = {0: [9, 1], 1: [9, 1]}
    taken = {"a-1": [(step, plane(step, target=1)) for step in (0, 100)]}
    found = regions([make_job("a", values, snapshots=taken, **MOONS), make_job("b", values, **MOONS)])
    assert found == {
        "steps": [0, 100],
        "classes": 2,
        "left_out": 0,
        "columns": [
            {
                "job_id": "a",
                "seed": 1,
                "x": [0.0, 1.0],
                "y": [0.0, 2.0],
                "data": {"points": [[0.5, 1.5]], "classes": [1]},
                "planes": [
                    {"classes": [[0, 1], [1, 0]], "percent": [[50, 99], [100, None]]},
                    {"classes": [[0, 1], [1, 0]], "percent": [[50, 99], [100, None]]},
                ],
            }
        ],
    }


def test_a_job_without_a_snapshot_at_a_step_leaves_its_place_empty(make_job: Fabricate) -> None:
    jobs = [
        make_job(name, {0: [9, 1]}, snapshots={f"{name}-0": [(step, plane(step)) for step in steps]}, **MOONS)
        for name, steps in (("a", [0, 50]), ("b", [50]))
    ]
    found = regions(jobs)
    assert found is not None
    assert [[one is None for one in column["planes"]] for column in found["columns"]] == [[False, False], [True, False]]


def test_other_snapshots_are_no_regions(make_job: Fabricate) -> None:
    outputs = {"targets": [0], "outputs": [[0.5, 0.5]]}
    assert regions([make_job("a", {0: [9, 1]}, snapshots={"a-0": [(0, outputs)]}, dataset="digits")]) is None


def test_a_page_has_room_for_twelve_jobs_pictures(make_job: Fabricate) -> None:
    jobs = [make_job(f"j{n}", {0: [9, 1]}, snapshots={f"j{n}-0": [(0, plane(0))]}, **MOONS) for n in range(14)]
    found = regions(jobs)
    assert found is not None
    assert (len(found["columns"]), found["left_out"]) == (12, 2)
    assert "2 more jobs not drawn" in report_html(compare(jobs), jobs, "Many")


def analysis(run_id: str, values: Mapping[str, float | None], kind: str = "sharpness") -> RunAnalysis:
    job_id, seed = run_id.split("-")
    return RunAnalysis(job_id=job_id, run_id=run_id, seed=int(seed), member=0, kind=kind, options={}, values=values)


def test_measurements_stand_beside_each_run_s_last_gap(make_job: Fabricate) -> None:
    job = make_job("a", {0: [9, 1], 1: [9, 1]}, more={"generalization_gap": [0.5, 0.25]})
    analyses = [
        analysis("a-0", {"trace": 3.0, "sharpness_0.001": 1.5}),
        analysis("a-0", {"largest_eigenvalue": 7.0, "second": None}, "hessian"),
    ]
    assert measured([job], analyses) == {
        "names": ["sharpness_0.001", "largest_eigenvalue", "trace"],
        "dots": [
            {
                "job": 0,
                "seed": 0,
                "gap": 0.25,
                "values": {"trace": 3.0, "sharpness_0.001": 1.5, "largest_eigenvalue": 7.0},
            }
        ],
    }


@pytest.mark.parametrize("gaps", [[], [np.nan, np.nan]])
def test_a_run_without_a_gap_is_no_dot(make_job: Fabricate, gaps: Sequence[float]) -> None:
    job = make_job("a", {0: [9, 1]}, more={"generalization_gap": gaps})
    assert measured([job], [analysis("a-0", {"trace": 3.0})]) is None
    assert measured([job], []) is None


def optimizers(make_job: Fabricate, *tried: tuple[str, float, float]) -> list[JobHistory]:
    return [
        make_job(f"j{n}", {0: [9, last]}, optimizer={"kind": kind, "learning_rate": rate}, batch_size=16 << n % 2)
        for n, (kind, rate, last) in enumerate(tried)
    ]


def test_each_differing_field_is_an_axis_and_the_score_the_last(make_job: Fabricate) -> None:
    jobs = optimizers(make_job, ("sgd", 0.1, 4), ("adam", 0.001, 1), ("momentum", 0.01, 2))
    found = fields(compare(jobs))
    assert found is not None
    assert [axis["label"] for axis in found["axes"]] == [
        "optimizer.kind",
        "optimizer.learning_rate",
        "batch_size",
        "validation loss",
    ]
    kind, rate, batch, score = found["axes"]
    assert kind["texts"] == ["sgd", "adam", "momentum"]
    assert kind["at"] == pytest.approx([1 / 6, 3 / 6, 5 / 6])
    # 0.001, 0.01 and 0.1 are evenly spaced: a wide range is logarithmic.
    assert rate["at"] == pytest.approx([1, 0, 0.5])
    assert [tick["text"] for tick in rate["ticks"]] == ["0.001", "0.01", "0.1"]
    assert batch["at"] == [0, 1, 0]
    assert score["at"] == pytest.approx([1, 0, 1 / 3])
    assert found["scored"]
    assert not found["left_out"]


def test_a_field_that_only_some_jobs_have_puts_the_others_at_the_bottom(make_job: Fabricate) -> None:
    jobs = [
        make_job(f"j{n}", {0: [9, 1]}, batch_size=16 + n, regularizers=[{"kind": "l2", "weight": w}] if w else [])
        for n, w in enumerate((None, 0.1, 0.2))
    ]
    found = fields(compare(jobs))
    assert found is not None
    weight = next(axis for axis in found["axes"] if axis["label"] == "regularizers.l2.weight")
    assert weight["texts"] == ["–", "0.1", "0.2"]
    assert weight["at"] == pytest.approx([0, 0.16, 1])
    assert weight["ticks"][0] == {"at": 0.0, "text": "–"}


def test_two_jobs_or_one_field_make_no_parallel_coordinates(make_job: Fabricate) -> None:
    assert fields(compare(optimizers(make_job, ("sgd", 0.1, 4), ("adam", 0.001, 1)))) is None
    alike = [make_job(f"j{n}", {0: [9, 1]}, batch_size=16 + n) for n in range(3)]
    assert fields(compare(alike)) is None


def test_of_many_values_the_ends_and_some_between_are_ticks(make_job: Fabricate) -> None:
    jobs = [make_job(f"j{n}", {0: [9, 1]}, batch_size=16 + n, budget={"steps": 100 + n % 2}) for n in range(12)]
    found = fields(compare(jobs))
    assert found is not None
    batch = next(axis for axis in found["axes"] if axis["label"] == "batch_size")
    assert [tick["at"] for tick in batch["ticks"]] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert (batch["ticks"][0]["text"], batch["ticks"][-1]["text"]) == ("16", "27")


def test_test_scores_say_with_how_many_looks(make_job: Fabricate) -> None:
    jobs = [make_job("a", {0: [9, 1]})]
    opened = JobTestScores(
        job_id="a",
        look=2,
        looks_at_dataset=5,
        runs=3,
        scores={
            "test_loss": Estimate(mean=0.25, standard_deviation=0.01, seeds=3),
            "test_r2": Estimate(mean=0.9, standard_deviation=None, seeds=1),
        },
    )
    page = report_html(compare(jobs).model_copy(update={"test_scores": [opened]}), jobs, "Opened")
    assert '<th scope="col">test loss</th>' in page
    assert "<td>0.25 (s.d. 0.01, 3 seeds)</td><td>0.9</td><td>3</td><td>2</td><td>5</td>" in page
    assert "Test scores" not in report_html(compare(jobs), jobs, "Sealed")


def test_profile_and_ranking_are_told_where_there_are_any(make_job: Fabricate) -> None:
    jobs = [
        make_job(f"j{n}", {s: [9, 3 - n, 1] for s in range(3)}, optimizer={"kind": kind, "learning_rate": rate})
        for n, (kind, rate) in enumerate((("sgd", 0.1), ("adam", 0.1), ("adam", 0.01)))
    ]
    comparison = compare(jobs, target=2)
    page = report_html(comparison, jobs, "Standing")
    assert "Performance profile" in page
    assert "Ranking and tuning budgets" in page
    assert "Not on equal terms" in page
    data = drawn(comparison, jobs)
    assert [one["score"] for one in data["profile"]["curves"]] == pytest.approx([2 / 3, 1, 1])
    alone = report_html(compare(jobs[:1]), jobs[:1], "Alone")
    assert "Performance profile" not in alone
    assert "Ranking and tuning budgets" not in alone


def test_many_jobs_have_fewer_points_of_other_metrics(make_job: Fabricate) -> None:
    more = {"train_loss": np.sin(np.arange(1_000.0)).tolist()}
    few, many = (
        [
            make_job(f"j{n}", {0: [9, 1]}, name=f"n{n}", every=1, more=more, budget={"steps": 1_000})
            for n in range(count)
        ]
        for count in (2, 200)
    )
    points = [len(drawn(compare(jobs), jobs)["curves"]["train_loss"][0]["x"]) for jobs in (few, many)]
    assert 250 < points[0] <= 300
    assert 40 < points[1] <= 60


def test_many_jobs_stand_below_each_other_in_the_table_of_specs(make_job: Fabricate) -> None:
    jobs = [make_job(f"j{n}", {0: [9, 1]}, batch_size=16 + n) for n in range(9)]
    assert '<th scope="col">job</th><th scope="col">batch_size</th>' in report_html(compare(jobs), jobs, "Many")
    assert '<th scope="col">field</th><th scope="col">j0</th>' in report_html(compare(jobs[:3]), jobs[:3], "Few")


def test_sentences_after_the_first_few_unfold() -> None:
    assert "<details>" not in folded([f"{n} & more" for n in range(7)])
    said = folded([f"{n} & more" for n in range(9)])
    assert said.count("<li>") == 9
    assert "<details><summary>3 more</summary><ul><li>6 &amp; more</li>" in said


def test_past_seven_jobs_dashes_tell_lines_apart() -> None:
    assert 'class="line1"' in swatch(8)
    assert "stroke-dasharray" in swatch(8)
    assert "stroke-dasharray" not in swatch(1)


def test_a_number_in_a_table_can_have_a_bar() -> None:
    assert '<span style="width:36px"></span>2</span>' in table(["name", "tried"], [["<a>", Bar(2, 4)]])
    assert "&lt;a&gt;" in table(["name"], [["<a>"]])
