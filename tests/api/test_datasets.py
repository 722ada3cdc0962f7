import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from api import planning, uploads
from api.app import create_app
from api.errors import Refusal
from models.database import Database
from models.reading import Reading, read
from models.settings import Settings
from models.spec.evaluation import Evaluation
from models.spec.uploads import Uploaded
from models.stored import Description
from models.tables import Dataset
from tests.datasets import class_folders, idx_files, passengers, zipped
from tests.servers import http_client, running_api

CSV = b"height,color,label\n1.5,red,0\n2.5,blue,1\n,red,0\n4.5,blue,1\n"


def upload(api: httpx2.Client, content: bytes, **parameters: Any) -> httpx2.Response:
    return api.post("/v1/datasets", params=parameters, content=content)


def test_an_upload_is_described_listed_and_looked_into(api: httpx2.Client) -> None:
    answer = upload(api, CSV, name="heights")
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["location"] == f"/v1/datasets/{made['id']}"
    assert (made["name"], made["format"], made["rows"], made["layout"]) == ("heights", "csv", 4, "table")
    height, color, label = made["columns"]
    assert (height["type"], height["missing"], height["minimum"], height["maximum"]) == ("number", 1, 1.5, 4.5)
    assert (color["type"], [(v["value"], v["count"]) for v in color["values"]]) == (
        "category",
        [("blue", 2), ("red", 2)],
    )
    assert (label["type"], [(v["value"], v["count"]) for v in label["values"]]) == ("integer", [("0", 2), ("1", 2)])
    assert api.get("/v1/datasets/heights").json() == made == api.get(f"/v1/datasets/{made['id']}").json()
    listed = api.get("/v1/datasets").json()["data"]
    assert [one["id"] for one in listed] == [made["id"]]
    preview = api.get("/v1/datasets/heights/preview").json()
    assert preview["columns"] == made["columns"]
    assert preview["rows"] == [[1.5, "red", 0], [2.5, "blue", 1], [None, "red", 0], [4.5, "blue", 1]]


def test_the_same_bytes_twice_are_one_data_set_that_keeps_its_name(api: httpx2.Client) -> None:
    first = upload(api, CSV, name="heights")
    again = upload(api, CSV, name="other")
    assert (again.status_code, again.json()) == (200, first.json())
    assert upload(api, CSV, format="csv").status_code == 200
    assert len(api.get("/v1/datasets").json()["data"]) == 1


def test_a_name_belongs_to_one_data_set(api: httpx2.Client) -> None:
    made = upload(api, CSV, name="heights").json()
    answer = upload(api, CSV + b"5.5,red,1\n", name="heights")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:descent:problem:name_taken"
    assert made["id"] in answer.json()["detail"]


def test_data_sets_of_the_same_bytes_are_the_same_everywhere(
    api: httpx2.Client, settings: Settings, tmp_path: Path
) -> None:
    made = upload(api, CSV, name="heights").json()
    assert api.delete("/v1/datasets/heights").status_code == 204
    assert list((tmp_path / "storage").rglob("*.npy")) == []
    assert upload(api, CSV).json()["id"] == made["id"]


def test_images_have_thumbnails(api: httpx2.Client) -> None:
    made = upload(api, class_folders(30), name="bars").json()
    assert (made["layout"], made["grid"], made["format"]) == ("grid", [3, 12, 12], "images")
    assert [value["value"] for value in made["columns"][0]["values"]] == ["left", "middle", "right"]
    thumbnails = api.get("/v1/datasets/bars/preview").json()["thumbnails"]
    assert {one["label"] for one in thumbnails} == {"left", "middle", "right"}
    assert all(one["png"].startswith("iVBOR") for one in thumbnails)


def test_validation_says_what_the_data_are_taken_for(api: httpx2.Client) -> None:
    made = upload(api, passengers(), name="passengers").json()
    spec = {"dataset": {"kind": "uploaded", "id": "passengers", "missing": "impute"}, "optimizer": "adam"}
    answer = api.post("/v1/jobs/validate", json=spec)
    assert answer.status_code == 200, answer.text
    planned = answer.json()
    read = planned["dataset"]
    assert (read["id"], read["name"], read["task"], read["target"]) == (
        made["id"],
        "passengers",
        "classification",
        "survived",
    )
    assert read["classes"] == ["no", "yes"]
    assert {one["name"]: (one["type"], one["inputs"]) for one in read["features"]} == {
        "class": ("category", 3),
        "sex": ("category", 3),
        "age": ("integer", 1),
        "fare": ("number", 1),
        "boarded": ("date", 1),
        "alone": ("boolean", 1),
        "port": ("category", 4),
    }
    assert read["left_out"] == {"name": "text of 400 different values"}
    assert '"name" is left out: text of 400 different values' in planned["warnings"]
    assert planned["spec"]["dataset"]["id"] == made["id"]
    assert planned["spec"]["dataset"]["found"]["features"] == 14
    # What came back can be sent again.
    again = api.post("/v1/jobs/validate", json=planned["spec"]).json()
    assert again["spec_hash"] == planned["spec_hash"]


