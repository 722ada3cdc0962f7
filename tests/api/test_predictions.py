"""What one request for predictions may ask for, and how many of one owner may wait; nothing here answers them."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import redis

from api.app import create_app
from api.http import limits
from api.routes import predictions
from models.access import ADMIN
from models.database import Database
from models.queue import predictions as celery
from models.settings import Settings
from tests.api.trained import succeeded_run
from tests.models.outages import eventually
from tests.servers import http_client, running_api

SMALL: dict[str, Any] = {"dataset": "sine", "optimizer": "adam"}
LARGE = SMALL | {"network": {"kind": "mlp", "hidden": [880] * 60}}
CLASSES = SMALL | {"dataset": {"kind": "blobs", "classes": 20}}
ROW = b'{"rows": [[0.5]]}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def settings(settings_on_sqlite: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Questions wait for longer than a test takes, unless the client leaves."""
    monkeypatch.setattr(celery.conf, "broker_url", settings_on_sqlite.broker_url)
    return settings_on_sqlite.model_copy(update={"prediction_seconds": 60.0})


@contextmanager
def started(settings: Settings, **changes: Any) -> Iterator[httpx2.Client]:
    with (
        running_api(create_app(settings.model_copy(update=changes))) as url,
        http_client(url, timeout=30) as api,
    ):
        yield api


@pytest.fixture
def live(settings: Settings) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(settings.metrics_url) as client:
        yield client


@contextmanager
def waiting(api: httpx2.Client, path: str, content: bytes, media_type: str = "application/json") -> Iterator[None]:
    """A client that has asked, waits for its answer, and leaves without it."""
    request = api.build_request("POST", path, content=content, headers={"Content-Type": media_type})
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port)) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        yield


def in_flight(live: "redis.Redis", owner: str) -> int:
    return int(live.zcard(f"descent:questions:{owner}"))


def test_a_third_question_of_an_owner_is_refused_until_a_client_leaves(
    settings: Settings, database: Database, live: "redis.Redis"
) -> None:
    with started(settings) as api, started(settings) as other_process:
        run = succeeded_run(api, database, settings, SMALL)
        path = f"/v1/runs/{run}/predictions"
        bob = api.post("/v1/keys", json={"owner": "bob"}).json()["key"]
        with waiting(other_process, path, ROW):
            with waiting(api, path, ROW):
                eventually(lambda: in_flight(live, ADMIN) == 2, "two questions wait")
                for process in (api, other_process):
                    refused = process.post(path, content=ROW, headers=JSON)
                    assert refused.status_code == 429
                    assert refused.json()["type"] == "urn:descent:problem:rate_limited"
                    assert "at most 2 requests for predictions" in refused.json()["detail"]
                    assert int(refused.headers["Retry-After"]) == 1
                # Questions of another owner are counted by themselves: this one is refused for another reason.
                answer = api.post(path, content=ROW, headers=JSON | {"Authorization": f"Bearer {bob}"})
                assert answer.status_code == 404
            eventually(lambda: in_flight(live, ADMIN) == 1, "one client has left")
            with waiting(api, path, ROW):
                eventually(lambda: in_flight(live, ADMIN) == 2, "another one has taken its slot")
        eventually(lambda: in_flight(live, ADMIN) == 0, "all have left")
        assert live.keys("descent:question:*") == [], "nothing is left for the predictor to answer"


def test_a_question_that_fails_frees_its_slot(settings: Settings, database: Database) -> None:
    with started(settings) as api:
        run = succeeded_run(api, database, settings, SMALL)
        for _ in range(3):
            assert api.post(f"/v1/runs/{run}/predictions", json={"rows": []}).status_code == 422
            assert api.post("/v1/runs/run_0/predictions", content=ROW, headers=JSON).status_code == 404
    with started(settings, prediction_seconds=0.2) as api:
        for _ in range(3):
            assert api.post(f"/v1/runs/{run}/predictions", content=ROW, headers=JSON).status_code == 503


def test_a_large_network_takes_fewer_rows_per_request(settings: Settings, database: Database) -> None:
    with started(settings, prediction_seconds=0.2) as api:
        small, large = (
            f"/v1/runs/{succeeded_run(api, database, settings, spec)}/predictions" for spec in (SMALL, LARGE)
        )
        assert api.post(small, json={"rows": [[0.5]] * 10_000}).status_code == 503, "nothing answers, but it may ask"
        refused = api.post(large, json={"rows": [[0.5]] * 10_000})
        assert refused.status_code == 413
        assert refused.json()["type"] == "urn:descent:problem:too_many_rows"
        most = refused.json()["max_rows"]
        assert 500 < most < 2_000
        assert f"at most {most} rows per request, and these are 10,000" in refused.json()["detail"]
        assert api.post(large, json={"rows": [[0.5]] * (most + 1)}).status_code == 413
        assert api.post(large, json={"rows": [[0.5]] * most}).status_code == 503


def test_the_limits_of_a_request_are_settings(settings: Settings, database: Database) -> None:
    changes = {"prediction_seconds": 0.2, "max_prediction_operations": 1_000_000, "max_prediction_outputs": 110}
    with started(settings, **changes) as api:
        runs = [succeeded_run(api, database, settings, spec) for spec in (LARGE, CLASSES)]
        refused = api.post(f"/v1/runs/{runs[0]}/predictions", content=ROW, headers=JSON)
        assert (refused.status_code, refused.json()["max_rows"]) == (413, 0)
        assert "DESCENT_MAX_PREDICTION_OPERATIONS" in refused.json()["detail"]
        path = f"/v1/runs/{runs[1]}/predictions"
        assert api.post(path, json={"rows": [[0.5, 0.5]] * 6}).json()["max_rows"] == 5
        assert api.post(path, json={"rows": [[0.5, 0.5]] * 5}).status_code == 503


def test_large_bodies_are_parsed_outside_of_the_event_loop(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    on_loop: list[bool] = []

    def observed(content: bytes) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            on_loop.append(False)
        else:
            on_loop.append(True)
        return limits.strict_json(content)

    monkeypatch.setattr(predictions, "strict_json", observed)
    with started(settings) as api:
        assert api.post("/v1/runs/run_0/predictions", json={"rows": [[0.5]] * 9_000}).status_code == 404
    assert on_loop == [False]


def test_a_csv_file_takes_as_much_room_for_the_predictor_as_for_its_client(
    settings: Settings, database: Database, live: "redis.Redis"
) -> None:
    """Its header is not repeated in each row."""
    content = b"x" * 100_000 + b"\n" + b"1\n" * 9_000
    with started(settings) as api:
        run = succeeded_run(api, database, settings, SMALL)
        with waiting(api, f"/v1/runs/{run}/predictions", content, "text/csv"):
            eventually(lambda: bool(live.keys("descent:question:*")), "the question waits")
            (key,) = live.keys("descent:question:*")
            assert live.strlen(key) < 2 * len(content)


def test_thousands_of_wrong_rows_are_one_error(settings: Settings) -> None:
    with started(settings) as api:
        refused = api.post("/v1/runs/run_0/predictions", json={"rows": [1] * 100_000})
    assert refused.status_code == 422
    assert {error["pointer"] for error in refused.json()["errors"]} == {"/rows/0"}
