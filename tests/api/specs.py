"""Specs that tests submit."""

from typing import Any

SPEC: dict[str, Any] = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 100}}


def spec(**changes: Any) -> dict[str, Any]:
    return SPEC | changes
