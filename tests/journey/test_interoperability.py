"""What other tools read of runs that were trained through the whole service, and the pages that say how."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from descent import Client
from descent.exporting import Exported, to_mlflow, to_tensorboard
from descent.history import Series
from models.answers import Job, Run
from models.status import RunStatus, StatusReason
from tests.journey.service import eventually

# All of it goes through HTTP: what the database is makes no difference.
pytestmark = pytest.mark.parametrize("lasting_service", ["sqlite"], indirect=True, scope="module")

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
ADAM: dict[str, Any] = {"kind": "adam", "learning_rate": 0.01}
EXPORTED: dict[str, dict[str, Any]] = {
    "curves": {"dataset": "sine", "optimizer": ADAM, "budget": {"steps": 500}, "seeds": 2},
    "folds": {
        "dataset": "digits",
        "network": {"kind": "mlp", "hidden": [16]},
        "optimizer": ADAM,
        "budget": {"steps": 40},
        "evaluation": {"kind": "k_fold", "folds": 3},
    },
    "wild": {"dataset": "sine", "optimizer": {"kind": "sgd", "learning_rate": 1e6}, "budget": {"steps": 100}},
}
LOADED: dict[str, dict[str, Any]] = {
    "regression": {"dataset": "sine"},
    "scaled regression": {"dataset": "diabetes", "network": {"kind": "mlp", "hidden": [16, 8], "activation": "silu"}},
    "linear": {"dataset": "iris", "network": "linear"},
    "classification": {"dataset": "digits", "network": {"kind": "mlp", "hidden": [32]}},
    "normalized": {"dataset": "digits", "regularizers": [{"kind": "batch_norm", "epsilon": 0.01}, "dropout"]},
    "convolutional": {"dataset": "digits", "network": {"kind": "cnn", "channels": [4, 8], "kernels": [5, 3]}},
    "normalized convolutional": {"dataset": "digits", "network": "cnn", "regularizers": ["batch_norm"]},
    "series": {"dataset": "mnist1d", "network": "cnn1d"},
    "recurrent": {"dataset": "mnist1d", "network": "gru"},
    "one-way recurrent": {"dataset": "mnist1d", "network": {"kind": "gru", "bidirectional": False}},
    "residual": {"dataset": "digits", "network": {"kind": "resnet", "depth": 14, "width": 4}},
    "residual series": {"dataset": "mnist1d", "network": {"kind": "resnet", "width": 4}},
}


def python_blocks(page: str) -> list[str]:
    """In the order in which they stand there."""
    return re.findall(r"^```python\n(.*?)^```$", (PAGES / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(client: Client, owner_key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The names of somebody who follows a page in an empty folder."""
    monkeypatch.setenv("DESCENT_URL", client.url)
    monkeypatch.setenv("DESCENT_KEY", owner_key)
    monkeypatch.chdir(tmp_path)
    return {"__name__": "__main__"}


# ── MLflow, TensorBoard ──────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def ended(client: Client) -> dict[str, Job]:
    spec = {"experiment": "exported"}
    jobs = {name: client.submit(spec | {"name": name} | more) for name, more in EXPORTED.items()}
    found = {name: client.wait(job, timeout=60) for name, job in jobs.items()}
    assert [job.status for job in found.values()] == [RunStatus.SUCCEEDED, RunStatus.SUCCEEDED, RunStatus.FAILED]
    return found


