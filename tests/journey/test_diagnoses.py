"""Runs that go wrong, each in its way, are told apart by what they wrote down."""

from typing import Any

import pytest

from descent import Client
from descent.errors import Refused
from models.answers import Job

BASE: dict[str, Any] = {"optimizer": {"kind": "adam", "learning_rate": 0.01}, "seeds": 3}
ILL: dict[str, dict[str, Any]] = {
    "overfitting": BASE
    | {
        "dataset": "breast_cancer",
        "network": {"kind": "mlp", "hidden": [128, 128]},
        "budget": {"epochs": 150},
    },
    "underfitting": BASE | {"dataset": "spirals", "network": "linear", "budget": {"epochs": 30}},
    "diverged": BASE | {"dataset": "sine", "optimizer": {"kind": "sgd", "learning_rate": 50}, "budget": {"steps": 500}},
    "good_fit": BASE | {"dataset": "digits", "optimizer": "adam", "budget": {"epochs": 30}},
}


@pytest.fixture(scope="module")
def ended(client: Client) -> dict[str, Job]:
    jobs = {name: client.submit(spec) for name, spec in ILL.items()}
    return {name: client.wait(job, timeout=90) for name, job in jobs.items()}


@pytest.mark.parametrize("verdict", ILL)
def test_a_job_is_diagnosed(ended: dict[str, Job], client: Client, verdict: str) -> None:
    found = client.diagnosis(ended[verdict])
    assert found.verdict == verdict
    assert [run.seed for run in found.runs] == [0, 1, 2]
    for run in found.runs:
        assert client.run_diagnosis(run.run_id) == run
    if verdict == "overfitting":
        assert all(run.since_epoch is not None and run.since_epoch < 75 for run in found.runs)


def test_a_job_that_waits_is_diagnosed_too_early(client: Client) -> None:
    waiting = client.submit(ILL["good_fit"] | {"device": "cuda"})
    assert client.diagnosis(waiting).verdict == "too_early"
    client.cancel(waiting)


def test_what_there_is_not_has_no_diagnosis(client: Client) -> None:
    with pytest.raises(Refused, match="there is no job job_0"):
        client.diagnosis("job_0")
    with pytest.raises(Refused, match="there is no run run_0"):
        client.run_diagnosis("run_0")
