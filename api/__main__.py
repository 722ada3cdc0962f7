"""`python -m api`: the API behind uvicorn, as it faces a network."""

import argparse
import gc
import resource
import socket
import sys
from functools import partial
from types import FrameType
from typing import Any, cast

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.app import create_app
from api.http.connections import Connection, ConnectionTable, Listener
from api.http.limits import MAX_HEAD_BYTES
from api.quotas.addresses import AddressThrottle
from models.settings import Settings, settings

KEEP_ALIVE_SECONDS = 15
"""For which a connection may rest between two requests."""
GRACEFUL_SECONDS = 5
"""For which responses may go on when the server is asked to stop. Streams and long polls end within one."""
ACCEPTED_AT_ONCE = 64
"""Connections that asyncio accepts before it serves others: a thousand would keep them waiting for 0.2 s."""
BACKLOG = 4_096
"""Connections that the kernel holds until they are accepted."""
OTHER_FILES = 512
"""File descriptors reserved for the database, Redis, storage and uploads."""
SWITCH_SECONDS = 0.001
"""For which a thread may hold the interpreter while others wait for it; Python's default is five times as long."""

log = structlog.get_logger()


def _configuration(app: FastAPI, config: Settings, table: ConnectionTable, **options: Any) -> uvicorn.Config:
    connection = partial(Connection, table=table, head_seconds=config.head_seconds, send_seconds=config.send_seconds)
    return uvicorn.Config(
        app,
        http=cast("type[Connection]", connection),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=ACCEPTED_AT_ONCE,
        # From any other client the header could name any address, and its failures would count for that one.
        proxy_headers=bool(config.trusted_proxies),
        forwarded_allow_ips=config.trusted_proxies,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        **options,
    )


def _most_connections(config: Settings) -> int:
    """Return how many connections the limit on open files allows, after raising it as far as needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.max_connections + OTHER_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return config.max_connections
    most = max(1, soft - OTHER_FILES)
    log.warning("connections.limited_by_open_files", max_connections=most, wanted=config.max_connections)
    return most


class Server(uvicorn.Server):
    """Serves an application as it faces a network; ends event streams and long polls as soon as it is to stop."""

    def __init__(self, app: FastAPI, config: Settings, **options: Any) -> None:
        proxies = ProxyHeadersMiddleware(cast(Any, app), config.trusted_proxies).trusted_hosts
        throttle = AddressThrottle(config.anonymous_a_minute)
        self._table = ConnectionTable(_most_connections(config), config.max_address_connections, proxies, throttle)
        self._app = app
        super().__init__(_configuration(app, config, self._table, **options))

    def run_on(self, listener: Listener) -> None:
        """Serve until asked to stop."""
        listener.table = self._table
        self.run([listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            # asyncio takes one number for both: what the kernel holds, and what is accepted at once.
            listener.listen(BACKLOG)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.stop()

    def stop(self) -> None:
        """End streams, let other responses end, and stop."""
        self.should_exit = True
        if self.started:
            self._app.state.service.histories.is_closing = True


def listen(host: str, port: int) -> Listener:
    """Return a socket that is bound to an address.

    Raises:
        OSError: if the address is taken, or does not exist.

    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # asyncio turns off Nagle's delay only where the protocol is named.
    listener = Listener(family, kind, protocol or socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    config = settings()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        app = create_app(config)
        listener = listen(arguments.host, arguments.port)
    except ValueError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}")
    # Exclude imported objects from garbage collection: a full one would block all threads for 0.1 s and free nothing.
    gc.collect()
    gc.freeze()
    Server(app, config, timeout_graceful_shutdown=GRACEFUL_SECONDS).run_on(listener)


if __name__ == "__main__":
    main()
