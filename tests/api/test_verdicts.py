"""Over HTTP: claims are judged on what was measured, and refused with a place and a remedy where nothing was."""

from typing import Any

import httpx2
import pytest

from models import analysing
from models.database import Database
from models.status import RunStatus, StatusReason
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.specs import spec
from tests.models.transactions import commit

SEEDS = 6
STEPS = list(range(0, 101, 10))
ACCURACY = {"dataset": "digits"}


def trained(api: httpx2.Client, worker: FakeWorker, scale: float, **changes: Any) -> str:
    """A job of six seeds whose validation loss is scale / step and whose update ratio is ten times that."""
    job_id = str(api.post("/v1/jobs", json=spec(seeds=SEEDS, **changes)).json()["id"])
    for seed, run in enumerate(worker.claim()):
        finish(run, scale + seed / 100)
    return job_id


def finish(run: FakeRun, scale: float) -> None:
    losses = [scale / (step + 1) for step in STEPS]
    train = [scale / (step + 1) / 2 for step in STEPS]
    run.report(
        {
            "validation_loss": (STEPS, losses),
            "clean_train_loss": (STEPS, train),
            "update_ratio": (STEPS, [10 * loss for loss in losses]),
        }
    )
    accuracy = 1 - scale / 10
    run.finish(summary={"validation_accuracy": {"last": accuracy, "best": accuracy, "best_step": 100}})


@pytest.fixture
def jobs(api: httpx2.Client, worker: FakeWorker) -> list[str]:
    return [trained(api, worker, 1.0, name="adam"), trained(api, worker, 3.0, name="sgd", optimizer="sgd")]


def judged(api: httpx2.Client, *claims: dict[str, Any]) -> dict[str, Any]:
    answer = api.post("/v1/verdicts", json={"claims": claims})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def refused(api: httpx2.Client, *claims: Any) -> tuple[str, str, str]:
    answer = api.post("/v1/verdicts", json={"claims": claims})
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    return error["pointer"], error["code"], error["detail"]


def less(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "less", "left": left, "right": right}


def below(of: dict[str, Any], high: float = 1e9) -> dict[str, Any]:
    return {"kind": "between", "of": of, "high": high}


def measure(database: Database, values: dict[str, float | None]) -> None:
    """Do what a worker does with the analysis that waits first: one that has arrived, else the relay takes it back."""
    found = commit(database, analysing.claim, "worker_cpu")
    assert found is not None
    for one in found.analyses:
        scaled = {name: None if value is None else value + one.seed / 1000 for name, value in values.items()}
        commit(database, analysing.finish, one, scaled, {})


def test_claims_about_metrics_are_judged_as_one_family(api: httpx2.Client, jobs: list[str]) -> None:
    adam, sgd = ({"kind": "metric", "job": job} for job in jobs)
    target = {"take": "steps_to_target", "target": 0.04}
    window = {"metric": "update_ratio", "take": "mean"}
    told = judged(
        api,
        less(adam, sgd),
        less(adam | target, sgd | target),
        less(adam | window | {"from_step": 50, "to_step": 100}, adam | window | {"from_step": 0, "to_step": 20}),
        {"kind": "diagnosed", "job": jobs[0], "verdict": "good_fit"},
    )
    first, second, third, fourth = told["claims"]
    assert (told["verdict"], told["confidence"]) == ("undecided", 0.95)
    assert first["statement"] == 'last validation loss of "adam" is lower than that of "sgd"'
    assert (first["seeds"], first["wins"], first["method"]) == (SEEDS, SEEDS, "sign_flip")
    assert first["effect"]["mean"] == pytest.approx(-2 / 101)
    assert first["holm_p"] == pytest.approx(4 * 2 / 64), "six seeds settle none of four claims"
    assert second["statement"] == 'number of steps to validation loss ≤ 0.04 of "adam" is lower than that of "sgd"'
    assert second["effect"]["mean"] == pytest.approx(-50)
    assert third["statement"].startswith('mean update ratio over steps 50 to 100 of "adam" is lower than mean')
    assert third["left"] == pytest.approx(sum(10 * 1.025 / (step + 1) for step in STEPS[5:]) / 6)
    assert (fourth["method"], fourth["seeds"]) == ("binomial", SEEDS)
    assert judged(api, less(adam, sgd))["verdict"] == "supported"
    assert judged(api, less(sgd, adam))["verdict"] == "refuted"


