"""`python -m api`: the API behind uvicorn, as it faces a network."""

import argparse
import gc
import sys
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.http.connections import PatientConnection
from api.http.limits import MAX_HEAD_BYTES
from models.settings import Settings, settings

KEEP_ALIVE_SECONDS = 15
"""For which a connection may rest between two requests."""
GRACEFUL_SECONDS = 5
"""For which answers may go on when the server is asked to stop. Streams, and who waits for news, end within one."""


def configuration(app: Any, config: Settings, **more: Any) -> uvicorn.Config:
    """How uvicorn serves an application, or the factory of one."""
    connection = partial(PatientConnection, head_seconds=config.head_seconds, send_seconds=config.send_seconds)
    return uvicorn.Config(
        app,
        http=cast("type[PatientConnection]", connection),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        limit_concurrency=config.max_connections,
        # From anybody else the header is hearsay, and would let them choose the address that their failures count for.
        proxy_headers=bool(config.trusted_proxies),
        forwarded_allow_ips=config.trusted_proxies,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        **more,
    )


class Server(uvicorn.Server):
    """Tells the application at once that it is to stop, so that it ends what would go on for ever."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.stop()

    def stop(self) -> None:
        """Answer whoever is being answered, end streams, and leave."""
        self.should_exit = True
        if self.started:
            self._app.state.service.histories.is_closing = True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    config = settings()
    try:
        app = create_app(config)
    except ValueError as error:
        sys.exit(str(error))
    # A full collection would look at all that was imported, which takes 0.1 s of every thread, and find nothing.
    gc.collect()
    gc.freeze()
    more = {"host": asked.host, "port": asked.port, "timeout_graceful_shutdown": GRACEFUL_SECONDS}
    Server(configuration(app, config, **more), app).run()


if __name__ == "__main__":
    main()
