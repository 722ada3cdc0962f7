"""Structured logs on standard error: lines for people at a terminal, JSON for machines."""

import logging
import re
import sys
from typing import Literal

import structlog

_SECRET = re.compile(r"(dk_[0-9a-f]{16}_)[A-Za-z0-9_-]{43}|(Bearer +)[^\s\"']+", re.IGNORECASE)

LogFormat = Literal["auto", "text", "json"]


def configure_logging(log_format: LogFormat) -> None:
    """Give this process's own events, and what its libraries warn of, one shape.

    "auto" is text where standard error is a terminal, and JSON where it is not.
    """
    if log_format == "auto":
        log_format = "text" if sys.stderr.isatty() else "json"
    gathered: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if log_format == "text" else "iso", utc=log_format == "json"),
    ]
    rendered: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                pad_event_to=24,
                colors=sys.stderr.isatty(),
                # The fuller formatters show local variables, and with them passwords.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
        if log_format == "text"
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    rendered.append(_without_secrets)
    structlog.configure(
        processors=[*gathered, *rendered],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    libraries = logging.StreamHandler(sys.stderr)
    libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=gathered,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(handlers=[libraries], level=logging.WARNING)


def _without_secrets(_logger: object, _method: str, line: object) -> str:
    """What was rendered, should a key have got into it: from somebody's path, or a library's message."""
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}…", str(line))
