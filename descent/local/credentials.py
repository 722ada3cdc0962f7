"""The settings that each program of a local stack may read from its environment."""

from collections.abc import Mapping

ADMIN_KEY = "DESCENT_ADMIN_KEY"
_KEYS = frozenset({ADMIN_KEY, "DESCENT_KEY"})
_PREFIX = "DESCENT_"


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the admin key and the client's key."""
    # The settings are read without regard to case.
    return {name: value for name, value in environment.items() if name.upper() not in _KEYS}


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without any setting of Descent, for programs that are not part of it."""
    return {name: value for name, value in environment.items() if not name.upper().startswith(_PREFIX)}
