"""Hostile and mistaken requests, against a server of its own."""

import json
from typing import Any

import httpx2
import psutil
import pytest

from tests.journey.service import Service
from tests.servers import http_client

FINE: dict[str, Any] = {"dataset": "sine", "optimizer": "adam"}
MEGABYTE = 1_000_000

HOSTILE = [
    pytest.param(json.dumps({**FINE, "optimizer": "adamant"}), 422, "/optimizer", id="an unknown optimizer"),
    pytest.param(json.dumps({**FINE, "epochs": 3}), 422, "/epochs", id="a field that is not the spec's"),
    pytest.param(
        json.dumps({**FINE, "optimizer": {"kind": "adam", "momentum": 0.9}}),
        422,
        "/optimizer/momentum",
        id="a field of another optimizer",
    ),
    pytest.param(
        '{"dataset": "sine", "optimizer": {"kind": "adam", "learning_rate": NaN}}',
        422,
        "/optimizer/learning_rate",
        id="a NaN",
    ),
    pytest.param(
        json.dumps({**FINE, "network": {"kind": "mlp", "hidden": [10**9]}}),
        422,
        "/network/hidden/0",
        id="a layer of a billion units",
    ),
    pytest.param(
        json.dumps({**FINE, "network": {"kind": "mlp", "hidden": [8_192] * 8}}), 422, "/network", id="a huge network"
    ),
    pytest.param(json.dumps({**FINE, "budget": {"epochs": 10**12}}), 422, "/budget/epochs", id="10¹² epochs"),
    pytest.param(json.dumps({**FINE, "notes": "x" * MEGABYTE}), 413, None, id="a body of a megabyte"),
    pytest.param('{"dataset": "sine", "optimizer": ', 400, None, id="broken JSON"),
    pytest.param("[" * 100_000, 422, "", id="JSON that is nested without end"),
]


@pytest.mark.parametrize(("body", "status", "pointer"), HOSTILE)
def test_is_refused_with_the_place_and_costs_no_memory(
    service: Service, body: str, status: int, pointer: str | None
) -> None:
    process = psutil.Process(service.programs[0].pid)
    with http_client(service.url) as http:

        def post() -> httpx2.Response:
            return http.post("/v1/jobs", content=body.encode(), headers={"Content-Type": "application/json"})

        answer = post()
        before = process.memory_info().rss
        for _ in range(20):
            post()
        assert process.memory_info().rss - before < 10 * MEGABYTE
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["detail"]
    if pointer is not None:
        assert pointer in [error["pointer"] for error in problem["errors"]]
