from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chaos.stack import Stack, running_stack

StartStack = Callable[..., Stack]


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[StartStack]:
    """An installation of its own kind: its database, how many workers, settings and what is broken about it."""
    with ExitStack() as running:

        def start(kind: str = "sqlite", workers: int = 1, settings: Mapping[str, str] | None = None) -> Stack:
            return running.enter_context(running_stack(tmp_path, kind, workers, settings))

        yield start
