"""Fair use of the event loop by clients with many connections."""

import asyncio
from weakref import WeakValueDictionary

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.addresses import client_address


class FairShare:
    """Start one request of a client, or go on with one of its responses, in each iteration of the event loop.

    A client is an owner, or an address without a key. A request takes several iterations, so requests on hundreds of
    connections of one client would otherwise delay those of other clients several times.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        principal = scope["state"]["principal"]
        client = _address(scope) if principal.is_anonymous else principal.owner
        lock = self._locks.setdefault(client, asyncio.Lock())

        async def send_fairly(message: Message) -> None:
            await send(message)
            if message.get("more_body"):
                await _next_iteration(lock)

        await _next_iteration(lock)
        await self._app(scope, receive, send_fairly)


def _address(scope: Scope) -> str:
    """Return the address of a client, or "" if the server does not know it, as on a Unix socket."""
    return client_address(scope["client"][0]) if scope["client"] else ""


async def _next_iteration(lock: asyncio.Lock) -> None:
    """Wait for the next iteration of the event loop in which no other task holds the lock."""
    async with lock:
        await asyncio.sleep(0)
