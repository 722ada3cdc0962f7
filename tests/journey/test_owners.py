"""Two people on one installation, with real processes: each trains in turn, and nothing of them is in the log."""

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

import httpx2
import pytest

from descent import Client
from descent.errors import Refused
from models.status import RunStatus
from tests.journey.service import Service, eventually, train_on
from tests.servers import KEY, http_client

pytestmark = pytest.mark.parametrize(
    "service", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True, scope="module"
)

LONG = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 2_000_000}, "execution": "eager"}
SHORT = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 200}}


@pytest.fixture(scope="module")
def people(service: Service, admin: Client) -> Iterator[dict[str, Client]]:
    """Return a client for each owner."""
    with ExitStack() as clients:
        yield {
            name: clients.enter_context(Client(service.url, key=admin.create_key(name).key)) for name in ("ada", "bob")
        }


def test_one_job_is_trained_between_the_cohorts_of_anothers_sweep(
    service: Service, admin: Client, people: dict[str, Client]
) -> None:
    ada, bob = people["ada"], people["bob"]
    # Each of another shape, so that every one is a cohort of its own.
    sizes = [[8 + number] for number in range(40)]
    sweep = ada.submit_sweep(SHORT | {"network": "mlp"}, {"network.hidden": sizes}, seeds=10)
    job = bob.submit(SHORT | {"name": "mine"})
    worker = service.start_worker()
    assert bob.wait(job, 60).status is RunStatus.SUCCEEDED
    waiting = ada.sweep(sweep.id).runs_by_status.get(RunStatus.QUEUED, 0)
    assert waiting > 200, "it was Bob's turn long before she was through"
    ada.cancel_sweep(sweep.id)
    assert [found.name for found in bob.jobs()] == ["mine"]
    with pytest.raises(Refused) as refused:
        ada.job(job)
    assert refused.value.problem.status == 404
    worker.terminate()
    worker.wait()


def test_whoever_follows_a_run_is_let_go_at_once_when_the_api_stops_and_goes_on_when_it_is_back(
    service: Service, people: dict[str, Client]
) -> None:
    ada = people["ada"]
    service.start_worker()
    job = ada.submit(LONG | {"name": "long"})
    (run,) = ada.runs(job)
    train_on(ada, run, 100)
    api = service.programs[0]
    key = ada._transport._http.headers["Authorization"].removeprefix("Bearer ")
    with http_client(service.url, key=key, timeout=60) as http:
        with http.stream("GET", f"/v1/runs/{run.id}/stream") as answer:
            lines = answer.iter_lines()
            told = list(islice(lines, 10))
            api.send_signal(signal.SIGTERM)
            began = time.monotonic()
            told += lines
        assert time.monotonic() - began < 4, "it did not wait to be cut off"
        assert api.wait(timeout=10) in (0, -signal.SIGTERM)
        service.programs[0] = service.start_api()
        service.programs.pop()
        last = [line.removeprefix("id: ") for line in told if line.startswith("id: ")][-1]
        with http.stream("GET", f"/v1/runs/{run.id}/stream", headers={"Last-Event-ID": last}) as answer:
            first = next(line for line in answer.iter_lines() if line.startswith('data: {"series'))
        steps = json.loads(first[6:])["series"]["train_loss"]["step"]
    ada.cancel(job)
    assert ada.wait(job, 60).is_terminal
    assert steps[0] > 0, told


def test_logs_tell_who_asked_in_which_request_and_no_secret(
    service: Service, admin: Client, people: dict[str, Client]
) -> None:
    made = admin.create_key("cleo")
    with http_client(service.url, key=made.key) as cleo:
        job = cleo.post("/v1/jobs", json=LONG, headers={"X-Request-ID": "r1"}).json()["id"]
        cleo.post(f"/v1/jobs/{made.key}/cancel")
        cleo.post("/v1/jobs", headers={"Authorization": f"Bearer {made.key}x"})
        cleo.post(f"/v1/jobs/{job}/cancel", headers={"X-Request-ID": "r2"})
    log = service.folder / "api.log"
    eventually(lambda: '"r2"' in log.read_text(), "the log has the last of them")
    said = log.read_text()
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    submitted, asked = (next(line for line in lines if line.get("request_id") == name) for name in ("r1", "r2"))
    assert (submitted["owner"], submitted["key_id"], submitted["status"]) == ("cleo", made.id, 202)
    assert (asked["job_id"], asked["key_id"], asked["status"]) == (job, made.id, 202)
    assert re.search(rf"dk_{made.id}_…", said), "where a key stood in a path, its secret is left out"
    for folder in service.folder.glob("*.log"):
        text = folder.read_text()
        assert made.key.removeprefix(f"dk_{made.id}_") not in text
        assert KEY not in text


def test_with_a_wrong_key_the_client_says_what_to_do(service: Service) -> None:
    with Client(service.url, key="dk_0123456789abcdef_" + "a" * 43) as stranger, pytest.raises(Refused) as refused:
        next(stranger.jobs())
    assert refused.value.problem.status == 401
    assert "DESCENT_KEY" in str(refused.value)


def test_an_answer_without_a_key_is_the_same_for_every_route(service: Service) -> None:
    with http_client(service.url, key=None) as stranger, http_client(service.url) as admin:
        document = admin.get("/openapi.json").json()
        for path, methods in document["paths"].items():
            for method in methods:
                answer: httpx2.Response = stranger.request(method.upper(), path)
                assert (answer.status_code == 401) != (path in ("/healthz", "/readyz")), f"{method} {path}"
