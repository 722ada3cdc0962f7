"""Every wake-up is sent ten times, where a test wants it so."""

import os
from typing import Any

from models.queue import TRAIN, app

VARIABLE = "DESCENT_CHAOS_MESSAGES"


def apply() -> None:
    """Send as many copies as the environment says."""
    copies = int(os.environ.get(VARIABLE, "1"))
    if copies == 1:
        return
    send = app.send_task

    def send_often(name: str, *arguments: Any, **options: Any) -> Any:
        for _ in range(copies - 1 if name == TRAIN else 0):
            send(name, *arguments, **options)
        return send(name, *arguments, **options)

    vars(app)["send_task"] = send_often
