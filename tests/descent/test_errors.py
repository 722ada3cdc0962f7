"""Exceptions say in words what happened, carry what they were made of, and keep both between processes."""

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from descent import Client, DescentError, Refused, Unreachable
from descent.errors import CutOff, TimedOut
from models.answers import Problem
from tests.descent.conftest import Service, problem

PROBLEM = Problem.model_validate(
    problem(
        422,
        "invalid",
        "The spec is not valid",
        errors=[{"pointer": "/batch_size", "code": "too_large", "detail": "a batch of 9 exceeds the 6 rows"}],
        remedy="See GET /v1/components",
    ).body
)
ERRORS = [
    Refused(PROBLEM),
    Unreachable("http://127.0.0.1:9", "Connection refused"),
    CutOff("http://127.0.0.1:9", "Broken pipe", 10, 2_000),
    TimedOut("adam is still queued after 3 s; it goes on"),
    DescentError("There is nothing to upload"),
]


def by_pickle(error: DescentError) -> DescentError:
    again: DescentError = pickle.loads(pickle.dumps(error))
    return again


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, by_pickle])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_says_and_carries_the_same(error: DescentError, again: Callable[[DescentError], DescentError]) -> None:
    other = again(error)
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert vars(other) == vars(error)
    assert vars(error) or type(error) in (TimedOut, DescentError)


def ask(url: str) -> Any:
    with Client(url, patience_seconds=0) as client:
        return client.queue()


def test_a_refusal_in_another_process_arrives_with_its_problem(service: Service) -> None:
    service.on("GET", "/v1/queue", problem(403, "forbidden", "This key may only read", remedy="Ask an admin"))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(Refused) as caught:
        pool.submit(ask, service.url).result()
    assert str(caught.value) == "This key may only read\nAsk an admin"
    assert caught.value.problem.status == 403
