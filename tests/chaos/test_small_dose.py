"""A few jobs under faults, on both databases: none is lost, no point is twice or missing, every bit is right."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.chaos import mutants
from tests.chaos.conftest import StartStack
from tests.chaos.driver import Driver, Plan, references_for
from tests.chaos.load import SPECS, Reference

DOSE = Plan(jobs=12, fault_seconds=2.0, submit_seconds=8.0, limit_seconds=90.0)


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Mapping[tuple[int, int], Reference]]:
    folder: Path = tmp_path_factory.mktemp("peace")
    return references_for(folder, range(len(SPECS)))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_accepted_is_lost(
    start_stack: StartStack, references: Mapping[int, Mapping[tuple[int, int], Reference]], kind: str
) -> None:
    report = Driver(start_stack(kind, 2), kind, DOSE, references).run()
    assert report.failures == []
    assert (report.accepted, report.terminal, report.lost, report.doubled) == (12, 12, 0, 0)
    assert (report.duplicated_points, report.gaps, report.wrong_bits) == (0, 0, 0)
    assert sum(report.faults.values()) > 3


def test_points_that_are_lost_on_their_way_are_caught(
    start_stack: StartStack, references: Mapping[int, Mapping[tuple[int, int], Reference]]
) -> None:
    stack = start_stack(settings={mutants.VARIABLE: "without_chunks_beside_the_checkpoint"})
    report = Driver(stack, "sqlite", Plan(8, 1_000.0, 1.0, 60.0), references).run()
    assert report.gaps > 0
    assert report.failures
