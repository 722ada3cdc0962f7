"""Owners who ask one predictor at once."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from descent import Client
from models.database import Database
from models.settings import Settings
from tests.api.trained import store_initial_weights, succeeded_run
from tests.journey.service import Service, eventually, running_service
from tests.servers import http_client, running_valkey

SPEC = {"dataset": "sine", "optimizer": "adam", "network": {"kind": "mlp", "hidden": [1024] * 5}}
FLOOD = 30


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "descent.sqlite3").write_bytes(sqlite_template.read_bytes())
    with (
        running_valkey(folder) as valkey,
        running_service(folder, f"sqlite:///{folder / 'descent.sqlite3'}", valkey) as running,
    ):
        running.start_predictor()
        yield running


@pytest.fixture(scope="module")
def keys(service: Service) -> dict[str, str]:
    with Client(service.url) as admin:
        return {owner: admin.create_key(owner).key for owner in ("ada", "bob")}


@pytest.fixture(scope="module")
def runs(service: Service, keys: dict[str, str]) -> dict[str, str]:
    """A run of each owner, whose network takes about as long for 10,000 rows as a request may."""
    settings = Settings(
        database_url=service.environment["DESCENT_DATABASE_URL"],
        metrics_url=service.environment["DESCENT_METRICS_URL"],
        storage_url=service.environment["DESCENT_STORAGE_URL"],
    )
    database = Database(settings.database())
    runs = {}
    for owner, key in keys.items():
        with http_client(service.url, key=key) as http:
            runs[owner] = succeeded_run(http, database, settings, SPEC)
        store_initial_weights(settings, runs[owner], SPEC)
    database.dispose()
    return runs


def test_an_owner_who_floods_the_predictor_does_not_keep_others_from_their_answers(
    service: Service, keys: dict[str, str], runs: dict[str, str]
) -> None:
    over, statuses = Event(), set[int]()

    def flood(_: int) -> None:
        with http_client(service.url, key=keys["bob"], timeout=60) as http:
            while not over.is_set():
                answer = http.post(f"/v1/runs/{runs['bob']}/predictions", json={"rows": [[0.5]] * 10_000})
                statuses.add(answer.status_code)
                over.wait(float(answer.headers.get("Retry-After", 0)))

    with http_client(service.url, key=keys["ada"], timeout=60) as ada, ThreadPoolExecutor(FLOOD) as pool:
        path = f"/v1/runs/{runs['ada']}/predictions"
        eventually(lambda: ada.post(path, json={"rows": [[0.5]]}).status_code == 200, "the predictor answers")
        try:
            flooding = pool.map(flood, range(FLOOD))
            eventually(lambda: {200, 429} <= statuses, "the other owner has more questions than are answered at once")
            for _ in range(3):
                began = time.monotonic()
                answer = ada.post(path, json={"rows": [[0.5]]})
                assert answer.status_code == 200, answer.text
                assert time.monotonic() - began < 10
        finally:
            over.set()
        list(flooding)
    assert statuses == {200, 429}


@pytest.mark.slow
def test_a_large_table_on_a_large_network_is_predicted_in_parts(
    service: Service, keys: dict[str, str], runs: dict[str, str]
) -> None:
    rows = [[place / 1_000] for place in range(12_000)]
    with Client(service.url, key=keys["ada"]) as client:
        predicted = client.predict(runs["ada"], rows).predictions
        assert len(predicted) == len(rows)
        assert predicted[-1:] == pytest.approx(client.predict(runs["ada"], rows[-1:]).predictions)
