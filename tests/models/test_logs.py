"""One shape for what this process says and what its libraries warn of."""

import json
import os
import pty
import re
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging, sys
import structlog
from models.logs import configure_logging

configure_logging(sys.argv[1])
log = structlog.get_logger()
log.info("run.lost", run_id="run_1", crashes=2)
log.debug("too.small")
with structlog.contextvars.bound_contextvars(request_id="r1"):
    logging.getLogger("some.library").warning("it is %s", "late")
logging.getLogger("some.library").info("chatter")
try:
    raise ValueError("no such thing")
except ValueError:
    log.exception("request.failed")
    logging.getLogger("some.library").exception("it broke")
"""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def said(log_format: str, *, at_a_terminal: bool = False) -> str:
    """What the program writes to standard error; a process of its own, so that no other test's logs change."""
    ours, theirs = pty.openpty() if at_a_terminal else os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, log_format], stdout=subprocess.PIPE, stderr=theirs
    ) as program:
        os.close(theirs)
        text = b""
        while part := _read(ours):
            text += part
        os.close(ours)
        assert program.stdout is not None
        assert program.stdout.read() == b"", "standard output belongs to results"
    assert program.returncode == 0, text
    return COLOURS.sub("", text.decode())


def _read(source: int) -> bytes:
    try:
        return os.read(source, 65_536)
    except OSError:  # how a terminal says that its other end is closed
        return b""


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_a_line_for_the_program_and_its_libraries() -> None:
    own, library, failed, broke = events(said("json"))
    moment = own.pop("timestamp")
    assert moment.endswith("Z")
    assert own == {"event": "run.lost", "level": "info", "run_id": "run_1", "crashes": 2}
    assert (library["event"], library["level"], library["request_id"]) == ("it is late", "warning", "r1")
    assert library["timestamp"] >= moment
    for one, event in ((failed, "request.failed"), (broke, "it broke")):
        assert (one["event"], one["level"]) == (event, "error")
        assert one["exception"].splitlines()[0].startswith("Traceback")
        assert one["exception"].splitlines()[-1] == "ValueError: no such thing"


def test_text_is_for_people() -> None:
    text = said("text")
    first = text.splitlines()[0]
    for word in ("run.lost", "run_id", "run_1", "info"):
        assert word in first
    for word in ("it is late", "request_id", "request.failed", "it broke"):
        assert word in text
    assert "ValueError: no such thing" in text
    assert "too.small" not in text
    assert "chatter" not in text


def test_auto_is_text_at_a_terminal_and_json_elsewhere() -> None:
    assert len(events(said("auto"))) == 4
    assert not said("auto", at_a_terminal=True).startswith("{")
