"""Every kind that a spec may name trains through the whole service, and its history says what it did."""

from importlib.util import find_spec
from math import cos, pi
from typing import Any

import pytest

from descent import Client
from models.answers import Job
from models.spec.component import choices
from models.spec.families import FAMILIES
from models.spec.uploads import Stored
from models.status import RunStatus, StatusReason
from tests.components import LIST_FIELDS, REQUIREMENTS

# Classes, as some regularizers are for classes only.
BASE: dict[str, Any] = {
    "dataset": "iris",
    "network": {"kind": "mlp", "hidden": [16]},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "batch_size": 16,
    "budget": {"steps": 60},
    "seeds": 2,
}


def specs(family: str) -> dict[str, dict[str, Any]]:
    """One spec for each kind of a family, its fields left to their defaults."""
    field = LIST_FIELDS.get(family, family)
    made = {}
    for component in choices(FAMILIES[family]):
        kind = component.model_fields["kind"].default
        if kind == "pytorch_optimizer" or issubclass(component, Stored):
            continue  # only where its package is installed, or its files were uploaded
        made[kind] = BASE | {field: [kind] if family in LIST_FIELDS else kind}
        made[kind] |= REQUIREMENTS.get(kind, {})
        if kind in ("gradient_descent", "lbfgs"):
            del made[kind]["batch_size"]
    return made


@pytest.fixture(scope="module")
def trained(client: Client) -> dict[str, dict[str, Job]]:
    jobs = {family: {kind: client.submit(spec) for kind, spec in specs(family).items()} for family in FAMILIES}
    return {family: {kind: client.wait(job, timeout=60) for kind, job in each.items()} for family, each in jobs.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_a_family_trains_to_its_end(
    trained: dict[str, dict[str, Job]], client: Client, family: str
) -> None:
    assert {kind: job.status for kind, job in trained[family].items()} == dict.fromkeys(
        trained[family], RunStatus.SUCCEEDED
    )
    for kind, job in trained[family].items():
        for run in client.runs(job):
            history = client.history(run)
            assert history["train_loss"].step[-1] == run.progress.completed > 0, kind
            assert history["validation_loss"].value[-1] is not None, kind
            assert client.weights(run), kind


def test_every_analysis_that_a_spec_can_ask_for_is_made(trained: dict[str, dict[str, Job]], client: Client) -> None:
    for kind, job in trained["analysis"].items():
        found = client.wait_for_analyses(job, timeout=60)
        assert [(one.kind, one.status) for one in found] == [(kind, "succeeded")] * 2


def test_the_learning_rate_in_the_history_is_that_of_the_schedule(
    trained: dict[str, dict[str, Job]], client: Client
) -> None:
    def rates(kind: str) -> list[float | None]:
        return (
            client.history(client.runs(trained["schedule"][kind])[0], ["learning_rate"]).series["learning_rate"].value
        )

    assert rates("constant") == pytest.approx([0.01] * len(rates("constant")))
    assert rates("cosine")[-1] == pytest.approx(0.01 * (1 + cos(pi * 59 / 60)) / 2)
    assert rates("warmup")[-1] == pytest.approx(0.01 * (0.01 + 0.99 * 59 / 100))


def test_a_worker_without_the_package_of_an_optimizer_fails_the_run_and_says_what_it_lacks(
    trained: dict[str, dict[str, Job]], client: Client
) -> None:
    assert trained
    if find_spec("pytorch_optimizer") is not None:
        pytest.skip("the package is installed here")
    job = client.wait(client.submit(BASE | {"optimizer": "pytorch_optimizer"}), timeout=60)
    for run in client.runs(job):
        assert (run.status, run.status_reason) == (RunStatus.FAILED, StatusReason.ERROR)
        assert "descent[optimizers]" in (run.status_detail or "")