@pytest.mark.parametrize(
    ("dataset", "pointer", "reason"),
    [
        ({"id": "titanic"}, "/dataset/id", 'there is no data set "titanic"'),
        ({"id": "passengers"}, "/dataset/missing", '"impute" fills them'),
        ({"id": "passengers", "target": "survival"}, "/dataset/target", 'there is no column "survival"'),
        ({"id": "passengers", "target": "name"}, "/dataset/target", "nothing can be learned to predict it"),
        ({"id": "passengers", "target": "age", "missing": "impute"}, "/dataset/missing", '"drop" leaves them out'),
        ({"id": "passengers", "image_size": 0}, "/dataset/image_size", "greater than or equal to 1"),
    ],
)
def test_a_spec_that_does_not_fit_its_data_is_refused_at_its_place(
    lasting_api: httpx2.Client, dataset: dict[str, Any], pointer: str, reason: str
) -> None:
    upload(lasting_api, passengers(), name="passengers")
    spec = {"dataset": {"kind": "uploaded"} | dataset, "optimizer": "adam"}
    for path in ("/v1/jobs/validate", "/v1/jobs"):
        answer = lasting_api.post(path, json=spec)
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == pointer
        assert reason in error["detail"]


def test_what_does_not_fit_the_task_is_refused_once_the_data_are_known(lasting_api: httpx2.Client) -> None:
    upload(lasting_api, passengers(), name="passengers")
    spec = {
        "dataset": {"kind": "uploaded", "id": "passengers", "missing": "impute"},
        "optimizer": "adam",
        "loss": "mse",
        "network": "cnn",
    }
    answer = lasting_api.post("/v1/jobs/validate", json=spec)
    assert 'has classes: take "cross_entropy"' in answer.json()["detail"]
    answer = lasting_api.post("/v1/jobs/validate", json=spec | {"loss": "auto"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/network")


def test_a_sweep_reads_an_uploaded_data_set_and_blames_the_grid_for_what_misreads_it(
    lasting_api: httpx2.Client,
) -> None:
    upload(lasting_api, passengers(), name="passengers")
    base = {"dataset": {"kind": "uploaded", "id": "passengers"}, "optimizer": "adam", "budget": {"steps": 10}}
    grid = {"dataset.missing": ["impute", "drop", "refuse"]}
    answer = lasting_api.post("/v1/sweeps", json={"base": base, "grid": grid})
    assert answer.json()["errors"][0]["pointer"] == "/grid/dataset.missing/2"
    answer = lasting_api.post("/v1/sweeps", json={"base": base, "grid": {"dataset.missing": ["impute", "drop"]}})
    assert answer.status_code == 202
    jobs = lasting_api.get("/v1/jobs", params={"sweep": answer.json()["id"], "sort": "oldest"}).json()["data"]
    rows = [job["spec"]["dataset"]["found"]["rows"] for job in jobs]
    assert rows[0] == 400 > rows[1]


def test_a_published_set_is_known_once_its_files_were_uploaded(api: httpx2.Client, database: Database) -> None:
    spec = {"dataset": "mnist", "optimizer": "adam"}
    answer = api.post("/v1/jobs/validate", json=spec)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/dataset"
    assert "upload the four original files" in answer.json()["detail"]
    made = upload(api, zipped(idx_files(30)), name="not mnist").json()
    assert (made["known"], made["format"], made["rows"]) == (None, "idx", 30)
    assert api.post("/v1/jobs/validate", json=spec).status_code == 422
    with database.write() as session:
        # As if these were the bytes that the whole world has.
        session.execute(update(Dataset).values(known="mnist"))
    planned = api.post("/v1/jobs/validate", json=spec).json()
    assert planned["dataset"]["id"] == made["id"]
    assert planned["spec"]["dataset"] == {"kind": "mnist", "standardize": True}
    assert api.post("/v1/jobs", json=spec).status_code == 202
    assert api.delete(f"/v1/datasets/{made['id']}").status_code == 409


@pytest.fixture
def narrow_api(settings_on_sqlite: Settings, tmp_path: Path) -> Iterator[httpx2.Client]:
    """One that takes little."""
    settings = settings_on_sqlite.model_copy(
        update={"max_upload_bytes": 100_000, "max_dataset_rows": 100, "scratch_dir": str(tmp_path / "scratch")}
    )
    with running_api(create_app(settings)) as url, http_client(url, timeout=30) as client:
        yield client


def test_a_body_beyond_the_limit_is_refused_and_nothing_of_it_stays(narrow_api: httpx2.Client, tmp_path: Path) -> None:
    answer = upload(narrow_api, b"a,b\n" + b"1,2\n" * 50_000)
    assert (answer.status_code, answer.json()["detail"]) == (413, "a body may have at most 100,000 bytes")
    answer = upload(narrow_api, b"a,b\n" + b"1,2\n" * 101)
    assert answer.status_code == 422
    assert "100" in answer.json()["detail"]
    assert upload(narrow_api, b"a,b\n" + b"1,2\n" * 100).status_code == 201
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_empty_body_is_refused(lasting_api: httpx2.Client) -> None:
    answer = upload(lasting_api, b"")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "empty")


def test_the_jobs_of_a_sweep_read_their_data_set_once(
    lasting_api: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, _, rows = CSV.partition(b"\n")
    assert upload(lasting_api, header + b"\n" + 10 * rows, name="swept").status_code == 201
    readings: list[Uploaded] = []

    def counted(description: Description, dataset: Uploaded, evaluation: Evaluation) -> Reading:
        readings.append(dataset)
        return read(description, dataset, evaluation)

    monkeypatch.setattr(planning, "read", counted)
    base = {
        "dataset": {"kind": "uploaded", "id": "swept", "missing": "drop"},
        "optimizer": "adam",
        "batch_size": "full",
    }
    answer = lasting_api.post("/v1/sweeps", json={"base": base, "grid": {"optimizer.learning_rate": [0.1, 0.2, 0.3]}})
    assert answer.status_code == 202, answer.text
    assert len(readings) == 1
    grid = {"dataset.missing": ["drop", "impute"], "optimizer.learning_rate": [0.1, 0.2]}
    answer = lasting_api.post("/v1/sweeps", json={"base": base, "grid": grid})
    query = {"sweep": answer.json()["id"], "sort": "oldest"}
    jobs = lasting_api.get("/v1/jobs", params=query).json()["data"]
    assert [job["spec"]["dataset"]["missing"] for job in jobs] == ["drop", "drop", "impute", "impute"]
    assert len(readings) == 3


def test_predictions_need_a_run_that_has_succeeded_and_someone_who_answers(
    settings_on_sqlite: Settings,
) -> None:
    settings = settings_on_sqlite.model_copy(update={"prediction_seconds": 0.5})
    with running_api(create_app(settings)) as url, http_client(url, timeout=30) as api:
        assert api.post("/v1/runs/run_0/predictions", json={"rows": [[1]]}).status_code == 404
        job = api.post("/v1/jobs", json={"dataset": "sine", "optimizer": "adam"}).json()
        run = api.get(f"/v1/jobs/{job['id']}/runs").json()["data"][0]
        answer = api.post(f"/v1/runs/{run['id']}/predictions", json={"rows": [[1]]})
        assert answer.status_code == 409
        assert "it predicts once it has succeeded" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "reason"),
    [
        (b"{", "application/json", 400, "not JSON"),
        (b'{"rows": []}', "application/json", 422, "at least 1 item"),
        (b'{"rows": [3]}', "application/json", 422, ""),
        (b"rows", "text/plain", 415, "application/json, or text/csv"),
        (b"a,b\n1\n", "text/csv", 422, "has not the 2 cells"),
        (b"a,b\n1,2,3\n", "text/csv", 422, "has not the 2 cells"),
        (b"a,b\n", "text/csv", 422, "no row below the header"),
        (b"a,b\n\xff,1\n", "text/csv", 422, "not UTF-8"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(
    lasting_api: httpx2.Client, content: bytes, kind: str, status: int, reason: str
) -> None:
    answer = lasting_api.post("/v1/runs/run_0/predictions", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert reason in answer.json()["detail"]


def test_many_who_upload_the_same_bytes_at_once_get_one_data_set(api: httpx2.Client, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda number: upload(api, CSV, name=f"heights {number}"), range(6)))
    assert {answer.status_code for answer in made} <= {200, 201}
    assert len({answer.json()["id"] for answer in made}) == 1
    assert len(api.get("/v1/datasets").json()["data"]) == 1
    (file,) = [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]
    assert (file.parent.name, file.name) == (made[0].json()["id"], "rows.npy")


def test_of_many_who_want_one_name_for_different_bytes_one_gets_it(api: httpx2.Client, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        contents = [CSV + b"1.0,red,%d\n" % number for number in range(4)]
        made = list(pool.map(lambda content: upload(api, content, name="heights"), contents))
    assert sorted(answer.status_code for answer in made) == [201, 409, 409, 409]
    assert len([path for path in (tmp_path / "storage").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("number", [ENOSPC, EDQUOT])
def test_a_full_disk_is_told_as_what_it_is(settings_on_sqlite: Settings, number: int) -> None:
    async def fill() -> None:
        async with uploads.scratch(settings_on_sqlite) as folder:
            (folder / "upload").write_bytes(b"some")
            seen.append(folder)
            raise OSError(number, "no room")

    seen: list[Path] = []
    with pytest.raises(Refusal, match="has no room") as refused:
        asyncio.run(fill())
    assert refused.value.status_code == 507
    assert not seen[0].exists()


def test_a_form_is_not_read_as_a_file(lasting_api: httpx2.Client) -> None:
    answer = lasting_api.post("/v1/datasets", files={"file": ("heights.csv", CSV, "text/csv")})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "multipart"
    assert "--data-binary @FILE" in answer.json()["detail"]
