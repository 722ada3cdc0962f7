import base64
import hashlib
import re
from typing import Any

import httpx2
import pytest
from sqlalchemy import event

from api.contenders import chosen_jobs, fingerprint
from models.answers import JobMetrics
from models.database import Database
from models.status import RunStatus, StatusReason
from tests.api.fake_worker import FakeWorker
from tests.api.specs import spec


def trained(api: httpx2.Client, worker: FakeWorker, name: str, scale: float, **changes: Any) -> str:
    """A job of six seeds whose loss is scale / step, saved and succeeded."""
    job = api.post("/v1/jobs", json=spec(name=name, seeds=6, experiment="lab", **changes)).json()
    steps = list(range(10, 101, 10))
    for seed, run in enumerate(worker.claim()):
        losses = [(scale + seed / 100) / step for step in steps]
        run.report({"validation_loss": (steps, losses), "train_seconds": (steps, [step / 50 for step in steps])})
        run.snapshot(100, {"inputs": [0.0, 1.0], "outputs": [0.0, 1.0], "rows": {"inputs": [0.5], "targets": [[0.5]]}})
        run.finish()
    return str(job["id"])


@pytest.fixture
def jobs(api: httpx2.Client, worker: FakeWorker) -> list[str]:
    return [trained(api, worker, "adam", 1.0), trained(api, worker, "sgd", 3.0, optimizer="sgd")]


def compared(api: httpx2.Client, **parameters: Any) -> dict[str, Any]:
    answer = api.get("/v1/comparisons", params=parameters)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_jobs_stand_side_by_side_with_a_verdict_on_the_claim(api: httpx2.Client, jobs: list[str]) -> None:
    told = compared(api, job=jobs, target=0.04, claim="adam<sgd", x="seconds", max_points=5)
    assert [job["id"] for job in told["jobs"]] == jobs
    assert told["verdict"] == "supported"
    assert told["spec_diff"]["optimizer.kind"] == {jobs[0]: "adam", jobs[1]: "sgd"}
    assert len(told["curves"][0]["x"]) <= 5
    assert told["baseline"] == jobs[0]
    refuted = compared(api, experiment="lab", claim=f"{jobs[1]} < adam", score="last", baseline="sgd")
    assert (refuted["verdict"], refuted["baseline"]) == ("refuted", jobs[1])


def test_a_comparison_that_has_not_changed_is_304_and_one_that_has_is_told_anew(
    api: httpx2.Client, jobs: list[str], worker: FakeWorker
) -> None:
    for path in ("/v1/comparisons", "/v1/comparisons/report"):
        first = api.get(path, params={"experiment": "lab"})
        etag = first.headers["ETag"]
        unchanged = api.get(path, params={"experiment": "lab"}, headers={"If-None-Match": f'"x", {etag}'})
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
        other = api.get(path, params={"experiment": "lab", "x": "epoch"}, headers={"If-None-Match": etag})
        assert other.status_code == 200
        api.patch(f"/v1/jobs/{jobs[0]}", json={"name": f"Adam for {path}"})
        renamed = api.get(path, params={"experiment": "lab"}, headers={"If-None-Match": etag})
        assert (renamed.status_code, renamed.headers["ETag"] != etag) == (200, True)


def test_new_points_of_a_live_run_change_the_etag(api: httpx2.Client, worker: FakeWorker) -> None:
    job = api.post("/v1/jobs", json=spec()).json()["id"]
    run = worker.claim()[0]
    etags = set()
    for step in (1, 2):
        run.report({"validation_loss": ([step], [1.0])})
        run.save()
        etags.add(api.get("/v1/comparisons", params={"job": job}).headers["ETag"])
    run.finish()
    etags.add(api.get("/v1/comparisons", params={"job": job}).headers["ETag"])
    assert len(etags) == 3


