"""Requests that survive a restart of the service, and problems that become exceptions."""

import random
import re
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import uuid4

import httpx2
from pydantic import ValidationError

from descent.content import FileContent
from descent.errors import CutOff, DescentError, Refused, TimedOut, Unreachable
from models.answers import Problem

Parameters = Sequence[tuple[str, str]]
"""Query parameters in order; a name may stand more than once."""

READ_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
_STALLED_SECONDS = 60.0
"""How long a service may take no byte of a file: its disk may be slow."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_COME_BACK_LATER = frozenset({httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE})
_NEVER_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Transport:
    """Sends one request until it is answered, or until patience runs out.

    Every POST carries an Idempotency-Key, the same one each time it is sent again, so a request whose answer got lost
    takes effect once.
    """

    def __init__(self, url: str, key: str | None, patience_seconds: float) -> None:
        self.url = url.rstrip("/")
        if key is not None and not _KEY.fullmatch(key):
            raise DescentError("The key cannot be one: it has a character that no key has. See DESCENT_KEY.")
        authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._patience_seconds = patience_seconds
        try:
            # A proxy of the environment must not stand between two processes of one machine.
            proxied = httpx2.URL(self.url).host not in _LOOPBACK
            self._http = httpx2.Client(
                base_url=self.url,
                headers=authorization,
                timeout=httpx2.Timeout(_CONNECT_SECONDS, read=READ_SECONDS),
                trust_env=proxied,
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise DescentError(f"{url!r} is no address of a service: {error}") from error

    def close(self) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters = (),
        body: Any = None,
        content: bytes | FileContent | None = None,
        headers: Mapping[str, str] | None = None,
        read_seconds: float = READ_SECONDS,
        answers: Collection[int] = (),
    ) -> httpx2.Response:
        """Return the answer to a request that succeeded, or whose status is one of `answers`.

        Its body is `body` as JSON, or `content` as it is; an answer may take `read_seconds`.

        Raises:
            Refused: if the service answers with a problem.
            Unreachable: if nothing answers for as long as patience lasts.
            CutOff: if it does not take a file to its end.
            TimedOut: if it takes one, and does not answer.

        """
        request = self._request(method, path, parameters, body, content, headers, read_seconds)
        deadline = time.monotonic() + self._patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = self._http.send(request)
            except httpx2.UnsupportedProtocol as error:
                raise DescentError(f"{self.url!r} is no address of a service: it begins with http://") from error
            except httpx2.TransportError as error:
                if time.monotonic() + pause > deadline:
                    raise self._failure(error, content, read_seconds) from error
            else:
                if answer.is_success or answer.status_code in answers:
                    return answer
                asked = _retry_after(answer, pause)
                if answer.status_code not in _COME_BACK_LATER or time.monotonic() + asked > deadline:
                    raise refusal(answer)
                pause = asked
            # A little chance keeps a crowd of clients from coming back all at once.
            time.sleep(pause * random.uniform(1.0, 1.2))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _request(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        body: Any,
        content: bytes | FileContent | None,
        headers: Mapping[str, str] | None,
        read_seconds: float,
    ) -> httpx2.Request:
        sent_headers = dict(headers or {})
        if method == "POST":
            sent_headers.setdefault("Idempotency-Key", str(uuid4()))
        if isinstance(content, FileContent):
            sent_headers["Content-Length"] = str(content.size)
        write_seconds = _STALLED_SECONDS if isinstance(content, FileContent) else _CONNECT_SECONDS
        try:
            return self._http.build_request(
                method,
                path,
                params=httpx2.QueryParams(tuple(parameters)),
                json=body,
                content=content,
                headers=sent_headers,
                timeout=httpx2.Timeout(_CONNECT_SECONDS, read=read_seconds, write=write_seconds),
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise DescentError(f"This cannot be sent: {error}") from error

    def _failure(
        self, error: httpx2.TransportError, content: bytes | FileContent | None, read_seconds: float
    ) -> DescentError:
        reason = str(error) or type(error).__name__
        if not isinstance(content, FileContent) or isinstance(error, _NEVER_CONNECTED):
            return Unreachable(self.url, reason)
        if isinstance(error, httpx2.ReadTimeout) and content.sent == content.size:
            return TimedOut(
                f"{self.url} has the whole file and has not answered for {read_seconds:g} s. It may still be reading: "
                "`descent datasets list` shows what it has read."
            )
        return CutOff(self.url, reason, content.sent, content.size)


def _retry_after(answer: httpx2.Response, otherwise: float) -> float:
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        return otherwise


def refusal(answer: httpx2.Response) -> DescentError:
    """The exception for an answer that is no success."""
    try:
        return Refused(Problem.model_validate_json(answer.content))
    except ValidationError:
        return DescentError(
            f"{answer.request.url} answered {answer.status_code}, but not in Descent's words: "
            "does another program listen there?"
        )
