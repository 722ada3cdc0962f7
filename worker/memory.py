"""An upper bound on a training process's memory, so that whoever asks for too much hears so and can be told from it."""

import resource
from pathlib import Path

FACTOR = 2
"""By how much an estimate may be wrong."""


def bound(bytes_for_training: int) -> None:
    """Let this process have so much more than it has now, `FACTOR` times; beyond that, allocations raise.

    Where the system has no such limit nothing is bounded: the kernel then ends whoever takes too much.
    """
    has = _data_bytes()
    if has is None:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = has + FACTOR * bytes_for_training
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _data_bytes() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), None)
