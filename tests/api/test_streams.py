"""Metrics over HTTP: polling and server-sent events, through a real uvicorn."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from sqlalchemy import update

from api.routes import streams
from descent.history import History
from models.answers import MetricsPage
from models.database import Database
from models.status import RunStatus
from models.tables import Key, now
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.specs import SPEC
from tests.servers import http_client


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    return sqlite_database_url


@dataclass
class Event:
    name: str
    data: Any
    id: str | None


def events(answer: httpx2.Response) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}


def stream(api: httpx2.Client, run: FakeRun, **options: Any) -> list[Event]:
    with api.stream("GET", f"/v1/runs/{run.claimed.id}/stream", **options) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        return list(events(answer))


def metrics(api: httpx2.Client, run: FakeRun, **parameters: Any) -> MetricsPage:
    answer = api.get(f"/v1/runs/{run.claimed.id}/metrics", params=parameters)
    assert answer.status_code == 200, answer.text
    return MetricsPage.model_validate(answer.json())


def test_metrics_are_polled_by_cursor_and_by_name(api: httpx2.Client, run: FakeRun) -> None:
    run.report({"train_loss": ([1, 2], [0.5, 0.25]), "gradient_norm": ([2], [1.0])})
    page = metrics(api, run)
    assert set(page.series) == {"train_loss", "gradient_norm"}
    assert list(metrics(api, run, name=["gradient_norm"]).series) == ["gradient_norm"]
    run.report({"train_loss": ([3], [0.125])})
    assert metrics(api, run, after=page.next_after).series["train_loss"].value == [0.125]


def test_a_long_poll_is_answered_by_the_point_it_waits_for(api: httpx2.Client, run: FakeRun) -> None:
    run.report({"train_loss": ([1], [0.5])})
    cursor = metrics(api, run).next_after
    later = threading.Timer(0.2, run.report, [{"train_loss": ([2], [0.25])}])
    later.start()
    page = metrics(api, run, after=cursor, wait=20)
    later.join()
    assert page.series["train_loss"].step == [2]


def test_one_waiting_reader_holds_up_nobody_else(api: httpx2.Client, run: FakeRun) -> None:
    run.report({"train_loss": ([1], [0.5])})
    cursor = metrics(api, run).next_after
    waiting = threading.Thread(target=metrics, args=(api, run), kwargs={"after": cursor, "wait": 20})
    waiting.start()
    assert api.get("/healthz").status_code == 200
    assert waiting.is_alive()
    run.finish()
    waiting.join(timeout=15)
    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"after": "x"}, "?after"),
        ({"wait": 21}, "?wait"),
        ({"wait": "nan"}, "?wait"),
        ({"limit": 0}, "?limit"),
        ({"limit": 10_001}, "?limit"),
        ({"max_points": 4}, "?max_points"),
        ({"max_points": 10, "after": "1-1"}, "?max_points"),
    ],
)
def test_parameters_out_of_bounds_are_named(
    lasting_api: httpx2.Client, parameters: dict[str, Any], pointer: str
) -> None:
    answer = lasting_api.get("/v1/runs/run_0/metrics", params=parameters)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_whole_history_comes_downsampled(api: httpx2.Client, run: FakeRun) -> None:
    run.report({"train_loss": (range(1, 101), [0.5] * 100)})
    run.finish()
    page = metrics(api, run, max_points=10)
    assert page.series["train_loss"].total == 100
    assert len(page.series["train_loss"].step) <= 10
    assert page.is_terminal


def test_a_stream_tells_status_points_and_the_end(api: httpx2.Client, run: FakeRun) -> None:
    run.report({"train_loss": ([1], [0.5])})
    ending = threading.Timer(0.2, run.finish)
    ending.start()
    told = stream(api, run)
    ending.join()
    assert [event.name for event in told] == ["status", "metrics", "end"]
    assert told[0].data == {"status": "running"}
    assert told[1].data == {"series": {"train_loss": {"step": [1], "value": [0.5], "total": None}}, "non_finite": {}}
    assert told[1].id == "1-0"
    assert told[2].data == {"status": "succeeded"}


def test_a_stream_goes_on_after_the_last_event_that_arrived(api: httpx2.Client, run: FakeRun) -> None:
    run.report({"train_loss": ([1], [0.5])})
    run.report({"train_loss": ([2], [0.25])})
    run.finish(RunStatus.FAILED)
    told = stream(api, run, headers={"Last-Event-ID": "1-0"})
    assert [event.name for event in told] == ["metrics", "end"]
    assert told[0].data["series"]["train_loss"]["step"] == [2]
    assert [event.name for event in stream(api, run, headers={"Last-Event-ID": told[-1].id or ""})] == ["end"]


def test_a_stream_takes_points_back_before_it_tells_the_new_ones(
    api: httpx2.Client, run: FakeRun, worker: FakeWorker
) -> None:
    run.report({"train_loss": ([1, 2], [0.5, 0.25])})
    worker.vanish(run)
    again = worker.claim()[0]
    again.report({"train_loss": ([1], [0.75])})
    again.finish()
    told = stream(api, run, headers={"Last-Event-ID": "1-0"})
    assert [(event.name, event.data.get("from_step")) for event in told[:2]] == [("rollback", -1), ("metrics", None)]
    history = History()
    history.take(metrics(api, run))
    assert history["train_loss"].value == [0.75]


def test_a_stream_takes_back_only_what_came_after_the_checkpoint(
    api: httpx2.Client, run: FakeRun, worker: FakeWorker
) -> None:
    run.report({"train_loss": ([1, 2], [0.5, 0.25])})
    run.checkpoint(2)
    run.report({"train_loss": ([3], [0.125])})
    worker.vanish(run)
    again = worker.claim()[0]
    again.report({"train_loss": ([3, 4], [0.75, 0.5])})
    again.finish()
    told = stream(api, run, headers={"Last-Event-ID": "1-1"})
    assert [event.name for event in told] == ["rollback", "metrics", "end"]
    assert told[0].data == {"from_step": 2}
    assert told[1].data["series"]["train_loss"]["step"] == [3, 4]
    history = History()
    history.take(metrics(api, run))
    assert (history["train_loss"].step, history["train_loss"].value) == ([1, 2, 3, 4], [0.5, 0.25, 0.75, 0.5])


def test_a_stream_that_cannot_begin_is_refused_as_a_problem(api: httpx2.Client, run: FakeRun) -> None:
    answer = api.get(f"/v1/runs/{run.claimed.id}/stream", headers={"Last-Event-ID": "never"})
    assert answer.status_code == 422
    assert api.get("/v1/runs/run_0/stream").status_code == 404


@pytest.mark.parametrize("change", ["revoke", "rotate", "expire"])
def test_a_stream_and_a_long_poll_end_with_their_key(
    api: httpx2.Client, database: Database, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(streams, "KEY_CHECK_SECONDS", 0.1)
    key = api.post("/v1/keys", json={"owner": "ada"}).json()
    with http_client(str(api.base_url), key=key["key"]) as ada, ThreadPoolExecutor(1) as pool:
        job = ada.post("/v1/jobs", json=SPEC).json()["id"]
        path = f"/v1/runs/{ada.get(f'/v1/jobs/{job}/runs').json()['data'][0]['id']}"
        with ada.stream("GET", f"{path}/stream") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: status"
            poll = pool.submit(ada.get, f"{path}/metrics", params={"wait": 3})
            if change == "revoke":
                api.delete(f"/v1/keys/{key['id']}")
            elif change == "rotate":
                api.post(f"/v1/keys/{key['id']}/rotate")
            else:
                with database.write() as session:
                    session.execute(update(Key).values(expires_at=now()))
            assert "event: end" not in list(lines), "the run has not ended"
        assert poll.result().status_code == 401
        assert ada.get(f"{path}/metrics").status_code == 401
