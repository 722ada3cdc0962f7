"""Connections that keep pace: who is too slow to ask, or to hear the answer, does not keep one.

uvicorn bounds how long a connection may rest between requests, and nothing else. Behind a proxy that reads requests
whole and buffers answers, none of this ever happens.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class PatientConnection(H11Protocol):
    """One connection; patient, but not for ever."""

    def __init__(self, *arguments: Any, head_seconds: float, send_seconds: float, **more: Any) -> None:
        """A request's head has to come within `head_seconds`; `send_seconds` may pass in which nothing can be sent."""
        super().__init__(*arguments, **more)
        self._head = _Deadline(self.loop, head_seconds, self._refuse)
        self._sending = _Deadline(self.loop, send_seconds, self._cut)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head.run()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            # It runs on if it does: a byte now and then is how connections are kept for nothing.
            self._head.run()
        else:
            self._head.stop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.stop()
        self._sending.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending.run()

    def resume_writing(self) -> None:
        self._sending.stop()
        super().resume_writing()

    def _refuse(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_SLOW)
            self.transport.close()

    def _cut(self) -> None:
        self.transport.abort()


class _Deadline:
    """Does something unless it is stopped in time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, do: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._do = do
        self._timer: asyncio.TimerHandle | None = None

    def run(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._do)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
