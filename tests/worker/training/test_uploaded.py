"""Training on data that somebody uploaded."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from api.parsing import Limits, Options, parse
from models.reading import Misreading, read
from models.sealing import sealing_order
from models.spec.evaluation import Holdout
from models.spec.job import JobSpec
from models.spec.plan import plan, prediction_numbers
from models.spec.uploads import Uploaded
from models.stored import Column, Description
from tests.datasets import passengers as passengers_csv
from tests.worker.training.conftest import Train
from tests.worker.training.torch_networks import torch_network
from tests.worker.training.uploads import images, settled, table
from worker.training import cohort_data, datasets, networks, splits
from worker.training import predictor as predictor_module
from worker.training.cost import cohort_limit, streams
from worker.training.networks import Network
from worker.training.predictor import Predictor
from worker.training.randomness import Member
from worker.training.raw_rows import RefusedRow
from worker.training.stored import StoredData

ROWS = 200


def passengers(folder: Path, rows: int = ROWS, **changes: tuple[Any, list[Any]]) -> StoredData:
    """A mixed table with holes, whose target depends on its numbers and categories."""
    draws = np.random.default_rng(1)
    age = draws.normal(30, 10, rows).round(1)
    fare = draws.exponential(30, rows).round(2)
    sex = draws.choice(["female", "male"], rows)
    port = draws.choice(["C", "Q", "S"], rows, p=[0.3, 0.1, 0.6])
    alone = draws.random(rows) < 0.5
    lived = (sex == "female") ^ (draws.random(rows) < 0.1)
    hole = draws.random(rows) < 0.2
    columns: dict[str, tuple[Any, list[Any]]] = {
        "age": ("number", [None if empty else float(x) for x, empty in zip(age, hole, strict=True)]),
        "fare": ("number", fare.tolist()),
        "sex": ("category", sex.tolist()),
        "port": ("category", [None if row == 3 else str(x) for row, x in enumerate(port)]),
        "alone": ("boolean", alone.tolist()),
        "name": ("text", [f"passenger {row}" for row in range(rows)]),
        "survived": ("integer", lived.astype(int).tolist()),
    }
    return table(folder, columns | changes)


def pictures(folder: Path, rows: int = 120, *, channels: int = 1, side: int = 8) -> StoredData:
    """Dark and light images with noise."""
    draws = np.random.default_rng(2)
    labels = draws.choice(["dark", "light"], rows)
    base = np.where(labels == "dark", 60, 180)[:, None, None, None]
    return images(
        folder,
        np.clip(base + draws.normal(0, 40, (rows, channels, side, side)), 0, 255).astype(np.uint8),
        labels.tolist(),
    )


def raw_rows(data: StoredData, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Rows as a person would write them."""
    cells = np.load(data.folder / "rows.npy")
    told = []
    for row in rows:
        one: dict[str, Any] = {}
        for place, column in enumerate(data.description.columns):
            cell = cells[row, place]
            if np.isnan(cell):
                one[column.name] = None
            elif column.type == "category":
                assert column.values is not None
                one[column.name] = column.values[int(cell)].value
            else:
                one[column.name] = float(cell)
        told.append(one)
    return told


