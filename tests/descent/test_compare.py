import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from descent import Client
from descent.cli import app
from tests.descent.conftest import Answer, Service, make_job, make_page

JUDGED = {
    "claim": {"better": "job_1", "worse": "job_2", "score": "steps_to_target"},
    "statement": "adam reaches 0.02 in fewer steps than sgd",
    "verdict": "supported",
    "method": "sign_flip",
    "pairs": 8,
    "wins": 8,
    "losses": 0,
    "ties": 0,
    "censored": 0,
    "difference": {"mean": -900.0, "lower": -1000.0, "upper": -800.0, "n": 8},
    "ratio_of_medians": 0.25,
    "p_value": 0.0078125,
    "smallest_p": 0.0078125,
    "holm_p": 0.015625,
    "sentence": "Supported: adam was first on each of 8 seeds (p = 0.0078, Holm-adjusted p = 0.016).",
}


def estimate(mean: float | None, half: float = 0.001) -> dict[str, Any]:
    bounds = {"lower": None, "upper": None} if mean is None else {"lower": mean - half, "upper": mean + half}
    return {"mean": mean, "n": 8, **bounds}


def make_row(job_id: str, steps: list[int | None], text: str) -> dict[str, Any]:
    return {
        "job_id": job_id,
        "last": estimate(0.0125),
        "best": estimate(0.01),
        "best_step": estimate(900),
        "runs": [],
        "steps_to_target": {
            "target": 0.02,
            "budget": 10_000,
            "runs": [
                {"run_id": f"run_{seed}", "seed": seed, "steps": s, "seconds": s and s / 100}
                for seed, s in enumerate(steps)
            ],
            "reached": sum(s is not None for s in steps),
            "missed": sum(s is None for s in steps),
            "unknown": 0,
            "median": None,
            "median_text": text,
            "median_seconds": None,
            "median_seconds_text": "3.25 s",
        },
    }


def make_comparison(**changes: Any) -> dict[str, Any]:
    jobs = [("job_1", "adam"), ("job_2", "sgd")]
    return {
        "metric": "validation_loss",
        "better": "lower",
        "target": 0.02,
        "score": "steps_to_target",
        "baseline": "job_1",
        "confidence": 0.95,
        "jobs": [{"id": i, "name": name, "label": name, "seeds": [0, 1], "diverged": 0} for i, name in jobs],
        "curves": [],
        "table": [
            make_row("job_1", [300, 350, 325], "325"),
            make_row("job_2", [1200, None, None], "> 10,000"),
        ],
        "paired": [],
        "claims": [JUDGED],
        "verdict": "supported",
        "profile": None,
        "interquartile": [
            {"label": name, "job_ids": [i], "datasets": 1, "estimate": estimate(0.0124)} for i, name in jobs
        ],
        "ranking": None,
        "spec_diff": {},
        "warnings": ["adam has not ended yet"],
        **changes,
    }


