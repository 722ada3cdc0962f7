"""Many hosts share an object store: whoever trains copies the data from there, once."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from descent import Client
from models.status import RunStatus
from tests.datasets import passengers
from tests.journey.service import Service, eventually, running_service
from tests.servers import http_client, running_valkey

KEYS = {"AWS_ACCESS_KEY_ID": "only", "AWS_SECRET_ACCESS_KEY": "for-tests", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The address of an object store that has the bucket "descent"."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def service(bucket: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "descent.sqlite3").write_bytes(sqlite_template.read_bytes())
    settings = KEYS | {
        "AWS_ENDPOINT_URL": bucket,
        "DESCENT_STORAGE_URL": "s3://descent/files",
        "DESCENT_WORKER_CACHE_DIR": str(folder / "copies"),
    }
    with (
        running_valkey(folder) as valkey,
        running_service(folder, f"sqlite:///{folder / 'descent.sqlite3'}", valkey, settings) as running,
    ):
        yield running


@pytest.mark.slow
def test_a_data_set_goes_through_an_object_store(service: Service, bucket: str) -> None:
    store = boto3.client(
        "s3", endpoint_url=bucket, aws_access_key_id="only", aws_secret_access_key="for-tests", region_name="us-east-1"
    )
    store.create_bucket(Bucket="descent")
    with Client(service.url) as client, http_client(service.url, timeout=60) as http:
        answer = http.post("/v1/datasets", params={"name": "passengers"}, content=passengers())
        assert answer.status_code == 201, answer.text
        dataset_id = answer.json()["id"]
        spec = {
            "dataset": {"kind": "uploaded", "id": "passengers", "missing": "impute"},
            "optimizer": {"kind": "adam", "learning_rate": 0.01},
            "budget": {"steps": 100},
        }
        job = client.submit(spec)
        service.start_worker()
        service.start_predictor()
        assert client.wait(job, timeout=60).status is RunStatus.SUCCEEDED
        copy = service.folder / "copies" / dataset_id
        assert [file.name for file in copy.iterdir()] == ["rows.npy"]
        age = (copy / "rows.npy").stat().st_mtime_ns
        again = client.submit(spec | {"seeds": [7]})
        assert client.wait(again, timeout=60).status is RunStatus.SUCCEEDED
        assert (copy / "rows.npy").stat().st_mtime_ns == age, "it was copied again"
        (run,) = client.runs(again)
        row = {"class": "first", "sex": "female", "age": 30, "fare": 80, "boarded": "1912-04-10", "alone": True}
        body = {"rows": [row | {"port": "S"}]}
        eventually(lambda: http.post(f"/v1/runs/{run.id}/predictions", json=body).status_code == 200, "it predicts")
        keys = {entry["Key"] for entry in store.list_objects_v2(Bucket="descent")["Contents"]}
        assert f"files/datasets/{dataset_id}/rows.npy" in keys
        for one in (job, again):
            client.delete(one)
        assert http.delete(f"/v1/datasets/{dataset_id}").status_code == 204
        assert "Contents" not in store.list_objects_v2(Bucket="descent")