def test_a_table_is_transformed_as_by_hand(tmp_path: Path) -> None:
    data = passengers(tmp_path)
    spec = settled(data, {"missing": "impute"})
    prepared = cohort_data.prepare([spec], [Member(0)], "cpu", stored=data)
    part = splits.split(ROWS, spec.evaluation, Member(0))
    cells = np.load(tmp_path / "rows.npy")
    expected = []
    for place in (0, 1):
        column = cells[:, place]
        mean, deviation = np.nanmean(column[part.training]), np.nanstd(column[part.training])
        expected.append((np.where(np.isnan(column), mean, column) - mean) / deviation)
    expected += [cells[:, 2] == 0, cells[:, 2] == 1, cells[:, 2] == 9]
    port = cells[:, 3]
    expected += [port == 0, port == 1, port == 2, np.isnan(port)]
    alone = cells[:, 4]
    expected.append((alone - alone[part.training].mean()) / alone[part.training].std())
    wanted = np.stack(expected, 1)
    assert spec.dataset.shape.features == wanted.shape[1] == 10
    np.testing.assert_allclose(prepared.training.inputs[0, :, :-1], wanted[part.training], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(prepared.validation.inputs[0, :, :-1], wanted[part.validation], rtol=1e-5, atol=1e-6)
    assert (prepared.training.inputs[..., -1] == 1).all()
    assert prepared.training.targets[0].argmax(1).tolist() == cells[part.training, 6].tolist()


def test_what_stands_in_sealed_rows_changes_nothing_that_is_fitted(tmp_path: Path, train_runs: Train) -> None:
    data = passengers(tmp_path / "before")
    spec = settled(data, {"missing": "impute"})
    sealed = sealing_order(ROWS)[: spec.evaluation.sealed(ROWS)]
    age = [9_999.0 if row in sealed else 20.0 + row % 30 for row in range(ROWS)]
    quiet = [20.0 + row % 30 for row in range(ROWS)]
    port = ["unheard of" if row in sealed else "CQS"[row % 3] for row in range(ROWS)]
    calm = ["CQS"[row % 3] for row in range(ROWS)]
    one = passengers(tmp_path / "one", age=("number", quiet), port=("category", calm))
    other = passengers(tmp_path / "other", age=("number", age), port=("category", port))
    heard = []
    for data in (one, other):
        spec = settled(data, {"missing": "impute"})
        assert spec.dataset.shape.features == 10
        heard.append(train_runs(spec, [0, 1], stored=data).bits(1))
    assert heard[0] == heard[1]


def test_a_value_that_no_training_row_has_counts_as_unseen(tmp_path: Path) -> None:
    evaluation = Holdout()
    part = splits.split(ROWS, evaluation, Member(0))
    rare = part.validation[0]
    port = ["rare" if row == rare else "CS"[row % 2] for row in range(ROWS)]
    data = passengers(tmp_path, port=("category", port), age=("number", [1.0 * row for row in range(ROWS)]))
    spec = settled(data, {"features": ["port"]})
    prepared = cohort_data.prepare([spec], [Member(0)], "cpu", stored=data)
    # C, S, an input for the value that some other seed may train on, and the unseen.
    assert prepared.validation.inputs[0, 0].tolist() == [0, 0, 0, 1, 1]
    assert prepared.transformations is not None
    assert prepared.transformations[0].description() == {
        "layout": "table",
        "columns": [{"name": "port", "type": "category", "values": ["C", "S"], "inputs": 4}],
    }


@pytest.mark.parametrize("missing", ["refuse", "drop", "impute"])
def test_empty_cells_are_refused_dropped_or_filled(tmp_path: Path, missing: str, train_runs: Train) -> None:
    data = passengers(tmp_path)
    empty = np.isnan(np.load(tmp_path / "rows.npy")[:, [0, 3]]).any(1)
    if missing == "refuse":
        with pytest.raises(Misreading, match=r'"age" .*"port" 1; "impute" fills') as refused:
            settled(data)
        assert refused.value.pointer == "/dataset/missing"
        return
    spec = settled(data, {"missing": missing})
    assert spec.dataset.shape.rows == (ROWS if missing == "impute" else ROWS - empty.sum())
    heard = train_runs(spec, [0], stored=data)
    assert heard.values(0, "validation_accuracy")[-1] > 0.7


@pytest.mark.parametrize(
    ("dataset", "pointer", "reason"),
    [
        ({"target": "surname"}, "/dataset/target", 'there is no column "surname"'),
        ({"target": "name"}, "/dataset/target", "is text of 200 different values"),
        ({"target": "age", "missing": "impute"}, "/dataset/missing", 'which is the target: "drop" leaves them out'),
        ({"target": "fare", "task": "classification"}, "/dataset/task", "too many values to be classes"),
        ({"target": "sex", "task": "regression"}, "/dataset/task", "is a category"),
        ({"features": ["age", "survived"]}, "/dataset/features/1", "is the target"),
        ({"features": ["fare", "fare"]}, "/dataset/features/1", "stands twice"),
        ({"features": ["fare", "name"]}, "/dataset/features/1", "is text"),
        ({"features": ["pclass"]}, "/dataset/features/0", 'there is no column "pclass"'),
    ],
)
def test_a_spec_that_misreads_its_data_is_refused_at_its_place(
    tmp_path: Path, dataset: dict[str, Any], pointer: str, reason: str
) -> None:
    data = passengers(tmp_path)
    with pytest.raises(Misreading) as refused:
        settled(data, dataset)
    assert refused.value.pointer == pointer
    assert reason in str(refused.value)


def test_the_time_to_read_a_wide_table_grows_with_its_columns_and_not_with_their_square() -> None:
    names = [f"column_{place}" for place in range(10_000)]
    columns = tuple(Column(name=name, type="number", missing=0) for name in names)
    description = Description(format="csv", layout="table", rows=100, columns=columns)
    started = time.process_time()
    reading = read(description, Uploaded(id="wide", target=names[0], features=tuple(names[2:])), Holdout())
    assert time.process_time() - started < 0.5, "0.02 s, against 2.5 s with a search per column"
    assert [feature.name for feature in reading.features] == names[2:]
    assert reading.left_out == {names[1]: "not among the features"}


def test_one_class_is_refused(tmp_path: Path) -> None:
    data = passengers(tmp_path, survived=("integer", [1] * ROWS))
    with pytest.raises(Misreading, match='every row\'s "survived" is "1"'):
        settled(data, {"missing": "impute"})


def test_a_target_is_guessed_by_its_name_or_its_place(tmp_path: Path) -> None:
    data = passengers(tmp_path)
    uploaded = Uploaded(id="x", missing="impute")
    reading = read(data.description, uploaded, Holdout())
    assert (reading.target.name, reading.task, reading.classes) == ("survived", "classification", ("0", "1"))
    assert reading.left_out == {"name": "text of 200 different values"}
    named = passengers(tmp_path, Label=("number", [0.5 * row for row in range(ROWS)]), last=("integer", [1] * ROWS))
    reading = read(named.description, uploaded, Holdout())
    assert (reading.target.name, reading.task) == ("Label", "regression")


STREAMED: list[tuple[str, dict[str, Any]]] = [
    ("table", {}),
    ("table", {"evaluation": {"kind": "bagging", "ensemble": 2}}),
    ("images", {"network": {"kind": "cnn", "channels": [4]}, "regularizers": ["augmentation"]}),
    ("images", {"evaluation": {"kind": "k_fold", "folds": 3}, "network": "linear"}),
]


@pytest.mark.parametrize(("kind", "changes"), STREAMED)
def test_rows_read_from_disk_train_to_the_same_bits(
    tmp_path: Path, train_runs: Train, kind: str, changes: dict[str, Any]
) -> None:
    data = passengers(tmp_path) if kind == "table" else pictures(tmp_path)
    dataset = {"missing": "impute"} if kind == "table" else {}
    spec = settled(data, dataset, batch_size=16, record={"evaluate_every": 20, "snapshots": [40]}, **changes)
    members = [Member(0, n) for n in range(2)] if spec.evaluation.members > 1 else [Member(0), Member(1)]
    resident = train_runs(spec, members, stored=data)
    streamed = train_runs(spec, members, stored=data, memory_bytes=1)
    for row in range(2):
        assert streamed.bits(row) == resident.bits(row)
        assert streamed.snapshots[row] == resident.snapshots[row]


def weights_of(spec: JobSpec, heard: Any, row: int = 0) -> tuple[dict[str, NDArray[np.float32]], str | None]:
    """As they come out of the file."""
    ending = heard.endings[row]
    content = save(dict(ending.weights))
    return load(content), json.dumps(ending.description) if ending.description else None


def test_a_network_predicts_raw_rows_as_its_weights_do_by_hand(tmp_path: Path, train_runs: Train) -> None:
    data = passengers(tmp_path)
    spec = settled(data, {"missing": "impute"}, regularizers=["batch_norm"])
    heard = train_runs(spec, [0], stored=data)
    tensors, header = weights_of(spec, heard)
    rows = raw_rows(data, np.arange(50))
    rows[7] |= {"sex": "neither", "age": "41.5"}
    said = Predictor(spec, tensors, header).predict(rows)
    assert (said.target, said.classes) == ("survived", ["0", "1"])
    assert header is not None
    columns = json.loads(header)["inputs"]["columns"]
    inputs = np.zeros((50, 10), np.float64)
    for number, row in enumerate(rows):
        place = 0
        for column in columns:
            value = row[column["name"]]
            if column["type"] == "category":
                known = column["values"].index(value) if value in column["values"] else column["inputs"] - 1
                inputs[number, place + known] = 1
                place += column["inputs"]
            else:
                filled = column["fill"] if value is None else float(value)
                inputs[number, place] = (filled - column["mean"]) / column["scale"]
                place += 1
    module = torch_network(spec)
    module.load(tensors)
    module.eval()
    with torch.no_grad():
        by_hand = module(torch.from_numpy(inputs.astype(np.float32))).softmax(1)
    np.testing.assert_allclose(said.outputs, by_hand, rtol=1e-4, atol=1e-6)


NETWORKS: list[tuple[str, Any]] = [
    ("digits", "linear"),
    ("digits", {"kind": "mlp", "hidden": [8, 8]}),
    ("digits", {"kind": "cnn", "channels": [4, 4]}),
    ("digits", "resnet"),
    ("mnist1d", "cnn1d"),
    ("mnist1d", "gru"),
    ("diabetes", "mlp"),
    ("sine", "mlp"),
]


@pytest.mark.parametrize(("dataset", "network"), NETWORKS)
def test_every_network_is_found_again_in_its_weights(dataset: str, network: Any, train_runs: Train) -> None:
    spec = JobSpec.model_validate(
        {
            "dataset": dataset,
            "network": network,
            "optimizer": "adam",
            "budget": {"steps": 20},
            "batch_size": 32,
            "evaluation": {"kind": "bagging", "ensemble": 2},
        }
    )
    heard = train_runs(spec, [Member(0, 0)])
    stored = heard.endings[0].predictions
    assert stored is not None
    rows = datasets.load(spec.dataset).inputs[stored["rows"][:100]]
    said = Predictor(spec, *weights_of(spec, heard)).predict(rows.tolist())
    np.testing.assert_allclose(said.outputs, stored["outputs"][:100], rtol=1e-4, atol=1e-5)


def test_a_network_of_many_activations_predicts_fewer_rows_at_once(
    train_runs: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = JobSpec.model_validate(
        {"dataset": "digits", "network": {"kind": "cnn", "channels": [8]}, "optimizer": "adam", "budget": {"steps": 20}}
    )
    weights = weights_of(spec, train_runs(spec, [0]))
    rows = datasets.load(spec.dataset).inputs[:100].tolist()
    together = Predictor(spec, *weights).predict(rows)
    bound: list[int] = []
    bind = Network.bind

    def observed(network: Network, theta: Any, gradient: Any, rows: int, averages: Any) -> Any:
        bound.append(rows)
        return bind(network, theta, gradient, rows, averages)

    monkeypatch.setattr(Network, "bind", observed)
    monkeypatch.setattr(predictor_module, "CHUNK_NUMBERS", 30 * prediction_numbers(spec))
    np.testing.assert_allclose(Predictor(spec, *weights).predict(rows).outputs, together.outputs, rtol=1e-5)
    assert bound == [30, 30, 30, 10]
    bound.clear()
    monkeypatch.setattr(predictor_module, "CHUNK_NUMBERS", 1)
    Predictor(spec, *weights).predict(rows[:3])
    assert bound == [1, 1, 1]


@pytest.mark.parametrize(("channels", "dataset"), [(3, {"channels": 1, "image_size": 3}), (1, {"channels": 3})])
def test_images_change_channels_and_size(tmp_path: Path, channels: int, dataset: dict[str, Any]) -> None:
    data = pictures(tmp_path, channels=channels)
    spec = settled(data, dataset)
    prepared = cohort_data.prepare([spec], [Member(0)], "cpu", stored=data)
    part = splits.split(120, spec.evaluation, Member(0))
    pixels = np.load(tmp_path / "rows.npy").reshape(120, channels, 8, 8) / 255
    if channels == 3:
        gray = np.tensordot(pixels, [0.299, 0.587, 0.114], (1, 0))
        # Eight pixels on three: each new one covers 8/3 of the old ones.
        cover = np.array([[1, 1, 2 / 3, 0, 0, 0, 0, 0], [0, 0, 1 / 3, 1, 1, 1 / 3, 0, 0], [0, 0, 0, 0, 0, 2 / 3, 1, 1]])
        expected = np.einsum("ai,nij,bj->nab", cover, gray, cover)[:, None] * 9 / 64
    else:
        expected = np.repeat(pixels, 3, 1)
    learned = expected[part.training]
    mean, deviation = learned.mean((0, 2, 3), keepdims=True), learned.std((0, 2, 3), keepdims=True)
    wanted = ((expected - mean) / deviation).reshape(120, -1)
    assert spec.dataset.shape.grid == expected.shape[1:]
    np.testing.assert_allclose(prepared.training.inputs[0, :, :-1], wanted[part.training], rtol=1e-4, atol=1e-4)


def test_pixels_lie_between_zero_and_one_unless_they_are_standardized(tmp_path: Path) -> None:
    data = pictures(tmp_path)
    spec = settled(data, {"standardize": False})
    inputs = cohort_data.prepare([spec], [Member(0)], "cpu", stored=data).training.inputs
    assert 0 <= inputs[..., :-1].min() < 0.3
    assert 0.7 < inputs[..., :-1].max() <= 1


@pytest.mark.parametrize(
    ("row", "pointer", "reason"),
    [
        ([1, 2], "/rows/0", "must be an object"),
        ({"age": 3}, "/rows/0", '"fare" is missing'),
        ({"age": "old", "fare": 1, "sex": "male", "port": "C", "alone": True}, "/rows/0/age", "must be a number"),
        ({"age": 1, "fare": "inf", "sex": "male", "port": "C", "alone": True}, "/rows/0/fare", "must be a finite"),
        ({"age": 1, "fare": 1, "sex": "male", "port": "C", "alone": "maybe"}, "/rows/0/alone", "must be true or false"),
    ],
)
def test_a_raw_row_that_does_not_fit_is_refused(
    tmp_path: Path, train_runs: Train, row: Any, pointer: str, reason: str
) -> None:
    data = passengers(tmp_path)
    spec = settled(data, {"missing": "impute"}, budget={"steps": 1})
    predictor = Predictor(spec, *weights_of(spec, train_runs(spec, [0], stored=data)))
    with pytest.raises(RefusedRow, match=reason) as refused:
        predictor.predict([row])
    assert refused.value.pointer == pointer


def test_dates_are_days(tmp_path: Path, train_runs: Train) -> None:
    days = [18_000.0 + row for row in range(ROWS)]
    data = table(tmp_path, {"day": ("date", days), "y": ("number", [3 * day for day in days])})
    spec = settled(data)
    predictor = Predictor(spec, *weights_of(spec, train_runs(spec, [0], stored=data)))
    one, other = predictor.predict([{"day": "2020-01-01"}, {"day": 18_262}]).outputs
    assert one == other
    noon, later = predictor.predict(
        [{"day": "2020-01-01T12:00:00+00:00"}, {"day": "2020-01-01T14:00:00+02:00"}]
    ).outputs
    assert noon == later != one


def test_balanced_classes_weigh_the_same_as_torch_weighs_them(tmp_path: Path, train_runs: Train) -> None:
    rare = [int(row % 10 == 0) for row in range(ROWS)]
    data = passengers(tmp_path, survived=("integer", rare))
    spec = settled(
        data,
        {"missing": "impute"},
        class_weights="balanced",
        network="linear",
        optimizer={"kind": "gradient_descent", "learning_rate": 0.1},
        budget={"steps": 30},
        regularizers=[{"kind": "label_smoothing", "smoothing": 0.1}],
    )
    heard = train_runs(spec, [0], stored=data)
    prepared = cohort_data.prepare([spec], [Member(0)], "cpu", stored=data)
    inputs, classes = prepared.training.inputs[0, :, :-1], prepared.training.targets[0].argmax(1)
    weight = len(classes) / (2 * torch.bincount(classes))
    loss = torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=0.1, reduction="sum")
    module = torch_network(spec)
    built = networks.build(spec)
    module.load(built.named(torch.from_numpy(built.initial(0))))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        (loss(module(inputs), classes) / len(classes)).backward()
        optimizer.step()
    for name, parameter in module.named_parameters():
        np.testing.assert_allclose(heard.weights(0)[name], parameter.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["holdout", "bootstrap", "bagging", "boosting"])
def test_stratified_splits_have_their_share_of_each_class(kind: str) -> None:
    spec = JobSpec.model_validate(
        {"dataset": "iris", "optimizer": "adam", "evaluation": {"kind": kind, "validation": 0.3, "stratified": True}}
    )
    classes = np.array([0] * 100 + [1] * 37 + [2] * 13)
    evaluation = spec.evaluation
    sealed = splits.test_rows(150, evaluation)
    rest = np.setdiff1d(np.arange(150), sealed)
    seen = set()
    for seed in range(5):
        part = splits.split(150, evaluation, Member(seed), classes)
        assert sorted([*part.pool, *part.validation]) == rest.tolist()
        for number in range(3):
            share = (classes[rest] == number).sum() * len(part.validation) / len(rest)
            assert abs((classes[part.validation] == number).sum() - share) < 1
        seen.add(tuple(part.validation))
    assert len(seen) == 5


def test_what_does_not_fit_in_memory_is_read_from_disk(tmp_path: Path) -> None:
    data = pictures(tmp_path, rows=2_000)
    spec = settled(data, network="linear", batch_size=16)
    counted = plan(spec)
    assert counted.streamable_bytes == 4 * 1_600 * 64
    assert counted.least_bytes == counted.memory_bytes - counted.streamable_bytes
    assert not streams(spec, counted.memory_bytes)
    assert streams(spec, counted.memory_bytes - 1)
    # Whoever reads from disk has room for more company than their rows would leave.
    assert cohort_limit(spec, device="cpu", threads=1, memory_bytes=counted.memory_bytes) == 1
    few = 2 * counted.least_bytes
    assert few < counted.memory_bytes
    assert cohort_limit(spec, device="cpu", threads=1, memory_bytes=few) == 2
    whole = spec.model_copy(update={"batch_size": "full"})
    assert not streams(whole, 1)


def test_a_published_set_trains_under_its_name(tmp_path: Path, train_runs: Train) -> None:
    draws = np.random.default_rng(3)
    labels = draws.integers(0, 10, 70_000)
    pixels = draws.integers(0, 100, (70_000, 1, 28, 28), dtype=np.uint8)
    pixels[np.arange(70_000), 0, labels * 2, 14] = 255
    data = images(tmp_path, pixels, [str(label) for label in labels])
    spec = JobSpec.model_validate(
        {"dataset": "mnist", "network": "linear", "optimizer": {"kind": "adam"}, "budget": {"steps": 300}}
    )
    heard = train_runs(spec, [0], stored=data)
    assert heard.values(0, "validation_accuracy")[-1] > 0.5


def test_not_even_the_parser_lets_sealed_rows_through(tmp_path: Path, train_runs: Train) -> None:
    lines = passengers_csv(300).decode().splitlines()
    cells = [line.split(",") for line in lines[1:]]  # the name is the first two
    sealed = sealing_order(300)[: Holdout().sealed(300)]
    for row in sealed:
        # Another class of cabin, an age that nobody reaches, a fraction of a year, a port that there is not.
        cells[row][2:6] = ["steerage", cells[row][3], "999.5", "1e6"]
        cells[row][8] = "X"
    heard = []
    for number, text in enumerate(("\n".join(lines), "\n".join([lines[0], *map(",".join, cells)]))):
        upload, folder = tmp_path / f"upload{number}", tmp_path / f"made{number}"
        upload.write_text(text, encoding="utf-8")
        folder.mkdir()
        data = StoredData("dataset_x", folder, parse(upload, folder, Options(), Limits()).description)
        spec = settled(data, {"missing": "impute", "target": "survived"}, batch_size=16)
        heard.append(train_runs(spec, [0, 1], stored=data).bits(1))
    assert heard[0] == heard[1]