def test_results_and_seconds_have_a_value_for_each_seed(api: httpx2.Client, worker: FakeWorker) -> None:
    first = trained(api, worker, 1.0, name="first", **ACCURACY)
    second = trained(api, worker, 3.0, name="second", **ACCURACY)
    validation = {"kind": "result", "score": "validation"}
    told = judged(api, less(validation | {"job": second}, validation | {"job": first}))
    (claim,) = told["claims"]
    assert told["verdict"] == "supported"
    assert claim["statement"] == 'accuracy on the validation rows of "second" is lower than that of "first"'
    assert (claim["left"], claim["right"]) == pytest.approx((0.6975, 0.8975))
    (seconds,) = judged(api, below({"kind": "seconds", "job": first}))["claims"]
    assert (seconds["left"], seconds["seeds"]) == (1.5, SEEDS)


def test_a_diverged_run_has_lost_and_stands_in_no_mean(api: httpx2.Client, worker: FakeWorker) -> None:
    whole = trained(api, worker, 3.0, name="whole")
    broken = str(api.post("/v1/jobs", json=spec(seeds=SEEDS, name="broken", optimizer="sgd")).json()["id"])
    for run in worker.claim():
        run.report({"validation_loss": ([0], [0.001])})
        run.finish(RunStatus.FAILED, reason=StatusReason.DIVERGED)
    window = {"take": "mean", "from_step": 0, "to_step": 100}
    for side in ({"kind": "metric"}, {"kind": "metric"} | window):
        (claim,) = judged(api, less(side | {"job": whole}, side | {"job": broken}))["claims"]
        assert (claim["verdict"], claim["method"], claim["censored"]) == ("supported", "sign_test", SEEDS)
        assert claim["effect"]["mean"] is None


def test_analyses_are_evidence_once_they_have_ended(api: httpx2.Client, worker: FakeWorker, database: Database) -> None:
    worker.arrive()
    job = trained(api, worker, 1.0, name="adam")
    api.post(f"/v1/jobs/{job}/analyses", json="hessian")
    curvature = {"kind": "analysis", "analysis": "hessian", "value": "largest_eigenvalue", "job": job}
    assert refused(api, below(curvature)) == (
        "/claims/0/of",
        "still_queued",
        '6 of 6 measurements of job "adam" are still queued or running: ask again once they have ended',
    )
    measure(database, {"largest_eigenvalue": 2.0, "trace": None})
    (claim,) = judged(api, below(curvature, 3.0))["claims"]
    assert (claim["verdict"], claim["seeds"]) == ("supported", SEEDS)
    assert claim["left"] == pytest.approx(2.0025)
    unknown = refused(api, below(curvature | {"value": "largest"}))
    assert unknown == (
        "/claims/0/of/value",
        "nobody_recorded_it",
        'job "adam" has no value "largest": there are largest_eigenvalue, trace',
    )
    assert refused(api, below(curvature | {"analysis": "sharpness"}))[2].endswith("there are hessian")
    (empty,) = judged(api, below(curvature | {"value": "trace"}))["claims"]
    assert (empty["verdict"], empty["left_out"]) == ("undecided", SEEDS)


