"""A few jobs under faults, on both databases: none is lost, no point is twice or missing, every bit is right."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos import mutants
from tests.chaos.conftest import StartStack
from tests.chaos.driver import Driver, Plan
from tests.chaos.load import Members, references_of_jobs

DOSE = Plan(jobs=6, fault_seconds=1.5, submit_seconds=5.0, limit_seconds=300.0, faulty_seconds=40.0)
PATIENT_LEASE_SECONDS = "6"
"""Long enough that a process to which a loaded machine gives nothing for two seconds is not taken for hung."""


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Members]:
    folder: Path = tmp_path_factory.mktemp("peace")
    return references_of_jobs(DOSE.jobs, folder)


@pytest.mark.slow
def test_nothing_accepted_is_lost(fresh_stack: StartStack, references: Sequence[Members], kind: str) -> None:
    stack = fresh_stack(workers=2, settings={"DESCENT_LEASE_SECONDS": PATIENT_LEASE_SECONDS})
    report = Driver(stack, kind, DOSE, references).run()
    assert report.failures == []
    assert (report.accepted, report.terminal, report.lost, report.doubled) == (DOSE.jobs, DOSE.jobs, 0, 0)
    assert (report.duplicated_points, report.gaps, report.wrong_bits) == (0, 0, 0)
    assert sum(report.faults.values()) > 3


@pytest.mark.chaos
def test_points_that_are_lost_on_their_way_are_caught(start_stack: StartStack, references: Sequence[Members]) -> None:
    stack = start_stack(settings={mutants.VARIABLE: "without_chunks_beside_the_checkpoint"})
    report = Driver(stack, "sqlite", Plan(4, 1_000.0, 1.0, 60.0), references).run()
    assert report.gaps > 0
    assert report.failures
