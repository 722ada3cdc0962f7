"""A client of few words that never gives up, keeps its keys, and writes down every answer."""

import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import uuid4

import httpx2

from tests.servers import http_client

PAUSE_SECONDS = 0.3
ANSWER_SECONDS = 10.0


class Entry(NamedTuple):
    """One answer."""

    at: float
    number: int
    what: str
    key: str
    code: int
    """HTTP status; 0 where the connection broke."""
    job_id: str
    status: str


class ClientLog:
    """Every answer as a line of JSON, in the order of arrival: only ever appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a")
        self._lock = threading.Lock()

    def note(self, entry: Entry) -> None:
        with self._lock:
            self._file.write(json.dumps(entry._asdict()) + "\n")
            self._file.flush()

    def entries(self) -> list[Entry]:
        with self._lock:
            return [Entry(**json.loads(line)) for line in self._path.read_text().splitlines()]

    def close(self) -> None:
        self._file.close()


class GaveUp(Exception):
    """The service did not answer in time."""


class Asker:
    """Sends a POST again, with its key, until the service answers anything but "later"."""

    def __init__(self, url: str, log: ClientLog, patience_seconds: float) -> None:
        self._http = http_client(url, timeout=ANSWER_SECONDS)
        self._log = log
        self._patience_seconds = patience_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def post(self, number: int, what: str, path: str, body: Any = None, key: str = "") -> httpx2.Response:
        """The answer.

        Raises:
            GaveUp: if there is none within the patience.

        """
        key = key or str(uuid4())
        deadline = time.monotonic() + self._patience_seconds
        while time.monotonic() < deadline:
            answer = self._try(path, body, key)
            self._log.note(_entry(number, what, key, answer))
            if answer is not None and answer.status_code not in (429, 503):
                return answer
            time.sleep(PAUSE_SECONDS)
        raise GaveUp(path)

    def _try(self, path: str, body: Any, key: str) -> httpx2.Response | None:
        try:
            return self._http.post(path, json=body, headers={"Idempotency-Key": key})
        except httpx2.TransportError:
            return None


def _entry(number: int, what: str, key: str, answer: httpx2.Response | None) -> Entry:
    if answer is None:
        return Entry(time.time(), number, what, key, 0, "", "")
    told = answer.json()
    return Entry(time.time(), number, what, key, answer.status_code, told.get("id", ""), str(told.get("status", "")))