@pytest.fixture
def compared(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("DESCENT_URL", service.url)
    monkeypatch.setenv("COLUMNS", "120")
    service.on("GET", "/v1/jobs", Answer(body=make_page(make_job("job_1"), make_job("job_2", name="sgd"))))
    service.on("GET", "/v1/comparisons", Answer(body=make_comparison()))
    service.on("GET", "/v1/comparisons/report", Answer(body=b"<html>report</html>", media_type="text/html"))
    return service


def test_the_client_asks_for_what_it_was_asked_and_nothing_else(compared: Service, client: Client) -> None:
    comparison = client.compare(["job_1", "job_2"], target=0.02, claims=["adam < sgd", "sgd < adam"])
    assert compared.requests[-1].parameters == [
        ("job", "job_1"),
        ("job", "job_2"),
        ("target", "0.02"),
        ("claim", "adam < sgd"),
        ("claim", "sgd < adam"),
    ]
    assert comparison.verdict == "supported"
    assert comparison.claims[0].holm_p == 0.015625
    assert comparison.raw == make_comparison()


def test_a_comparison_is_printed_as_scores_claims_and_verdict(compared: Service) -> None:
    told = CliRunner().invoke(
        app, ["compare", "adam", "sgd", "--target", "0.02", "--baseline", "sgd", "--claim", "adam<sgd"]
    )
    assert told.exit_code == 0
    for part in (
        "325 [300–350]",
        "3/3",
        "> 10,000 [1,200–> 10,000]",
        "1/3",
        "0.0125 ± 0.001",
        "Supported: adam was first on each of 8 seeds (p = 0.0078, Holm-adjusted p = 0.016).",
        "Verdict: SUPPORTED",
        "Note: adam has not ended yet",
    ):
        assert part in told.stdout
    sent = compared.requests[-1].parameters
    assert sent[-1] == ("claim", "adam<sgd")
    assert ("job", "job_2") in sent
    assert ("baseline", "job_2") in sent


def test_without_claims_each_job_is_told_beside_the_baseline(compared: Service) -> None:
    paired = {
        "job_id": "job_2",
        "baseline_id": "job_1",
        "pairs": 8,
        "difference": estimate(0.5),
        "p_value": 0.01,
        "holm_p": 0.01,
        "sentence": "sgd ends 0.5 higher than adam.",
    }
    answer = make_comparison(claims=[], verdict=None, paired=[paired], target=None, warnings=[])
    for row in answer["table"]:
        row["steps_to_target"] = None
    compared.on("GET", "/v1/comparisons", Answer(body=answer))
    told = CliRunner().invoke(app, ["compare", "--experiment", "lab", "--baseline", "adam"])
    assert "sgd ends 0.5 higher than adam." in told.stdout
    assert "Verdict" not in told.stdout
    assert "reached" not in told.stdout
    assert compared.requests[-1].parameters == [("experiment", "lab"), ("baseline", "adam")]


PROFILE = {
    "score": "seconds_to_target",
    "problems": 12,
    "left_out": 0,
    "curves": [
        {"label": "adam", "solved": 12, "score": 0.975, "tau": [1, 1.5, 4], "share": [0.9, 1, 1]},
        {"label": "sgd", "solved": 4, "score": 0.12, "tau": [1, 3.5, 4], "share": [0.1, 0.25, 0.25]},
    ],
}


def contender(rank: int | None, label: str, tried: int, **more: Any) -> dict[str, Any]:
    mean = None if rank is None else 0.0125
    return {
        "rank": rank,
        "label": label,
        "tried": tried,
        "diverged": 0,
        "estimate": estimate(mean),
        "difference": estimate(None),
        "tied": None,
        **more,
    }


RANKING = {
    "by": "optimizer.kind",
    "score": "last",
    "even_budgets": False,
    "contenders": [
        contender(1, "adam", 12, diverged=2),
        contender(2, "momentum with a name that is long enough to be folded", 4, difference=estimate(1e-4), tied=True),
        contender(None, "sgd", 1),
    ],
}


def test_profile_ranking_and_seconds_fit_into_a_hundred_columns(
    compared: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    answer = make_comparison(score="seconds_to_target", profile=PROFILE, ranking=RANKING, claims=[], verdict=None)
    compared.on("GET", "/v1/comparisons", Answer(body=answer))
    told = CliRunner().invoke(
        app, ["compare", "--sweep", "sweep_1", "--score", "seconds_to_target", "--by", "optimizer.kind", "--x", "epoch"]
    )
    assert told.exit_code == 0, told.stderr
    lines = [line.split() for line in told.stdout.splitlines()]
    for row in (
        ["adam", "3.25", "s", "[3–3.5]", "3/3", "0.0125", "±", "0.001", "0.01", "±", "0.001"],
        ["sgd", "3.25", "s", "[12–missed]", "1/3", "0.0125", "±", "0.001", "0.01", "±", "0.001"],
        ["adam", "0.97", "90%", "100%", "100%", "0.0124", "±", "0.001"],
        ["sgd", "0.12", "10%", "10%", "25%", "0.0124", "±", "0.001"],
        ["adam", "1", "12,", "2", "diverged", "0.0125", "±", "0.001"],
        ["sgd", "–", "1", "–"],
    ):
        assert row in lines, told.stdout
    assert "profile over 12 problems, in seconds" in told.stdout
    assert "tied" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 100
    sent = compared.requests[-1].parameters
    for part in (("sweep", "sweep_1"), ("x", "epoch"), ("score", "seconds_to_target"), ("rank_by", "optimizer.kind")):
        assert part in sent


@pytest.mark.parametrize("named", [[], ["adam", "--sweep", "s"], ["--experiment", "e", "--sweep", "s"]])
def test_jobs_are_named_in_exactly_one_way(compared: Service, named: list[str]) -> None:
    assert CliRunner().invoke(app, ["compare", *named]).exit_code == 2


def test_the_report_is_written_in_the_format_of_its_ending(compared: Service, tmp_path: Path) -> None:
    for name, kind in (("out.html", "html"), ("out.md", "markdown"), ("out.csv", "csv")):
        told = CliRunner().invoke(app, ["compare", "adam", "sgd", "--report", str(tmp_path / name), "--json"])
        assert json.loads(told.stdout)["verdict"] == "supported"
        assert compared.requests[-1].parameters[-1] == ("format", kind)
        assert (tmp_path / name).read_text() == "<html>report</html>"


def test_a_report_of_another_ending_is_wrong_usage(compared: Service, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["compare", "adam", "--report", str(tmp_path / "out.pdf")]).exit_code == 2


def test_a_report_that_cannot_be_written_is_told_in_words(compared: Service, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["compare", "adam", "sgd", "--report", str(tmp_path / "absent" / "out.html")])
    assert told.exit_code == 1
    assert "cannot be written" in told.stderr
