"""The main journey: specs go in, training happens, an answer comes out."""

from typing import Any

import psutil
import torch
from safetensors.torch import load
from sklearn.datasets import load_digits

from descent import Client
from descent.history import History
from models.answers import Run
from models.status import RunStatus, StatusReason
from tests.journey.service import Service, train_on

SINE: dict[str, Any] = {
    "experiment": "optimizers",
    "dataset": {"kind": "sine", "noise": 0.1},
    "budget": {"steps": 1_000},
    "seeds": 6,
}


def followed(client: Client, run: Run) -> History:
    """What a poller has gathered once the run has ended."""
    history = History()
    for page in client.metrics(run):
        history.take(page)
    return history


def test_two_optimizers_are_trained_and_compared(client: Client) -> None:
    adam = client.submit({**SINE, "name": "adam", "optimizer": {"kind": "adam", "learning_rate": 0.01}})
    sgd = client.submit({**SINE, "name": "sgd", "optimizer": {"kind": "sgd", "learning_rate": 0.01}})
    assert {client.wait(job, timeout=60).status for job in (adam, sgd)} == {RunStatus.SUCCEEDED}
    comparison = client.compare([adam, sgd], claims=["adam < sgd"], score="last")
    assert comparison.verdict == "supported"
    assert [len(row["runs"]) for row in comparison.raw["table"]] == [6, 6]
    assert "optimizer" in client.report([adam, sgd], format="markdown")


def test_a_poller_that_follows_live_has_the_history_that_is_kept(client: Client) -> None:
    job = client.submit({**SINE, "optimizer": "momentum", "budget": {"steps": 4_000}, "seeds": 1})
    run = client.runs(job)[0]
    live, kept = followed(client, run), client.history(run)
    assert live.series == kept.series
    assert live["train_loss"].step == list(range(2, 4_001, 2))
    for series in live.series.values():
        assert series.step == sorted(set(series.step)), "no point comes twice"


def test_the_weights_that_are_handed_out_classify_raw_digits_in_plain_torch(client: Client) -> None:
    job = client.wait(client.submit({**SINE, "dataset": "digits", "optimizer": "adam", "seeds": 1}), timeout=60)
    run = client.runs(job)[0]
    weights = load(client.weights(run))
    digits = load_digits()
    hidden = (torch.from_numpy(digits.data).float() - weights["input_mean"]) / weights["input_scale"]
    for layer in range(3):
        hidden = torch.nn.functional.linear(hidden, weights[f"layers.{layer}.weight"], weights[f"layers.{layer}.bias"])
        hidden = hidden.relu() if layer < 2 else hidden
    right = (hidden.argmax(1).numpy() == digits.target).mean()
    # A fifth of the rows is validated on, and three fifths were trained on: all but learned by heart.
    accuracy = run.summary["validation_accuracy"].last
    assert accuracy is not None
    assert right > accuracy > 0.9


def test_predictions_are_kept_at_the_steps_that_were_asked_for(client: Client) -> None:
    spec = {**SINE, "optimizer": "adam", "seeds": 1, "record": {"snapshots": [10, 1_000]}}
    job = client.wait(client.submit(spec), timeout=60)
    early, late = client.snapshots(client.runs(job)[0])
    assert (early.step, late.step) == (10, 1_000)
    assert early.content != late.content


def test_a_run_that_diverges_ends_alone(client: Client) -> None:
    """The two jobs differ in a field that may differ inside a cohort, so they train together."""
    wild = {**SINE, "name": "wild", "optimizer": {"kind": "sgd", "learning_rate": 1e6}, "seeds": [7]}
    calm = {**SINE, "name": "calm", "optimizer": {"kind": "sgd", "learning_rate": 0.01}, "seeds": [7]}
    jobs = [client.submit(spec) for spec in (wild, calm)]
    failed, succeeded = (client.runs(client.wait(job, timeout=60))[0] for job in jobs)
    assert (failed.status, failed.status_reason) == (RunStatus.FAILED, StatusReason.DIVERGED)
    assert succeeded.status is RunStatus.SUCCEEDED
    assert succeeded.summary["validation_loss"].last is not None


def test_a_job_for_an_absent_device_waits_says_so_and_holds_nobody_up(client: Client) -> None:
    spec = {**SINE, "optimizer": "adam", "device": "cuda", "seeds": 1}
    assert any("cuda" in warning for warning in client.validate(spec).warnings)
    waiting = client.submit(spec)
    client.wait(client.submit({**SINE, "optimizer": "adam", "seeds": 1}), timeout=60)
    waiting = client.job(waiting)
    assert waiting.status is RunStatus.QUEUED
    assert any("cuda" in warning for warning in waiting.warnings)
    assert any("cuda" in warning for warning in client.queue().warnings)
    assert client.cancel(waiting).status is RunStatus.CANCELLED


def test_a_job_in_training_can_be_cancelled_and_another_one_follows(client: Client) -> None:
    budget = {"steps": 10_000_000}
    endless = client.submit({**SINE, "optimizer": "adam", "budget": budget, "execution": "eager"})
    run = client.runs(endless)[0]
    train_on(client, run, step=100)
    client.cancel(endless)
    cancelled = client.wait(endless, timeout=10)
    assert cancelled.status is RunStatus.CANCELLED
    assert followed(client, run)["train_loss"].step, "what it had reported stays"
    assert client.wait(client.submit({**SINE, "optimizer": "adam"}), timeout=60).status is RunStatus.SUCCEEDED


def test_the_api_process_carries_no_torch(lasting_service: Service) -> None:
    api, _, worker = (psutil.Process(program.pid) for program in lasting_service.programs)
    assert not [library.path for library in api.memory_maps() if "torch" in library.path]
    training = worker.children()[0]
    assert [library.path for library in training.memory_maps() if "torch" in library.path]
