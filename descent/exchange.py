"""What every request has to it, and what its answer, or having none, means."""

import re
from importlib.metadata import version
from typing import Protocol, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from descent.errors import CutOff, DescentError, Refused, TimedOut, Unreachable
from models.answers import Problem

READ_SECONDS = 30.0
CONNECT_SECONDS = 10.0
STALLED_SECONDS = 60.0
"""How long a service may take no byte of a file: its disk may be slow."""
COME_BACK_LATER = frozenset({httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE})
_NEVER_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Item = TypeVar("Item", bound=BaseModel)


class Sending(Protocol):
    """A file on its way: how many of its bytes were sent, and of how many."""

    sent: int
    size: int


def authorization(key: str | None) -> dict[str, str]:
    """The header that lets a client in.

    Raises:
        DescentError: if the key cannot be one.

    """
    if key is not None and not _KEY.fullmatch(key):
        raise DescentError("The key cannot be one: it has a character that no key has. See DESCENT_KEY.")
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def is_elsewhere(url: str) -> bool:
    """Whether a service runs on another machine: a proxy must not stand between two processes of one.

    Raises:
        httpx2.InvalidURL: if the address is none.

    """
    return httpx2.URL(url).host not in _LOOPBACK


def retry_after(answer: httpx2.Response) -> float | None:
    """For how many seconds a service asks to be left alone."""
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def refusal(answer: httpx2.Response) -> DescentError:
    """The exception for an answer that is no success."""
    try:
        return Refused(Problem.model_validate_json(answer.content))
    except ValidationError:
        return DescentError(
            f"{answer.request.url} answered {answer.status_code}, but not in Descent's words: "
            "does another program listen there?"
        )


def failure(url: str, error: httpx2.TransportError, file: Sending | None, read_seconds: float) -> DescentError:
    """The exception for a request without an answer, which may have had a file as its body."""
    reason = str(error) or type(error).__name__
    if file is None or isinstance(error, _NEVER_CONNECTED):
        return Unreachable(url, reason)
    if isinstance(error, httpx2.ReadTimeout) and file.sent == file.size:
        return TimedOut(
            f"{url} has the whole file and has not answered for {read_seconds:g} s. It may still be reading: "
            "`descent datasets list` shows what it has read."
        )
    return CutOff(url, reason, file.sent, file.size)


def read(kind: type[Item], answer: httpx2.Response, url: str) -> Item:
    """What an answer says.

    Raises:
        DescentError: if it says it in words of another version.

    """
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        place = "/".join(map(str, error.errors()[0]["loc"]))
        where = f"at {place} of {answer.request.url.path}"
        raise DescentError(
            f"{url} answers in words that this client does not know ({where}): they are of "
            f"different versions. This is descent {version('descent')}; the service's stands in its /docs."
        ) from error
