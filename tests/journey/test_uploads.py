"""From the file that somebody has to a network that predicts its rows, through the whole service."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from safetensors.numpy import load

from descent import Client
from models.answers import Job
from models.status import RunStatus
from tests.datasets import cifar_file, class_folders, drawings, idx_files, passengers, zipped
from tests.journey.service import eventually
from tests.servers import http_client

FILES: dict[str, bytes] = {
    "passengers": passengers(),
    "folders": class_folders(),
    "idx": zipped(idx_files()),
    "cifar": cifar_file(),
}
TRAINING: dict[str, Any] = {"optimizer": {"kind": "adam", "learning_rate": 0.01}, "budget": {"steps": 150}, "seeds": 2}
SPECS: dict[str, dict[str, Any]] = {
    "passengers": {"dataset": {"kind": "uploaded", "id": "passengers", "missing": "impute"}},
    "folders": {
        "dataset": {"kind": "uploaded", "id": "folders"},
        "network": {"kind": "cnn", "channels": [8]},
    },
    "idx": {"dataset": {"kind": "uploaded", "id": "idx"}, "network": {"kind": "mlp", "hidden": [16]}},
    "cifar": {
        "dataset": {"kind": "uploaded", "id": "cifar", "image_size": 8, "channels": 1},
        "class_weights": "balanced",
        "evaluation": {"kind": "holdout", "stratified": True},
    },
}
CHANCE = {"passengers": 0.5, "folders": 1 / 3, "idx": 1 / 3, "cifar": 1 / 3}


@pytest.fixture(scope="module")
def http(client: Client, owner_key: str) -> Iterator[httpx2.Client]:
    with http_client(client.url, key=owner_key, timeout=60) as http:
        yield http


@pytest.fixture(scope="module")
def ended(client: Client, http: httpx2.Client) -> dict[str, Job]:
    for name, content in FILES.items():
        format = "cifar" if name == "cifar" else "auto"
        answer = http.post("/v1/datasets", params={"name": name, "format": format}, content=content)
        assert answer.status_code == 201, answer.text
    jobs = {name: client.submit(TRAINING | spec) for name, spec in SPECS.items()}
    return {name: client.wait(job, timeout=120) for name, job in jobs.items()}


@pytest.mark.parametrize("name", SPECS)
def test_a_file_of_ones_own_is_learned_from(ended: dict[str, Job], client: Client, name: str) -> None:
    assert ended[name].status is RunStatus.SUCCEEDED
    for run in client.runs(ended[name]):
        best = run.summary["validation_accuracy"].best
        assert best is not None
        assert best > CHANCE[name] + 0.25


@pytest.mark.parametrize("name", SPECS)
def test_networks_of_ones_own_data_are_measured_and_tested(ended: dict[str, Job], client: Client, name: str) -> None:
    client.analyse(ended[name], "calibration")
    client.open_test(ended[name])
    measured = client.wait_for_analyses(ended[name], timeout=60)
    assert [one.status for one in measured] == ["succeeded"] * 2
    for one, run in zip(measured, client.runs(ended[name]), strict=True):
        loss, last = one.values["negative_log_likelihood"], run.summary["validation_loss"].last
        assert loss == pytest.approx(last, rel=1e-3, abs=1e-6), "the same rows, transformed alike"
    scored = client.wait_for_test(ended[name], timeout=60)
    assert scored.failures == []
    assert scored.scores["test_accuracy"].mean > CHANCE[name] + 0.15


def predict(http: httpx2.Client, run_id: str, **body: Any) -> dict[str, Any]:
    """Ask until the predictor has come up."""
    found: list[httpx2.Response] = []

    def answered() -> bool:
        found[:] = [http.post(f"/v1/runs/{run_id}/predictions", **body)]
        return found[0].status_code != 503

    eventually(answered, "predictions are answered")
    assert found[0].status_code == 200, found[0].text
    said: dict[str, Any] = found[0].json()
    return said


def weights(client: Client, run_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors of a run, and what their header says of the data."""
    content = client.weights(run_id)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    return load(content), json.loads(header["descent.dataset"])


