"""Processes that vanish, sleep or are asked to go: what they trained goes on elsewhere, to the bit."""

import signal
import time
from collections.abc import Callable

import psutil
import pytest

from descent import Client
from descent.history import History
from tests.chaos.conftest import StartStack
from tests.chaos.load import Members
from tests.chaos.scenes import RESUMED_SECONDS, demand_whole, holder, in_training, put_to_sleep, segments, the_run
from tests.chaos.stack import LEASE_SECONDS, Program, Stack
from tests.journey.service import eventually

EXIT_SECONDS = 30.0

pytestmark = pytest.mark.chaos


def kill_its_process(worker: Program) -> None:
    worker.family()[0].kill()


def kill_all_of_it(worker: Program) -> None:
    worker.send(signal.SIGKILL)


@pytest.mark.parametrize("loss", [kill_its_process, kill_all_of_it])
def test_what_was_killed_goes_on_from_its_checkpoint(
    stack: Stack, client: Client, peaceful: Members, loss: Callable[[Program], None]
) -> None:
    job = in_training(client, past=10_000)
    run = client.runs(job)[0]
    pages, live = client.metrics(run), History()
    live.take(next(pages))
    loss(holder(stack, job))
    eventually(lambda: the_run(stack, job).attempt == 2, "it is trained again", seconds=RESUMED_SECONDS)
    for page in pages:
        live.take(page)
    ended = demand_whole(stack, client, job, peaceful)
    assert ended.attempt == 2
    assert live.series == client.history(run).series, "the reader was told what to forget"
    eventually(lambda: len(client.workers()) == 1, "a worker is there again")


def test_a_worker_that_slept_for_three_leases_writes_nothing_more(fresh_stack: StartStack, peaceful: Members) -> None:
    stack = fresh_stack(workers=2)
    with Client(stack.url, patience_seconds=60) as client:
        job = in_training(client, past=10_000)
        sleeper = holder(stack, job)
        put_to_sleep(stack, sleeper)
        try:
            eventually(lambda: the_run(stack, job).attempt == 2, "another takes it", seconds=RESUMED_SECONDS)
            before = segments(stack, job, attempt=1)
            time.sleep(max(0.0, 3 * LEASE_SECONDS - 5))
        finally:
            sleeper.send(signal.SIGCONT)
        ended = demand_whole(stack, client, job, peaceful)
        time.sleep(2)
        assert ended.attempt == 2
        assert segments(stack, job, attempt=1) == before, "every stale write was refused"
        assert the_run(stack, job).finished_at == ended.finished_at


def test_rolling_restarts_lose_nothing_and_count_against_nobody(fresh_stack: StartStack, peaceful: Members) -> None:
    stack = fresh_stack(workers=2)
    with Client(stack.url, patience_seconds=60) as client:
        jobs = [in_training(client, past=1_000) for _ in range(2)]
        for worker in stack.workers:
            process = worker.process
            process.terminate()
            assert process.wait(timeout=EXIT_SECONDS) == 0
            eventually(lambda gone=process, it=worker: it.process is not gone, "it is started again")  # type: ignore[misc]
            eventually(lambda: len(client.workers()) == 2, "both are there")
        for job in jobs:
            assert demand_whole(stack, client, job, peaceful).crashes == 0
        assert max(the_run(stack, job).attempt for job in jobs) > 1, "somebody was asked to go while it trained"


def test_a_stopped_worker_leaves_no_process_behind(stack: Stack, client: Client, peaceful: Members) -> None:
    job = in_training(client)
    worker = holder(stack, job)
    family = worker.family()
    worker.process.terminate()
    assert psutil.wait_procs(family, timeout=EXIT_SECONDS)[1] == []
    demand_whole(stack, client, job, peaceful)
