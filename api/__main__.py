"""`python -m api`: the API behind uvicorn, as it faces a network."""

import argparse
from functools import partial
from typing import Any, cast

import uvicorn

from api.connections import PatientConnection
from models.settings import Settings, settings

KEEP_ALIVE_SECONDS = 15
"""For which a connection may rest between two requests."""
GRACEFUL_SECONDS = 5
"""For which answers may go on when the server is asked to stop; readers of streams come back by themselves."""
MAX_HEAD_BYTES = 64 * 1024


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
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        **more,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    uvicorn.Server(
        configuration(
            "api.app:create_app",
            settings(),
            factory=True,
            host=asked.host,
            port=asked.port,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
        )
    ).run()


if __name__ == "__main__":
    main()
