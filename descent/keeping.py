# Made from descent/asynchronous/keeping.py: change that file, then `make format`.
"""The client's part for housekeeping: what has had its time goes."""

from descent import exchange
from descent.asking import Asking
from models.answers import Housekeeping

TIDYING_SECONDS = 600.0
"""A service may look through its storage for so long before it answers."""


class Keeping(Asking):
    """What an installation keeps."""

    def collect_garbage(self, *, dry_run: bool = False) -> Housekeeping:
        """Remove what has had its time, and files that nothing names; with `dry_run` only say what that would be.

        Example:
            >>> tidied = client.collect_garbage(dry_run=True)
            >>> tidied.orphans
            Removed(count=2, bytes=40960)

        """
        parameters = [("dry_run", str(dry_run).lower())]
        answer = self._transport.send("POST", "/v1/housekeeping", parameters=parameters, read_seconds=TIDYING_SECONDS)
        return exchange.read(Housekeeping, answer, self._transport.url)
