"""Owners who want different things at once: each run has exactly one ending."""

import random
import threading
import time
from contextlib import suppress

import pytest

from descent import Client
from descent.errors import Refused
from models.answers import Job
from models.status import RunStatus
from tests.chaos.conftest import SPEC
from tests.chaos.load import Members
from tests.chaos.oracle import complaints
from tests.chaos.scenes import the_run
from tests.chaos.stack import Stack

ROUNDS = 12

pytestmark = pytest.mark.chaos


def press_everything(url: str, job: Job, seed: int) -> None:
    """Pause, resume and cancel, each from a thread of its own, at moments of their own."""

    def press(action: str, chance: random.Random) -> None:
        with Client(url, patience_seconds=60) as client:
            for _ in range(3):
                time.sleep(chance.uniform(0, 0.6))
                with suppress(Refused):
                    getattr(client, action)(job)

    actions = ["pause", "resume"] + ["cancel"] * (seed % 2)
    threads = [threading.Thread(target=press, args=(action, random.Random(seed))) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_run_that_is_paused_resumed_and_cancelled_at_once_ends_once(
    stack: Stack, client: Client, peaceful: Members
) -> None:
    jobs = [client.submit(SPEC) for _ in range(ROUNDS)]
    for seed, job in enumerate(jobs):
        press_everything(stack.url, job, seed)
    for job in jobs:
        with suppress(Refused):
            client.resume(job)
    endings = []
    for seed, job in enumerate(jobs):
        client.wait(job, timeout=90)
        endings.append((the_run(stack, job).status, the_run(stack, job).finished_at))
        assert complaints(stack, job.id, peaceful, may_be_cancelled=bool(seed % 2)) == []
    assert {status for status, _ in endings} == {RunStatus.CANCELLED, RunStatus.SUCCEEDED}
    time.sleep(1)
    assert [(the_run(stack, job).status, the_run(stack, job).finished_at) for job in jobs] == endings, "for good"
