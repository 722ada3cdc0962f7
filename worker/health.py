"""`python -m worker.health` tells whether a training process of this host has been heard of within a lease."""

import socket
import sys
from datetime import timedelta

from sqlalchemy import select

from models.database import Database
from models.settings import settings
from models.tables import Worker, now


def main() -> int:
    config = settings()
    since = now() - timedelta(seconds=config.lease_seconds)
    with Database(config.database()).read() as session:
        heard = select(Worker.id).where(Worker.host == socket.gethostname(), Worker.seen_at > since)
        return 0 if session.scalars(heard.limit(1)).first() else 1


if __name__ == "__main__":
    sys.exit(main())
