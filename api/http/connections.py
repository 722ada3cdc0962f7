"""Connection limits per client address, and timeouts for slow clients.

uvicorn limits idle time and the total number of connections, but not connections per client, and rejects connections
with plain text.
"""

import asyncio
import secrets
import socket
import struct
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, Protocol

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from api.errors import HEAD_TOO_LARGE, MALFORMED, TOO_SLOW, UNAVAILABLE, ProblemKind, problem_bytes
from api.http.addresses import client_address
from api.quotas.addresses import AddressThrottle
from api.quotas.token_bucket import TokenBucket

RETRY_AFTER_SECONDS = 2
REPLACEMENTS_A_SECOND = 50
"""Connections accepted per second at a limit. Each replaces an existing one."""
CLOSED_AT_ONCE = 500
"""Maximum number of connections rejected per call of `accept`: about 5 ms."""
_RESET = struct.pack("ii", 1, 0)
PARSED_AT_ONCE = 16 * 1024
SMALL_CHUNKS, SMALL_CHUNK_BYTES = 256, 64
"""A body in more chunks than this must have larger ones: each costs some microseconds, however small it is."""
LINGER_SECONDS = 1.0
"""How long a rejected connection is still read: if it were closed at once, the client might never get the response."""


def _replacements() -> TokenBucket:
    return TokenBucket(REPLACEMENTS_A_SECOND, REPLACEMENTS_A_SECOND)


class Proxies(Protocol):
    """A set of addresses; uvicorn's takes networks as well."""

    def __contains__(self, host: str | None) -> bool: ...


class ConnectionTable:
    """Counts connections per address, and closes waiting ones to admit new ones.

    A connection waits while the head of its next request is not complete. Closing it costs the client only a new
    connection, so a client that merely holds connections open cannot block others.
    """

    def __init__(self, most: int, most_per_address: int, trusted_proxies: Proxies, throttle: AddressThrottle) -> None:
        """Limit connections in total and per address; those from a trusted proxy have no per-address limit."""
        self._most = most
        self._most_per_address = most_per_address
        self._trusted_proxies = trusted_proxies
        self.throttle = throttle
        self._replacements: defaultdict[str, TokenBucket] = defaultdict(_replacements)
        self._addresses: dict[Connection, str] = {}
        self._open: Counter[str] = Counter()
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        self._waiting_by_address: defaultdict[str, OrderedDict[Connection, None]] = defaultdict(OrderedDict)

    def accepts(self, host: str) -> bool:
        """Return whether to accept a connection; at a limit, only `REPLACEMENTS_A_SECOND` are accepted."""
        address = client_address(host)
        if self._is_at_share(host, address):
            return self._replacements[address].take(1)
        return len(self._addresses) < self._most or self._replacements[""].take(1)

    def admit(self, connection: "Connection", host: str) -> bool:
        """Register a connection, closing a waiting one if necessary, and return whether it was admitted."""
        address = client_address(host)
        if self._is_at_share(host, address):
            if not self._close_oldest(self._waiting_by_address[address]):
                return False
        elif len(self._addresses) >= self._most and not self._close_oldest(self._waiting):
            return False
        self._addresses[connection] = address
        self._open[address] += 1
        self.wait(connection)
        return True

    def wait(self, connection: "Connection") -> None:
        """Mark a connection as waiting for a request."""
        if address := self._addresses.get(connection):
            self._waiting.setdefault(connection)
            self._waiting_by_address[address].setdefault(connection)

    def serve(self, connection: "Connection") -> None:
        """Mark a connection as serving a request."""
        if address := self._addresses.get(connection):
            self._waiting.pop(connection, None)
            self._waiting_by_address[address].pop(connection, None)

    def remove(self, connection: "Connection") -> None:
        """Unregister a connection, if it was admitted."""
        self.serve(connection)
        address = self._addresses.pop(connection, None)
        if address is None:
            return
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
            self._replacements.pop(address, None)
            self._waiting_by_address.pop(address, None)

    def _is_at_share(self, host: str, address: str) -> bool:
        return self._open[address] >= self._most_per_address and host not in self._trusted_proxies

    def _close_oldest(self, waiting: "OrderedDict[Connection, None]") -> bool:
        oldest = next(iter(waiting), None)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.make_room()
        return True


