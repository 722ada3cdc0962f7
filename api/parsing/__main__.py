"""The child that parses one upload: told on stdin, it answers in `result.json`."""

import contextlib
import errno
import json
import sys
from pathlib import Path
from typing import Any

from api.parsing.contract import DISK_FULL, RESULT, Limits, Options, Refused
from api.parsing.parse import parse

_THREADS = 2
_GRACE_SECONDS = 5
"""At the hard limit the signal would be another one, which does not tell why."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def main() -> int:
    """Parse, and answer for a parsed and for a refused upload alike; returns the exit code."""
    told = json.load(sys.stdin)
    limits = Limits(**told["limits"])
    _limit(limits)
    folder = Path(told["folder"])
    try:
        answer = _answer(Path(told["upload"]), folder, Options(**told["options"]), limits)
        (folder / RESULT).write_text(json.dumps(answer))
    except OSError as error:
        if error.errno in _FULL:
            return DISK_FULL
        raise
    return 0


def _limit(limits: Limits) -> None:
    """Where the system knows such limits, before anything large is loaded."""
    with contextlib.suppress(ImportError):
        import resource

        for kind, soft, hard in (
            ("RLIMIT_AS", limits.memory_bytes, limits.memory_bytes),
            ("RLIMIT_CPU", limits.cpu_seconds, limits.cpu_seconds + _GRACE_SECONDS),
            ("RLIMIT_FSIZE", limits.inflated_bytes, limits.inflated_bytes),
            ("RLIMIT_CORE", 0, 0),
        ):
            with contextlib.suppress(AttributeError, ValueError, OSError):
                number = getattr(resource, kind)
                _, most = resource.getrlimit(number)
                if most != resource.RLIM_INFINITY:
                    soft, hard = min(soft, most), min(hard, most)
                resource.setrlimit(number, (soft, hard))


def _answer(upload: Path, folder: Path, options: Options, limits: Limits) -> dict[str, Any]:
    try:
        import pyarrow as pa

        pa.set_cpu_count(_THREADS)
        pa.set_io_thread_count(_THREADS)
        parsed = parse(upload, folder, options, limits)
    except Refused as refusal:
        return _refused(refusal)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        return _refused(
            Refused("too_large", "its rows take more than this server stores of one file: upload fewer rows")
        )
    return {
        "description": parsed.description.model_dump(mode="json"),
        "preview": parsed.preview.model_dump(mode="json"),
    }


def _refused(refusal: Refused) -> dict[str, Any]:
    return {"refused": {"code": refusal.code, "detail": refusal.detail}}


if __name__ == "__main__":
    sys.exit(main())
