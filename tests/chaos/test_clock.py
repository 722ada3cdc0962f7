"""Wall clocks that jump by a day: nothing expires, and nothing is lost."""

from pathlib import Path

import pytest

from descent import Client
from tests.chaos.clock import DAY_SECONDS, JumpingClock, compiler
from tests.chaos.conftest import SPEC, StartStack
from tests.chaos.load import Members
from tests.chaos.scenes import demand_whole, in_training
from tests.chaos.stack import Program, Stack

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(compiler() is None, reason="the clock of a program is moved by a library in C: no compiler"),
]


def with_clock(program: Program, stack: Stack, clock: JumpingClock) -> None:
    """Start a program again under that clock; the others go by the machine's."""
    before = stack.environment
    stack.environment = before | clock.environment
    process = program.process
    process.kill()
    process.wait()
    program.keep_alive()
    stack.environment = before


@pytest.mark.parametrize("days", [1, -1])
@pytest.mark.parametrize("whose", ["worker", "API"])
def test_a_clock_that_jumps_loses_nothing(
    fresh_stack: StartStack, tmp_path: Path, peaceful: Members, whose: str, days: int
) -> None:
    stack, clock = fresh_stack(workers=0), JumpingClock(tmp_path)
    with Client(stack.url, patience_seconds=60) as client:
        if whose == "API":
            with_clock(stack.api, stack, clock)
            stack.wait_for_api()
            stack.add_worker()
        else:
            before = stack.environment
            stack.environment = before | clock.environment
            stack.add_worker()
        job = in_training(client)
        clock.set_ahead(days * DAY_SECONDS)
        assert demand_whole(stack, client, job, peaceful).attempt == 1
        # A worker that waits for something to do is woken all the same.
        demand_whole(stack, client, client.submit(SPEC), peaceful, seconds=30)
