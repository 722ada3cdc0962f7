"""What is around somebody who follows a page: where the service answers, and what the shell has been told."""

import os

ADDRESS = "http://127.0.0.1:8000"
"""Where the service answers on every page."""


def typing_environment() -> dict[str, str]:
    """Of somebody who has set nothing, in a window of 110 columns."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("DESCENT_")}
    return {**bare, "COLUMNS": "110", "NO_COLOR": "1"}
