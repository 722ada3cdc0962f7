"""A wake-up says that there is work, never which; there are as many as there are idle lanes."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from kombu.exceptions import OperationalError

from models.queue import PREDICTIONS, TRAIN, app, ask, predictions, wake
from tests.servers import Valkey, stopped

GIVES_UP_SECONDS = 2.0


@pytest.fixture
def broker(valkey: Valkey) -> Iterator["redis.Redis"]:
    """A look into the broker, which is empty."""
    before = app.conf.broker_url
    app.conf.broker_url = predictions.conf.broker_url = valkey.broker_url()
    with redis.Redis.from_url(valkey.metrics_url(database=0)) as client:
        client.flushdb()
        yield client
        client.flushdb()
    app.conf.broker_url = predictions.conf.broker_url = before


def waiting(broker: "redis.Redis") -> dict[str, int]:
    return {queue: int(broker.llen(queue)) for queue in ("cpu", "gpu")}


def test_there_are_as_many_wake_ups_as_lanes_however_often_it_is_asked(broker: "redis.Redis") -> None:
    for _ in range(3):
        wake("cpu", 2)
        assert waiting(broker) == {"cpu": 2, "gpu": 0}
    wake("cpu", 5)
    assert waiting(broker)["cpu"] == 5
    wake("cpu", 1)
    assert waiting(broker)["cpu"] == 5, "none is taken back"


def test_what_workers_took_is_sent_again(broker: "redis.Redis") -> None:
    wake("cpu", 3)
    broker.lpop("cpu")
    broker.lpop("cpu")
    wake("cpu", 3)
    assert waiting(broker)["cpu"] == 3


def test_each_device_has_a_queue_of_its_own(broker: "redis.Redis") -> None:
    wake("cuda", 2)
    wake("cpu", 1)
    assert waiting(broker) == {"cpu": 1, "gpu": 2}
    wake("cpu", 0)
    assert waiting(broker) == {"cpu": 1, "gpu": 2}


def headers(broker: "redis.Redis", queue: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(broker.lindex(queue, 0) or b"")
    found: dict[str, Any] = message["headers"]
    return found


def test_a_wake_up_carries_no_work(broker: "redis.Redis") -> None:
    wake("cpu", 1)
    told = headers(broker, "cpu")
    assert (told["task"], told["argsrepr"], told["kwargsrepr"]) == (TRAIN, "()", "{}")


def test_no_message_goes_by_the_clock_of_whoever_sent_it(broker: "redis.Redis") -> None:
    wake("cpu", 1)
    ask("question_1", "run_1")
    for queue in ("cpu", PREDICTIONS):
        told = headers(broker, queue)
        assert (told["expires"], told["eta"], told["timelimit"]) == (None, None, [None, None])


def test_a_broker_that_is_away_is_an_error_at_once(broker: "redis.Redis", valkey: Valkey) -> None:
    wake("cpu", 1)
    with gives_up(), stopped(valkey):
        wake("cpu", 2)
    with gives_up(), stopped(valkey):
        ask("question_1", "run_1")
    app.conf.broker_url = "redis+socket:///nowhere/valkey.sock?virtual_host=0"
    with gives_up():
        wake("cpu", 1)
    app.conf.broker_url = valkey.broker_url()
    wake("cpu", 3)
    assert waiting(broker)["cpu"] == 3


@contextmanager
def gives_up() -> Iterator[None]:
    """Nobody who sends has more than two seconds to spare for a broker."""
    started = time.monotonic()
    with pytest.raises(OperationalError):
        yield
    assert time.monotonic() - started < GIVES_UP_SECONDS