class Listener(socket.socket):
    """A listening socket that resets excess connections at once."""

    table: ConnectionTable

    def accept(self) -> tuple[socket.socket, Any]:
        for _ in range(CLOSED_AT_ONCE):
            connection, address = super().accept()
            if self.table.accepts(address[0]):
                return connection, address
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            connection.close()
        raise BlockingIOError


class Connection(H11Protocol):
    """An HTTP connection with timeouts for reading and writing."""

    def __init__(
        self, *arguments: Any, table: ConnectionTable, head_seconds: float, send_seconds: float, **options: Any
    ) -> None:
        """Prepare a connection.

        Args:
            arguments: Passed to the protocol of uvicorn.
            table: Where the connection is registered.
            head_seconds: Timeout for receiving the head of a request.
            send_seconds: Timeout without write progress.
            options: Passed to the protocol of uvicorn.

        """
        super().__init__(*arguments, **options)
        self._next_event, self.conn.next_event = self.conn.next_event, self._counted_event  # type: ignore[method-assign]
        self._chunks = self._chunk_bytes = 0
        self._table = table
        self._is_refused = False
        self._head = _Deadline(self.loop, head_seconds, self._end_slow_head)
        self._sending = _Deadline(self.loop, send_seconds, self._abort)
        self._linger = _Deadline(self.loop, LINGER_SECONDS, self._abort)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._table.admit(self, self.client[0] if self.client else ""):
            self._head.start()
        else:
            self._refuse(UNAVAILABLE, "no connection is free, all of them are serving requests: try again")

    def data_received(self, data: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        # In pieces, because h11 limits the size of a head only while it is incomplete.
        for start in range(0, len(data), PARSED_AT_ONCE):
            super().data_received(data[start : start + PARSED_AT_ONCE])
            if self._is_refused or self.transport.is_closing():
                return
        if self.conn.their_state is h11.IDLE:
            # Not restarted: a client could hold the connection open by sending a byte at a time.
            self._head.start()
        else:
            self._head.stop()
            self._table.serve(self)

    def _counted_event(self) -> Any:
        event = self._next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._chunk_bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += 1
            self._chunk_bytes += len(event.data)
            if self._chunks > SMALL_CHUNKS and self._chunk_bytes < self._chunks * SMALL_CHUNK_BYTES:
                raise h11.RemoteProtocolError("the chunks are too small", MALFORMED.status)
        return event

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._table.wait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.stop()
        self._sending.stop()
        self._linger.stop()
        self._table.remove(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending.start()

    def resume_writing(self) -> None:
        self._sending.stop()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        error = sys.exception()
        is_head = self.cycle is None or self.cycle.response_complete
        if not is_head and self.cycle.response_started:
            self._abort()
        elif is_head and isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            self._refuse(HEAD_TOO_LARGE, HEAD_TOO_LARGE.example)
        else:
            self._refuse(MALFORMED, f"this is not HTTP/1.1, or its chunks are too small: {error}")

    def make_room(self) -> None:
        """Close this waiting connection to admit a new one."""
        self.transport.abort()

    def _end_slow_head(self) -> None:
        self._refuse(TOO_SLOW, "the request head did not arrive in time")

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        self._is_refused = True
        self._head.stop()
        if seconds := self._table.throttle.delay(self.client[0] if self.client else ""):
            self.loop.call_later(seconds, self._write_refusal, kind, detail)
        else:
            self._write_refusal(kind, detail)

    def _write_refusal(self, kind: ProblemKind, detail: str) -> None:
        if self.transport.is_closing():
            return
        body = problem_bytes(kind, detail, request_id=f"req_{secrets.token_hex(8)}")
        head = [
            b"HTTP/1.1 %d %s" % (kind.status, STATUS_PHRASES[kind.status]),
            b"Content-Type: application/problem+json",
            b"Content-Length: %d" % len(body),
            b"Connection: close",
        ]
        if kind is UNAVAILABLE:
            head.append(b"Retry-After: %d" % RETRY_AFTER_SECONDS)
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.write_eof()
        self._linger.start()

    def _abort(self) -> None:
        self.transport.abort()


class _Deadline:
    """Calls a function after a timeout unless stopped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, act: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the timer unless it is running."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._act)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
