"""Wake-ups come ten times instead of once: each attempt is claimed once."""

import pytest

from descent import Client
from models.status import RunStatus
from tests.chaos import messages
from tests.chaos.conftest import SPEC, StartStack
from tests.chaos.scenes import cohort_sizes, the_run

pytestmark = pytest.mark.chaos


def test_messages_that_come_ten_times_claim_once(fresh_stack: StartStack) -> None:
    stack = fresh_stack(workers=2, settings={messages.VARIABLE: "10"})
    with Client(stack.url, patience_seconds=60) as client:
        jobs = [client.submit(SPEC | {"budget": {"steps": 4_000 + number}}) for number in range(8)]
        assert {client.wait(job, timeout=60).status for job in jobs} == {RunStatus.SUCCEEDED}
        assert {the_run(stack, job).attempt for job in jobs} == {1}
        assert sum(cohort_sizes(stack)) == len(jobs)