def test_a_sweep_is_compared_as_a_whole(api: httpx2.Client, worker: FakeWorker) -> None:
    body = {"name": "rates", "base": spec(), "grid": {"optimizer.learning_rate": [0.1, 0.2]}}
    sweep = api.post("/v1/sweeps", json=body).json()
    for run in worker.claim():
        run.report({"validation_loss": ([1], [0.5])})
        run.finish()
    told = compared(api, sweep=sweep["id"])
    assert [job["name"] for job in told["jobs"]] == ["rates · learning_rate=0.1", "rates · learning_rate=0.2"]


def test_jobs_of_an_experiment_that_differ_in_seeds_alone_are_one_contender(
    api: httpx2.Client, worker: FakeWorker
) -> None:
    first = trained(api, worker, "adam", 1.0)
    others = {"experiment": "lab", "name": "adam", "seeds": list(range(6, 12))}
    second = api.post("/v1/jobs", json=spec(**others)).json()["id"]
    for run in worker.claim():
        run.report({"validation_loss": ([10], [0.5])})
        run.finish()
    whole = compared(api, experiment="lab", baseline="adam")
    assert [(job["id"], job["job_ids"], job["seeds"]) for job in whole["jobs"]] == [
        (first, [first, second], list(range(12)))
    ]
    assert whole["baseline"] == first
    for apart in (compared(api, experiment="lab", group="job"), compared(api, job=[first, second])):
        assert [job["job_ids"] for job in apart["jobs"]] == [[first], [second]]
    assert len(compared(api, job=[first, second], group="spec")["jobs"]) == 1
    assert compared(api, experiment="lab", baseline=second)["baseline"] == first
    assert api.get("/v1/comparisons/report", params={"experiment": "lab"}).status_code == 200


def test_time_is_told_in_seconds_where_that_is_asked(api: httpx2.Client, jobs: list[str]) -> None:
    told = compared(api, job=jobs, target=0.04, claim="adam<sgd", score="seconds_to_target", rank_by="optimizer.kind")
    assert told["verdict"] == "supported"
    assert told["score"] == told["profile"]["score"] == "seconds_to_target"
    # A loss of 1 / step is at 0.04 after 30 recorded steps, at 50 steps a second.
    assert told["table"][0]["steps_to_target"]["runs"][0]["seconds"] == pytest.approx(0.6)
    assert told["profile"]["curves"][0]["score"] == 1
    assert [one["label"] for one in told["ranking"]["contenders"]] == ["adam", "sgd"]
    assert [one["estimate"]["n"] for one in told["interquartile"]] == [6, 6]
    assert (told["analyses"], told["test_scores"]) == ([], [])


def test_folds_are_compared_as_folds(api: httpx2.Client, worker: FakeWorker) -> None:
    for name, loss in (("adam", 1.0), ("sgd", 2.0)):
        api.post("/v1/jobs", json=spec(name=name, optimizer=name, evaluation="k_fold", experiment="folds"))
        for fold, run in enumerate(worker.claim()):
            run.report({"validation_loss": ([10], [loss + fold**2 / 100])})
            run.finish()
    told = compared(api, experiment="folds")
    assert told["paired"][0]["method"] == "nadeau_bengio"
    assert [run["member"] for run in told["table"][0]["runs"]] == [0, 1, 2, 3, 4]


def test_asking_whether_anything_has_changed_reads_no_history_and_no_spec(
    api: httpx2.Client, jobs: list[str], database: Database
) -> None:
    with database.read() as session:
        told: list[str] = []
        event.listen(database.engine, "before_cursor_execute", lambda *heard: told.append(heard[2]))
        fingerprint(session, chosen_jobs(session, jobs, None, None))
    assert told
    assert not any("payload" in statement or "jobs.spec" in statement for statement in told)


def test_a_question_that_makes_no_sense_is_refused(api: httpx2.Client, jobs: list[str]) -> None:
    for parameters, pointer, words in NONSENSE:
        answer = api.get("/v1/comparisons", params=parameters)
        assert answer.status_code == 422, parameters
        assert answer.json()["errors"][0]["pointer"] == pointer, parameters
        assert words in answer.json()["errors"][0]["detail"], parameters


