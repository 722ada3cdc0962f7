"""Requests that survive a restart of the service, and problems that become exceptions."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import uuid4

import httpx2

from descent import exchange
from descent.asynchronous import loop
from descent.asynchronous.content import FileContent
from descent.errors import DescentError
from descent.exchange import CONNECT_SECONDS, READ_SECONDS, STALLED_SECONDS
from descent.naming import Parameters
from descent.pacing import Pace

CONNECTIONS = 100
"""So many requests are under way at once. A service takes two thousand connections of all its clients."""
_LONGEST_PAUSE_SECONDS = 2.0


class Transport:
    """Sends a request until it is answered, or until patience runs out.

    Every POST carries an Idempotency-Key, the same one each time it is sent again, so a request whose answer got lost
    takes effect once.
    """

    def __init__(self, url: str, key: str | None, patience_seconds: float) -> None:
        self.url = url.rstrip("/")
        self._patience_seconds = patience_seconds
        self._places = loop.semaphore(CONNECTIONS)
        authorization = exchange.authorization(key)
        try:
            self._http = httpx2.AsyncClient(
                base_url=self.url,
                headers=authorization,
                limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
                trust_env=exchange.is_elsewhere(self.url),
                verify=not self.url.startswith("http://"),  # without TLS, no certificates: reading them takes 20 ms
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise DescentError(f"{url!r} is no address of a service: {error}") from error

    async def close(self) -> None:
        await self._http.aclose()

    async def send(
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
        file = content if isinstance(content, FileContent) else None
        # Patience is with the service: who waits for others of this client to be answered has lost none.
        async with self._places:
            pace = Pace(self._patience_seconds, growth=2.0, longest=_LONGEST_PAUSE_SECONDS)
            while True:
                try:
                    answer = await self._http.send(request)
                except httpx2.UnsupportedProtocol as error:
                    raise DescentError(f"{self.url!r} is no address of a service: it begins with http://") from error
                except httpx2.TransportError as error:
                    if pace.is_over:
                        raise exchange.failure(self.url, error, file, read_seconds) from error
                else:
                    if answer.is_success or answer.status_code in answers:
                        return answer
                    pace.slow_down(exchange.retry_after(answer))
                    if answer.status_code not in exchange.COME_BACK_LATER or pace.is_over:
                        raise exchange.refusal(answer)
                await loop.sleep(pace.next_pause())

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
        write_seconds = STALLED_SECONDS if isinstance(content, FileContent) else CONNECT_SECONDS
        try:
            return self._http.build_request(
                method,
                path,
                params=httpx2.QueryParams(tuple(parameters)),
                json=body,
                content=content,
                headers=sent_headers,
                timeout=httpx2.Timeout(CONNECT_SECONDS, read=read_seconds, write=write_seconds, pool=None),
            )
        except (httpx2.InvalidURL, ValueError) as error:
            raise DescentError(f"This cannot be sent: {error}") from error
