from collections.abc import Iterator

import pytest

from worker.training.threads import threads


@pytest.fixture(autouse=True)
def _on_one_thread() -> Iterator[None]:
    """Small products that are spread over threads wait for each other wherever other tests run, too."""
    with threads(1):
        yield
