"""The worker of a test that breaks it: `celery -A tests.chaos.entry_worker worker`.

What is broken inside training is so in the training process: its parts are imported there, when it starts.
"""

from typing import Any

from celery.signals import worker_process_init

from models.queue import app
from tests.chaos import mutants
from worker import tasks

mutants.apply()


@worker_process_init.connect
def _poison(**_: Any) -> None:
    from tests.chaos import poison

    poison.apply()


__all__ = ["app", "tasks"]
