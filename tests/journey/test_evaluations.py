"""Folds, replicates, ensembles and rounds through the whole service, and what they come to together."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from descent import Client
from models.answers import Job, JobResults
from models.status import RunStatus, StatusReason

CLASSES: dict[str, Any] = {
    "dataset": "digits",
    "network": {"kind": "mlp", "hidden": [32]},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "budget": {"steps": 100},
}
VALUES = CLASSES | {"dataset": "sine", "network": {"kind": "mlp", "hidden": [16]}, "budget": {"steps": 150}}
JOBS: dict[str, dict[str, Any]] = {
    "folds": CLASSES | {"evaluation": {"kind": "k_fold", "folds": 5}, "seeds": 3},
    "replicates": VALUES | {"evaluation": {"kind": "bootstrap", "replicates": 50}},
    "bagging": CLASSES | {"evaluation": {"kind": "bagging", "ensemble": 20}, "budget": {"steps": 40}},
    "boosting": CLASSES
    | {"network": {"kind": "mlp", "hidden": [4]}, "evaluation": {"kind": "boosting", "rounds": 10}, "seeds": 2},
    "residuals": VALUES
    | {"network": {"kind": "mlp", "hidden": [3]}, "evaluation": {"kind": "boosting", "rounds": 10, "shrinkage": 0.7}},
    "holdout": CLASSES | {"seeds": 2},
    # It diverges within a few steps, so the rounds after it never train.
    "diverging": VALUES
    | {"optimizer": {"kind": "sgd", "learning_rate": 1e6}, "evaluation": {"kind": "boosting", "rounds": 4}},
}


@pytest.fixture(scope="module")
def ended(client: Client) -> dict[str, Job]:
    jobs = {name: client.submit(spec) for name, spec in JOBS.items()}
    return {name: client.wait(job, timeout=60) for name, job in jobs.items()}


@pytest.fixture(scope="module")
def results(ended: dict[str, Job], client: Client) -> dict[str, JobResults]:
    for name, job in ended.items():
        assert job.status is (RunStatus.FAILED if name == "diverging" else RunStatus.SUCCEEDED), name
    return {name: client.results(job) for name, job in ended.items()}


def test_every_fold_validates_each_row_once_and_its_history_says_the_same(
    results: dict[str, JobResults], ended: dict[str, Job], client: Client
) -> None:
    found, runs = results["folds"], client.runs(ended["folds"])
    assert (found.counted, found.runs, len(found.seeds)) == (15, 15, 3)
    by_id = {run.id: run for run in runs}
    for one in found.seeds:
        assert [member.member for member in one.members] == [0, 1, 2, 3, 4]
        for member in one.members:
            assert by_id[member.run_id].seed == one.seed
            assert by_id[member.run_id].summary["validation_accuracy"].last == pytest.approx(member.score, abs=1e-6)
        assert one.scores["folds"] == pytest.approx(np.mean([member.score for member in one.members]))
    assert found.scores["folds"].mean > 0.8
    assert found.scores["pooled"].seeds == 3
    assert len({run.cohort_id for run in runs}) == 1


def test_bias_variance_and_noise_add_up_to_the_error_of_fifty_replicates(results: dict[str, JobResults]) -> None:
    found = results["replicates"]
    scores = {name: estimate.mean for name, estimate in found.scores.items()}
    assert found.counted == 50
    parts = scores["bias_squared"] + scores["variance"] + scores["noise"] + scores["covariance"]
    assert parts == pytest.approx(scores["error"], rel=1e-9)
    assert scores["noise"] == pytest.approx(0.01, rel=0.3)
    assert scores["variance"] > 0
    assert scores["training"] < scores["out_of_bag"]
    assert scores["training"] < scores["point_632"] < scores["out_of_bag"]


def test_an_ensemble_of_equals_beats_its_members(results: dict[str, JobResults]) -> None:
    found = results["bagging"]
    (one,) = found.seeds
    assert len(one.series["vote"]) == len(one.series["mean"]) == 20
    assert one.series["mean"][0] == pytest.approx(one.members[0].score)
    assert one.scores["mean"] > one.scores["members"]
    assert one.scores["vote"] > one.scores["members"]
    assert abs(one.scores["out_of_bag"] - one.scores["mean"]) < 0.05


def test_rounds_follow_each_other_and_the_ensemble_beats_its_members(
    results: dict[str, JobResults], ended: dict[str, Job], client: Client
) -> None:
    found = results["boosting"]
    for one in found.seeds:
        assert [member.member for member in one.members] == list(range(10))
        assert one.scores["ensemble"] > max(member.score for member in one.members)
        assert all(member.weight is not None and member.weight > 0 for member in one.members)
    runs = client.runs(ended["boosting"])
    for before, after in pairwise(runs):
        if before.seed == after.seed:
            assert before.finished_at is not None
            assert after.started_at is not None
            assert before.finished_at <= after.started_at
    # The rounds of two seeds ride together.
    assert runs[3].cohort_id == runs[13].cohort_id


def test_each_round_of_a_regression_fits_what_the_others_left(
    results: dict[str, JobResults], ended: dict[str, Job], client: Client
) -> None:
    (one,) = results["residuals"].seeds
    assert one.series["training"][-1] < 0.5 * one.series["training"][0]
    assert one.scores["ensemble"] < 0.5 * one.series["ensemble"][0]
    runs = client.runs(ended["residuals"])
    said = []
    for run in runs[:2]:
        (found,) = [a for a in client.artifacts(run) if a.name == "predictions.safetensors"]
        said.append(load(client.download(found)))
    sums = 0.7 * said[0]["outputs"][:, 0].astype(np.float64)
    trains = said[0]["validates"] == 0
    assert np.mean((said[0]["targets"] - sums)[trains] ** 2) == pytest.approx(one.series["training"][0])
    # The second round learned the residual: its own last training loss is that of the sum before its shrinkage.
    left = (said[0]["targets"] - sums - said[1]["outputs"][:, 0])[trains]
    last = client.history(runs[1], ["validation_loss"])["validation_loss"].value[-1]
    validates = (said[0]["targets"] - sums - said[1]["outputs"][:, 0])[~trains]
    assert np.mean(validates**2) == pytest.approx(last, rel=1e-4)
    assert np.mean(left**2) < one.series["training"][0]


def test_a_holdout_answers_with_its_validation_score(results: dict[str, JobResults]) -> None:
    found = results["holdout"]
    assert found.counted == 2
    assert found.scores["validation"].mean == pytest.approx(np.mean([s.members[0].score for s in found.seeds]))


def test_a_job_that_waits_has_no_results(client: Client) -> None:
    waiting = client.submit(JOBS["folds"] | {"device": "cuda"})
    assert client.results(waiting).counted == 0
    client.cancel(waiting)


def test_rounds_after_a_failed_one_end_and_say_why(ended: dict[str, Job], client: Client) -> None:
    first, *others = client.runs(ended["diverging"])
    assert (first.status, first.status_reason) == (RunStatus.FAILED, StatusReason.DIVERGED)
    for run in others:
        assert (run.status, run.status_reason) == (RunStatus.FAILED, StatusReason.ROUND_BEFORE_FAILED)
        assert first.id in (run.status_detail or "")
    assert client.results(ended["diverging"]).seeds == []
    again = client.wait(client.retry(ended["diverging"]), timeout=60)
    assert again.status is RunStatus.FAILED