@pytest.fixture(scope="module")
def folder(ended: dict[str, Job], client: Client, owner_key: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything was exported to it, twice, by the command."""
    folder = tmp_path_factory.mktemp("exported")
    command = [sys.executable, "-m", "descent", "export", "--experiment", "exported", "--json"]
    command += ["--mlflow", str(folder / "tracking"), "--tensorboard", str(folder / "events")]
    environment = {**os.environ, "DESCENT_URL": client.url, "DESCENT_KEY": owner_key}
    outcomes = []
    for _ in range(2):
        told = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        outcomes.append({tool: {one["outcome"] for one in runs} for tool, runs in json.loads(told.stdout).items()})
    assert outcomes == [
        {"mlflow": {"written"}, "tensorboard": {"written"}},
        {"mlflow": {"unchanged"}, "tensorboard": {"replaced"}},
    ]
    return folder


def runs_of(client: Client, jobs: dict[str, Job]) -> Iterator[tuple[str, Run]]:
    for name, job in jobs.items():
        for run in client.runs(job):
            yield name, run


def plain(series: Series) -> dict[int, float]:
    """Steps and values; NaN where a value was not finite."""
    return {step: math.nan if value is None else value for step, value in zip(series.step, series.value, strict=True)}


@pytest.mark.slow
def test_mlflow_reads_back_every_point_that_the_service_tells(
    folder: Path, ended: dict[str, Job], client: Client
) -> None:
    store = MlflowClient(tracking_uri=f"sqlite:///{folder / 'tracking' / 'mlflow.db'}")
    experiment = store.get_experiment_by_name("exported")
    found = {run.data.tags["descent.run_id"]: run for run in store.search_runs([experiment.experiment_id])}
    assert len(found) == len(list(runs_of(client, ended))) == 2 + 3 + 1
    for name, run in runs_of(client, ended):
        there = found[run.id]
        history = client.history(run)
        assert history.series
        for metric, series in history.series.items():
            points = store.get_metric_history(there.info.run_id, metric)
            assert len(points) == len(series.step)
            np.testing.assert_equal({point.step: point.value for point in points}, plain(series))
        for metric, summary in run.summary.items():
            assert there.data.metrics.get(f"final/{metric}") == summary.last
            assert there.data.metrics.get(f"best/{metric}") == summary.best
        assert there.data.params["optimizer.learning_rate"] == str(ended[name].spec.optimizer.learning_rate)
        assert there.data.tags["descent.spec_hash"] == ended[name].spec_hash


@pytest.mark.slow
def test_mlflow_has_the_weights_to_the_byte_and_knows_how_each_run_ended(
    folder: Path, ended: dict[str, Job], client: Client, tmp_path: Path
) -> None:
    store = MlflowClient(tracking_uri=f"sqlite:///{folder / 'tracking' / 'mlflow.db'}")
    experiment = store.get_experiment_by_name("exported")
    found = {run.data.tags["descent.run_id"]: run for run in store.search_runs([experiment.experiment_id])}
    for name, run in runs_of(client, ended):
        there = found[run.id]
        files = {file.path for file in store.list_artifacts(there.info.run_id)}
        assert files == {"spec.json", *(artifact.name for artifact in client.artifacts(run))}
        if name == "wild":
            assert there.info.status == "FAILED"
            assert there.data.tags["descent.status_reason"] == StatusReason.DIVERGED
            continue
        assert there.info.status == "FINISHED"
        copy = store.download_artifacts(there.info.run_id, "weights.safetensors", str(tmp_path))
        assert Path(copy).read_bytes() == client.weights(run)
        assert there.data.tags.get("descent.fold") == (str(run.member) if name == "folds" else None)


@pytest.mark.slow
def test_tensorboard_reads_back_every_point_that_the_service_tells(
    folder: Path, ended: dict[str, Job], client: Client
) -> None:
    for name, run in runs_of(client, ended):
        (place,) = (folder / "events" / name).glob(f"seed-{run.seed}*{run.id}")
        told: Any = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
        told.Reload()
        history = client.history(run)
        for metric, series in history.series.items():
            points = told.Scalars(metric)
            assert len(points) == len(series.step)
            np.testing.assert_equal({point.step: point.value for point in points}, plain(series))
            assert [point.wall_time for point in points] == sorted(point.wall_time for point in points)
        final = {tag.removeprefix("final/") for tag in told.Tags()["scalars"] if tag.startswith("final/")}
        assert final == {metric for metric, summary in run.summary.items() if summary.last is not None}
        spec = told.Tensors("spec")[0].tensor_proto.string_val[0]
        assert json.loads(spec) == ended[name].spec.model_dump(mode="json")


def outcomes(exported: list[Exported]) -> list[str]:
    return [one.outcome for one in exported]


def test_a_job_that_was_extended_is_written_anew_and_ends_where_it_ends_now(client: Client, tmp_path: Path) -> None:
    spec = EXPORTED["curves"] | {"name": "longer", "budget": {"steps": 200}, "seeds": 1}
    job = client.wait(client.submit(spec), timeout=60)
    assert outcomes(to_mlflow(client, job, tmp_path / "tracking")) == ["written"]
    to_tensorboard(client, job, tmp_path / "events")
    job = client.wait(client.extend(job, steps=400), timeout=60)
    (again,) = to_mlflow(client, job, tmp_path / "tracking")
    (events,) = to_tensorboard(client, job, tmp_path / "events")
    assert (again.outcome, events.outcome) == ("replaced", "replaced")
    history = client.history(client.runs(job)[0])
    store = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'tracking' / 'mlflow.db'}")
    points = store.get_metric_history(again.place, "train_loss")
    assert {point.step: point.value for point in points} == plain(history["train_loss"])
    assert max(point.step for point in points) == 400


# ── weights in plain torch ───────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def trained(client: Client) -> dict[str, Job]:
    common = {"optimizer": ADAM, "budget": {"steps": 30}, "batch_size": 32}
    jobs = {name: client.submit(common | spec) for name, spec in LOADED.items()}
    return {name: client.wait(job, timeout=120) for name, job in jobs.items()}


@pytest.fixture
def page_on_weights(reader: dict[str, Any], client: Client, trained: dict[str, Job]) -> Iterator[dict[str, Any]]:
    """The names that the page defines; what it prints is that its predictions are the service's."""
    run = client.runs(trained["regression"])[0]
    eventually(lambda: bool(client.predict(run, [[0.0]]).predictions), "the predictor answers")
    for block in python_blocks("load-weights.md"):
        exec(block.replace("client.close()", ""), reader)
    yield reader
    reader["client"].close()


def test_networks_written_out_in_plain_torch_predict_what_the_service_predicts(
    page_on_weights: dict[str, Any], client: Client, trained: dict[str, Job], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, job in trained.items():
        assert job.status is RunStatus.SUCCEEDED, name
        (run,) = client.runs(job)
        network = page_on_weights["load"](run)
        assert isinstance(network, torch.nn.Module)
        rows = 3 * torch.rand(6, job.spec.dataset.shape.features)
        said = client.predict(run, rows.tolist())
        with torch.inference_mode():
            outputs = network(rows).numpy()
        expected: Any = said.probabilities or [[value] for value in said.predictions]
        # Rounding is relative to the terms of a sum, which may cancel.
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5 * scale, err_msg=name)
        assert np.ptp(outputs, axis=0).max() > 1e-4, f"{name}: rows make a difference"


# ── a search ─────────────────────────────────────────────────────────────────────────────────────


def test_a_search_trains_what_it_keeps_and_cancels_what_it_prunes(reader: dict[str, Any], client: Client) -> None:
    first, *rest = python_blocks("drive-a-search.md")
    exec(first, reader)
    study: Any = reader["study"]
    trials = [(trial, client.job(trial.user_attrs["job"])) for trial in study.trials]
    assert {job.experiment for _, job in trials} == {"search"}
    for trial, job in trials:
        (run,) = client.runs(job)
        told = client.history(run)["validation_loss"]
        assert trial.intermediate_values == {
            step: value for step, value in zip(told.step, told.value, strict=True) if step in trial.intermediate_values
        }
        if trial.state.name == "COMPLETE":
            assert job.status is RunStatus.SUCCEEDED
            assert trial.value == told.last
            assert len(trial.intermediate_values) == len(told.step)
    study.enqueue_trial({"learning_rate": 1e-5})
    study.optimize(reader["objective"], n_trials=1)
    hopeless = study.trials[-1]
    assert hopeless.state.name == "PRUNED"
    assert client.wait(hopeless.user_attrs["job"], timeout=30).status is RunStatus.CANCELLED
    for block in rest:
        exec(block, reader)
    opened = client.wait_for_test(reader["found"])
    assert (opened.reason, opened.look, opened.evaluated) == ("the winner of the search", 1, 8)
