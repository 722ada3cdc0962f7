"""Parse an upload in a child, which dies of a hostile file in our place."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import structlog

from api.parsing.contract import DISK_FULL, RESULT, Limits, Options, Parsed, Refused
from api.parsing.parse import SCRATCH, remove_results, too_much_memory
from models.stored import Description, Preview

log = structlog.get_logger()

_TOLD_BYTES = 4096
"""Of what a child complained, that go into the log."""
_OUT_OF_MEMORY = ("MemoryError", "bad_alloc", "Out of memory", "Cannot allocate memory", "can't start new thread")
_SIGXCPU = getattr(signal, "SIGXCPU", None)


def parse_in_child(upload: Path, folder: Path, options: Options, limits: Limits) -> Parsed:
    """Parse as `parse` does, in a process of its own with limits to its memory, its time and its files.

    Raises:
        Refused: for everything that is wrong with the upload, the child's death among it; then the folder is as it was.
        OSError: if the disk is full.

    """
    words = {
        "upload": str(upload.absolute()),
        "folder": str(folder.absolute()),
        "options": asdict(options),
        "limits": asdict(limits),
    }
    try:
        with tempfile.TemporaryFile(dir=folder) as complaints:
            code = _run(json.dumps(words).encode(), folder, 2 * limits.cpu_seconds, complaints)
            if code != 0 or not (folder / RESULT).exists():
                raise _death(code, complaints, folder)
        return _result(folder)
    except BaseException:
        remove_results(folder)
        raise
    finally:
        (folder / RESULT).unlink(missing_ok=True)
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)


def _run(words: bytes, folder: Path, seconds: float, complaints: BinaryIO) -> int:
    """The exit code of a child; a negative one is the signal that ended it."""
    with subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", "api.parsing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        cwd=folder,
        env=_environment(),
        start_new_session=True,
    ) as child:
        try:
            child.communicate(words, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise _too_slow() from None
        finally:
            if child.poll() is None:
                child.kill()
    return child.returncode


def _environment() -> dict[str, str]:
    """No secrets, and nothing that would start more threads or hoard memory."""
    root = str(Path(__file__).parents[2])
    passed = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    return passed | {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        # Small arenas give memory back, and reserve little of the address space that is limited.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "131072",
    }


def _death(code: int, complaints: BinaryIO, folder: Path) -> Exception:
    if code == DISK_FULL:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    if _SIGXCPU is not None and code == -_SIGXCPU:
        return _too_slow()
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - _TOLD_BYTES))
    told = complaints.read().decode("utf-8", "replace")
    log.warning("parser_died", code=code, stderr=told)
    if any(words in told for words in _OUT_OF_MEMORY):
        return too_much_memory()
    return Refused(
        "unreadable", "the parser could not cope with this file: check that it opens elsewhere, save it anew"
    )


def _too_slow() -> Refused:
    return Refused("too_slow", "the file takes longer to read than this server allows: upload a part of it")


def _result(folder: Path) -> Parsed:
    result = json.loads((folder / RESULT).read_bytes())
    if "refused" in result:
        raise Refused(**result["refused"])
    return Parsed(Description.model_validate(result["description"]), Preview.model_validate(result["preview"]))
