"""SQL is locked, or cuts everybody off, for twenty seconds: training goes on, and whoever asks is told to come back."""

import time

import pytest

from descent import Client
from tests.chaos.conftest import SPEC, StartStack
from tests.chaos.load import Members
from tests.chaos.oracle import database_of
from tests.chaos.scenes import demand_whole, in_training
from tests.models.outages import sql_away
from tests.servers import http_client

AWAY_SECONDS = 20.0

pytestmark = pytest.mark.chaos


def test_nothing_is_lost_while_sql_is_away(fresh_stack: StartStack, peaceful: Members) -> None:
    stack = fresh_stack(settings={"DESCENT_LEASE_SECONDS": "30", "DESCENT_HEARTBEAT_SECONDS": "1"})
    key = {"Idempotency-Key": "while-sql-is-away"}
    with database_of(stack) as database, Client(stack.url, patience_seconds=60) as client:
        job = in_training(client)
        with http_client(stack.url, timeout=30) as http:
            with sql_away(database):
                began = time.monotonic()
                refused = http.post("/v1/jobs", json=SPEC, headers=key)
                time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - began)))
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:descent:problem:unavailable")
            assert int(refused.headers["Retry-After"]) > 0
            eventually_accepted = None
            for _ in range(20):
                eventually_accepted = http.post("/v1/jobs", json=SPEC, headers=key)
                if eventually_accepted.status_code == 202:
                    break
                time.sleep(int(eventually_accepted.headers["Retry-After"]))
        assert demand_whole(stack, client, job, peaceful).attempt == 1, "training went on"
        assert eventually_accepted is not None
        demand_whole(stack, client, client.job(eventually_accepted.json()["id"]), peaceful)
        assert len(list(client.jobs())) == 2