def test_of_two_analyses_of_a_kind_a_claim_names_one_by_its_options(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    worker.arrive()
    job = trained(api, worker, 1.0, name="adam")
    for rows in (100, 200):
        api.post(f"/v1/jobs/{job}/analyses", json={"kind": "hessian", "rows": rows})
    measure(database, {"trace": 1.0})
    measure(database, {"trace": 5.0})
    trace = {"kind": "analysis", "analysis": "hessian", "value": "trace", "job": job}
    pointer, code, detail = refused(api, below(trace))
    assert (pointer, code) == ("/claims/0/of/options", "not_one_analysis")
    assert "give those by which one is told from the others" in detail
    means = [judged(api, below(trace | {"options": {"rows": rows}}))["claims"][0]["left"] for rows in (100, 200)]
    assert sorted(means) == pytest.approx([1.0025, 5.0025])


def test_a_sealed_test_is_no_evidence_until_it_is_opened(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    worker.arrive()
    job = trained(api, worker, 1.0, name="adam", **ACCURACY)
    accuracy = {"kind": "test", "score": "test_accuracy", "job": job}
    pointer, code, detail = refused(api, below(accuracy))
    assert (pointer, code) == ("/claims/0/of", "sealed")
    assert f"POST /v1/jobs/{job}/test-evaluation opens it" in detail
    api.post(f"/v1/jobs/{job}/test-evaluation", json={})
    assert refused(api, below(accuracy))[1] == "still_queued"
    measure(database, {"test_accuracy": 0.9, "test_loss": 0.3})
    validation = {"kind": "result", "score": "validation", "job": job}
    told = judged(
        api,
        {"kind": "between", "of": accuracy, "low": 0.88, "high": 0.94},
        {"kind": "close", "left": validation, "right": accuracy, "margin": 0.02},
    )
    assert [one["verdict"] for one in told["claims"]] == ["supported", "supported"]
    assert told["claims"][1]["effect"]["mean"] == pytest.approx(0.8975 - 0.9025)
    assert refused(api, below(accuracy | {"score": "test_rmse"}))[2].endswith("there are test_accuracy, test_loss")


@pytest.mark.parametrize(
    ("change", "pointer", "code", "words"),
    [
        ({"job": "job_0"}, "/claims/0/left/job", "no_such_job", "there is no job job_0"),
        ({"metric": "loss"}, "/claims/0/left/metric", "nobody_recorded_it", "clean_train_loss, update_ratio, valid"),
        ({"metric": "update_ratio", "take": "best"}, "/claims/0/left/take", "no_better_direction", "take its last"),
        ({"take": "steps_to_target"}, "/claims/0/left", "value_error", "a target goes with"),
        ({"take": "mean"}, "/claims/0/left", "value_error", "from_step and to_step go with"),
        (
            {"take": "mean", "from_step": 500, "to_step": 900},
            "/claims/0/left/from_step",
            "nobody_recorded_it",
            "recorded until step 100",
        ),
        ({"kind": "result", "score": "mean"}, "/claims/0/left/score", "nobody_recorded_it", "there are validation"),
        (
            {"kind": "analysis", "analysis": "hessian", "value": "trace"},
            "/claims/0/left/analysis",
            "nob",
            "there is none",
        ),
        ({"kind": "taste"}, "/claims/0/left", "unknown_kind", "metric, result, analysis, test, seconds"),
    ],
)
def test_a_claim_without_evidence_is_refused_with_its_place_and_what_there_is(
    api: httpx2.Client, worker: FakeWorker, change: dict[str, Any], pointer: str, code: str, words: str
) -> None:
    summary = {"validation_rmse": {"last": 0.5, "best": 0.5, "best_step": 10}}
    job_id = str(api.post("/v1/jobs", json=spec(seeds=2)).json()["id"])
    for run in worker.claim():
        run.report({name: (STEPS, [0.5] * 11) for name in ("validation_loss", "clean_train_loss", "update_ratio")})
        run.finish(summary=summary)
    side = {"kind": "metric", "job": job_id}
    found = refused(api, less(side | change, side))
    assert found[0] == pointer
    assert found[1].startswith(code)
    assert words in found[2]


def test_numbers_of_opposite_kinds_are_not_compared(api: httpx2.Client, worker: FakeWorker) -> None:
    job = trained(api, worker, 1.0, **ACCURACY)
    sides = ({"kind": "result", "score": "validation", "job": job}, {"kind": "metric", "job": job})
    assert refused(api, less(*sides))[:2] == ("/claims/0", "not_comparable")


def test_a_job_that_is_still_under_way_has_no_verdict_yet(api: httpx2.Client, worker: FakeWorker) -> None:
    job = api.post("/v1/jobs", json=spec()).json()["id"]
    pointer, code, detail = refused(api, {"kind": "diagnosed", "job": job, "verdict": "good_fit"})
    assert (pointer, code) == ("/claims/0/job", "still_under_way")
    assert "wait until its runs have ended" in detail


def test_a_seed_whose_run_diverged_has_a_worse_score_than_any_and_no_analysis(
    api: httpx2.Client, worker: FakeWorker, database: Database
) -> None:
    worker.arrive()
    job = str(api.post("/v1/jobs", json=spec(seeds=SEEDS, **ACCURACY)).json()["id"])
    first, *others = worker.claim()
    first.finish(RunStatus.FAILED, reason=StatusReason.DIVERGED)
    for run in others:
        finish(run, 1.0)
    api.post(f"/v1/jobs/{job}/analyses", json="hessian")
    measure(database, {"trace": 1.0})
    api.post(f"/v1/jobs/{job}/test-evaluation", json={})
    measure(database, {"test_accuracy": 0.9})
    sides = [
        {"kind": "result", "score": "validation", "job": job},
        {"kind": "test", "score": "test_accuracy", "job": job},
        {"kind": "analysis", "analysis": "hessian", "value": "trace", "job": job},
    ]
    found = judged(api, *(below(side) for side in sides))["claims"]
    assert [(one["censored"], one["left_out"], one["verdict"]) for one in found] == [
        (1, 0, "undecided"),
        (1, 0, "undecided"),
        (0, 1, "supported"),
    ]


def test_a_family_has_a_claim_and_not_too_many(api: httpx2.Client) -> None:
    assert refused(api)[0] == "/claims"
    claim = {"kind": "diagnosed", "job": "job_0", "verdict": "good_fit"}
    assert refused(api, *[claim] * 51)[0] == "/claims"
