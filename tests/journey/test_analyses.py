"""Trained networks are measured, asked for by their spec or later; a test is opened once, on record."""

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from sklearn.datasets import load_digits

from descent import Client
from descent.errors import Refused
from models.answers import Job
from models.sealing import sealing_order
from models.status import RunStatus
from tests.journey.service import Service, eventually, kill

pytestmark = pytest.mark.parametrize(
    "service", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True, scope="module"
)

DIGITS: dict[str, Any] = {
    "dataset": "digits",
    "network": {"kind": "mlp", "hidden": [16]},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "budget": {"epochs": 10},
    "seeds": 3,
    "experiment": "measured",
}


@pytest.fixture(scope="module")
def job(service: Service, admin: Client) -> Job:
    service.start_worker()
    wanted = [{"kind": "sharpness", "rows": 200}, {"kind": "hessian", "rows": 200}, "calibration"]
    job = admin.wait(admin.submit(DIGITS | {"analyses": wanted}), timeout=60)
    admin.wait_for_analyses(job, timeout=60)
    return job


def test_what_a_spec_asks_for_is_measured_of_each_of_its_runs(job: Job, admin: Client) -> None:
    found = admin.analyses(job)
    assert {one.status for one in found} == {"succeeded"}
    assert [(one.seed, one.kind) for one in found] == [
        (seed, kind) for seed in range(3) for kind in ("sharpness", "hessian", "calibration")
    ]
    for one in found:
        assert all(value is not None for value in one.values.values())
        assert one.details == {}
    assert len({one.values["largest_eigenvalue"] for one in found if one.kind == "hessian"}) == 3
    (_, hessian, _) = admin.analyses(admin.runs(job)[0], details=True)
    assert hessian.details["eigenvalues"][0] == pytest.approx(hessian.values["largest_eigenvalue"])


def test_a_succeeded_run_is_measured_later_and_the_line_to_another_ends_at_both(job: Job, admin: Client) -> None:
    first, second, _ = admin.runs(job)
    admin.analyse(first, {"kind": "line", "to": second.id, "points": 4})
    admin.analyse(first, {"kind": "loss_landscape", "dimensions": 1, "points": 3, "rows": 200})
    found = {one.kind: one for one in admin.wait_for_analyses(first, timeout=60, details=True)}
    assert found["line"].details["alphas"] == [-1, 0, 1, 2]
    assert found["line"].status == found["loss_landscape"].status == "succeeded"
    assert found["loss_landscape"].values["loss"] == pytest.approx(found["sharpness"].values["loss"])


def test_a_test_is_opened_once_and_its_scores_are_those_of_the_stored_weights(job: Job, admin: Client) -> None:
    with pytest.raises(Refused, match="sealed"):
        admin.test_evaluation(job)
    opened = admin.open_test(job, opened_by="ada", reason="the journey")
    assert (opened.look, opened.opened_by, opened.runs) == (1, "ada", 3)
    scored = admin.wait_for_test(job, timeout=60)
    digits = load_digits()
    rows = sealing_order(len(digits.target))[: round(len(digits.target) * 0.2)]
    accuracies, losses = [], []
    for run in admin.runs(job):
        weights = load(admin.weights(run))
        inputs = (torch.from_numpy(digits.data[rows]).float() - weights["input_mean"]) / weights["input_scale"]
        hidden = torch.nn.functional.linear(inputs, weights["layers.0.weight"], weights["layers.0.bias"]).relu()
        outputs = torch.nn.functional.linear(hidden, weights["layers.1.weight"], weights["layers.1.bias"])
        targets = torch.from_numpy(digits.target[rows])
        accuracies.append(float((outputs.argmax(1) == targets).double().mean()))
        losses.append(float(torch.nn.functional.cross_entropy(outputs, targets)))
    assert scored.scores["test_accuracy"].mean == pytest.approx(np.mean(accuracies), abs=1e-6)
    assert scored.scores["test_accuracy"].standard_deviation == pytest.approx(np.std(accuracies, ddof=1), abs=1e-6)
    assert scored.scores["test_loss"].mean == pytest.approx(np.mean(losses), rel=1e-4)
    assert admin.open_test(job, opened_by="bob").opened_by == "ada"
    assert job.id in [look.job_id for look in admin.test_ledger()]
    assert all(one.kind != "sealed_test" for one in admin.analyses(job))


@pytest.mark.parametrize("kind", ["bagging", "boosting"])
def test_an_ensemble_is_tested_as_a_whole_beside_its_members(job: Job, admin: Client, kind: str) -> None:
    size = {"bagging": "ensemble", "boosting": "rounds"}[kind]
    evaluation = {"kind": kind, size: 5}
    weak = DIGITS | {"network": {"kind": "mlp", "hidden": [4]}, "seeds": 2, "budget": {"epochs": 5}}
    ensemble = admin.wait(admin.submit(weak | {"evaluation": evaluation}), timeout=90)
    admin.open_test(ensemble)
    scores = admin.wait_for_test(ensemble, timeout=60).scores
    assert scores["ensemble_test_accuracy"].seeds == scores["test_accuracy"].seeds == 2
    assert scores["ensemble_test_accuracy"].mean > scores["test_accuracy"].mean


def test_weights_that_are_gone_fail_their_own_run_alone(job: Job, admin: Client, service: Service) -> None:
    run = admin.runs(job)[1]
    for file in (service.folder / "storage" / "runs" / run.id).rglob("weights.safetensors"):
        file.unlink()
    admin.analyse(job, {"kind": "hessian", "rows": 64})
    ended = [one for one in admin.wait_for_analyses(job, timeout=60) if one.options.get("rows") == 64]
    assert [one.status for one in ended] == ["succeeded", "failed", "succeeded"]
    assert ended[1].status_detail == "the weights of this run are gone from storage, or damaged"


def test_what_a_killed_worker_was_measuring_is_measured_by_another(service: Service, job: Job, admin: Client) -> None:
    run = admin.runs(job)[0]
    # Long enough that nobody is done before the worker is gone.
    (asked,) = admin.analyse(run, {"kind": "loss_landscape", "points": 61, "rows": 60_000})

    def status() -> str:
        return next(one.status for one in admin.analyses(run) if one.id == asked.id)

    eventually(lambda: status() != "queued", "it is measured")
    assert status() == "running", "this machine is too fast for the test"
    kill(service.programs[-1])
    eventually(lambda: status() == "queued", "it returns")
    service.start_worker()
    eventually(lambda: status() == "succeeded", "another worker measures it")


def test_a_diverged_run_has_nothing_to_measure(service: Service, job: Job, admin: Client) -> None:
    spec = DIGITS | {"dataset": "sine", "optimizer": {"kind": "sgd", "learning_rate": 50}, "analyses": ["hessian"]}
    ended = admin.wait(admin.submit(spec | {"budget": {"steps": 200}}), timeout=60)
    assert ended.status == RunStatus.FAILED
    assert admin.analyses(ended) == []
    with pytest.raises(Refused, match="no run of this job has succeeded"):
        admin.analyse(ended, "hessian")
    with pytest.raises(Refused, match="no run of this job has succeeded"):
        admin.open_test(ended)