NONSENSE: list[tuple[dict[str, Any], str, str]] = [
    ({}, "?job", "in one way"),
    ({"experiment": "lab", "sweep": "x"}, "?job", "in one way"),
    ({"experiment": "lab", "metric": "beauty"}, "", "recorded are train_seconds, validation_loss"),
    ({"experiment": "lab", "claim": "adam>sgd"}, "?claim", "no claim"),
    ({"experiment": "lab", "claim": "adam<nobody"}, "?claim", "no claim"),
    ({"experiment": "lab", "claim": "adam<sgd"}, "", "target"),
    ({"experiment": "lab", "baseline": "nobody"}, "?baseline", "neither"),
    ({"experiment": "lab", "rank_by": "optimizer.colour"}, "", "none of these specs"),
    ({"experiment": "lab", "group": "name"}, "?group", ""),
    ({"experiment": "lab", "max_points": 4}, "?max_points", ""),
    ({"experiment": "lab", "target": "nan"}, "?target", ""),
    ({"experiment": "lab", "colour": "red"}, "?colour", "no such"),
]


def test_names_with_a_less_than_sign_are_read_where_only_one_way_makes_sense(
    api: httpx2.Client, worker: FakeWorker
) -> None:
    trained(api, worker, "a<b", 1.0)
    trained(api, worker, "c", 3.0)
    assert compared(api, experiment="lab", claim="a<b < c", score="best")["verdict"] == "supported"


def test_the_report_is_one_page_that_runs_only_its_own_scripts(api: httpx2.Client, jobs: list[str]) -> None:
    answer = api.get("/v1/comparisons/report", params={"experiment": "lab"})
    assert answer.headers["Content-Type"].startswith("text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert scripts
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    # Nothing but the hashed scripts, and data that is no script.
    assert len(re.findall(r"<script(?! type=\"application/json\")", answer.text)) >= len(scripts)
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?http", answer.text[:20_000])


def test_the_report_comes_as_markdown_and_csv_too(api: httpx2.Client, jobs: list[str]) -> None:
    markdown = api.get("/v1/comparisons/report", params={"experiment": "lab", "format": "markdown"})
    assert markdown.headers["Content-Type"].startswith("text/markdown")
    assert markdown.text.startswith("# Comparison")
    table = api.get("/v1/comparisons/report", params={"experiment": "lab", "format": "csv"})
    assert table.headers["Content-Type"].startswith("text/csv")
    assert len(table.text.splitlines()) == 13
    assert api.get("/v1/comparisons/report", params={"experiment": "lab", "format": "pdf"}).status_code == 422


def test_a_jobs_mean_curve_leaves_diverged_runs_out(api: httpx2.Client, worker: FakeWorker) -> None:
    job = api.post("/v1/jobs", json=spec(seeds=3)).json()["id"]
    for run, value in zip(worker.claim(), (1.0, 3.0, 9.0), strict=True):
        run.report({"validation_loss": ([1, 2], [value, value]), "train_loss": ([1], [value])})
        if value == 9.0:
            run.finish(RunStatus.FAILED, reason=StatusReason.DIVERGED)
        else:
            run.finish()
    told = JobMetrics.model_validate(api.get(f"/v1/jobs/{job}/metrics", params={"name": "validation_loss"}).json())
    series = told.series["validation_loss"]
    assert (list(told.series), series.step, series.mean, series.runs) == (["validation_loss"], [1, 2], [2, 2], [2, 2])
    assert series.lower[0] is not None
    assert series.lower[0] < 1 < 2
    assert set(api.get(f"/v1/jobs/{job}/metrics").json()["series"]) == {"validation_loss", "train_loss"}


def test_only_the_last_attempt_counts(api: httpx2.Client, worker: FakeWorker, database: Database) -> None:
    job = api.post("/v1/jobs", json=spec()).json()["id"]
    run = worker.claim()[0]
    run.report({"validation_loss": ([1, 2], [9.0, 9.0])})
    run.save()
    worker.vanish(run)
    again = worker.claim()[0]
    again.report({"validation_loss": ([1], [1.0])})
    again.finish()
    assert compared(api, job=job)["curves"][0]["mean"] == [1.0]