def probabilities(tensors: dict[str, Any], inputs: Any) -> Any:
    """What a perceptron with these weights says, by hand."""
    hidden = torch.from_numpy(np.asarray(inputs, np.float32))
    layers = len([name for name in tensors if name.endswith("weight")])
    for layer in range(layers):
        weight, bias = (torch.from_numpy(tensors[f"layers.{layer}.{part}"]) for part in ("weight", "bias"))
        hidden = hidden @ weight.T + bias
        if layer < layers - 1:
            hidden = hidden.relu()
    return hidden.softmax(1).numpy()


def test_raw_rows_are_predicted_as_the_stored_weights_do_by_hand(
    ended: dict[str, Job], client: Client, http: httpx2.Client
) -> None:
    run = client.runs(ended["passengers"])[0]
    rows = list(csv.DictReader(io.StringIO(FILES["passengers"].decode())))[:20]
    rows[3] |= {"port": "Southampton", "age": ""}
    tensors, header = weights(client, run.id)
    assert header["target"] == {"name": "survived", "classes": ["no", "yes"]}
    inputs = []
    for row in rows:
        cells: list[float] = []
        for column in header["inputs"]["columns"]:
            value: Any = row[column["name"]]
            if column["type"] == "category":
                known = column["values"]
                place = known.index(value) if value in known else column["inputs"] - 1
                cells += [float(place == number) for number in range(column["inputs"])]
                continue
            if column["type"] == "boolean":
                value = {"true": 1, "false": 0}[value]
            if column["type"] == "date":
                value = (date.fromisoformat(value) - date(1970, 1, 1)).days
            filled = float(value) if value != "" else column["fill"]
            cells.append((filled - column["mean"]) / column["scale"])
        inputs.append(cells)
    by_hand = probabilities(tensors, inputs)
    said = predict(http, run.id, json={"rows": rows})
    np.testing.assert_allclose(said["probabilities"], by_hand, rtol=1e-4, atol=1e-6)
    assert said["predictions"] == [["no", "yes"][one] for one in by_hand.argmax(1)]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    again = predict(http, run.id, content=text.getvalue(), headers={"Content-Type": "text/csv"})
    assert again == said


def test_images_are_predicted_from_their_pixels(ended: dict[str, Job], client: Client, http: httpx2.Client) -> None:
    pixels, labels = drawings(300)
    run = client.runs(ended["idx"])[0]
    tensors, header = weights(client, run.id)
    told = header["inputs"]
    inputs = (pixels.reshape(300, -1) / 255 - told["mean"][0]) / told["scale"][0]
    said = predict(http, run.id, json={"rows": pixels[:40].tolist()})
    np.testing.assert_allclose(said["probabilities"], probabilities(tensors, inputs[:40]), rtol=1e-3, atol=1e-5)
    right = np.mean([int(one) == label for one, label in zip(said["predictions"], labels[:40], strict=True)])
    assert right > 0.8


def test_what_is_not_a_row_of_the_data_is_refused_at_its_place(
    ended: dict[str, Job], client: Client, http: httpx2.Client
) -> None:
    run = client.runs(ended["passengers"])[0]
    predict(http, run.id, json={"rows": list(csv.DictReader(io.StringIO(FILES["passengers"].decode())))[:1]})
    answer = http.post(f"/v1/runs/{run.id}/predictions", json={"rows": [{"class": "first"}]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/rows/0"
    assert '"sex" is missing' in answer.json()["detail"]


def test_a_data_set_stays_as_long_as_jobs_need_it(ended: dict[str, Job], client: Client, http: httpx2.Client) -> None:
    answer = http.delete("/v1/datasets/cifar")
    assert (answer.status_code, answer.json()["detail"]) == (409, "1 job reads it: delete them first")
    client.delete(ended["cifar"])
    assert http.delete("/v1/datasets/cifar").status_code == 204
    assert http.get("/v1/datasets/cifar").status_code == 404
