"""Hostile clients: what others wait for while hundreds of connections drip and one sends a body without an end.

`python -m benchmarks.hostile [--json]`
"""

import argparse
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median, quantiles
from typing import Any

import httpx2
import psutil

from benchmarks.api_process import api_process, surroundings
from tests.servers import KEY

SLOW_CONNECTIONS = 200
DRIP_SECONDS = 1.0
BODY_BYTES = 10**9
ASKED = 1_000
P99_TARGET = 0.250
OPENS = f"Authorization: Bearer {KEY}\r\n".encode()
HEAD = b"GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n" + OPENS
CHUNKED = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    + OPENS
    + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)
CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"


class Attack:
    """Goes on until it is stopped, and begins anew wherever it is cut off."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopping = threading.Event()
        self.sent = 0
        """Bytes of endless bodies."""
        self.cut_off = 0
        """Slow connections that were given up by the other side."""

    @contextmanager
    def under_way(self) -> Iterator[None]:
        threads = [threading.Thread(target=what, daemon=True) for what in (self._drip, self._flood)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def _drip(self) -> None:
        """Begin requests that never end, a header line at a time."""
        clients = [self._begun() for _ in range(SLOW_CONNECTIONS)]
        while not self._stopping.wait(DRIP_SECONDS):
            for place, client in enumerate(clients):
                try:
                    client.sendall(b"X-Drop: 1\r\n")
                except OSError:
                    self.cut_off += 1
                    client.close()
                    clients[place] = self._begun()
        for client in clients:
            client.close()

    def _begun(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._port))
        client.sendall(HEAD)
        return client

    def _flood(self) -> None:
        """Send a gigabyte of blanks that call themselves JSON, over as many connections as it takes."""
        while self.sent < BODY_BYTES and not self._stopping.is_set():
            with socket.create_connection(("127.0.0.1", self._port)) as client, suppress(OSError):
                client.sendall(CHUNKED)
                while self.sent < BODY_BYTES and not self._stopping.is_set():
                    client.sendall(CHUNK)
                    self.sent += len(CHUNK)


def _asked(client: httpx2.Client) -> list[float]:
    """Seconds of one request after another."""
    found = []
    for _ in range(ASKED):
        began = time.perf_counter()
        assert client.get("/v1/jobs").status_code == 200
        found.append(time.perf_counter() - began)
        time.sleep(0.01)
    return found


def _row(name: str, seconds: Sequence[float], memory: int, more: dict[str, Any]) -> dict[str, Any]:
    return {"clients": name, "p50": median(seconds), "p99": quantiles(seconds, n=100)[98], "memory": memory} | more


def measure() -> list[dict[str, Any]]:
    with surroundings() as environment, api_process(environment) as (client, process):
        api, port = psutil.Process(process.pid), client.base_url.port
        assert port is not None
        rows = [_row("alone", _asked(client), api.memory_info().rss, {})]
        attack = Attack(port)
        with attack.under_way():
            seconds = _asked(client)
            memory = api.memory_info().rss
        told = {"sent": attack.sent, "cut_off": attack.cut_off}
        return [*rows, _row("beside hostile ones", seconds, memory, told)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rows = measure()
    if arguments.json:
        print(json.dumps({"hostile": rows}))
        return
    print(f"{'GET /v1/jobs, ' + format(ASKED, ',') + ' times':<30} {'p50':>9} {'p99':>9} {'memory':>9}")
    for row in rows:
        numbers = " ".join(f"{1000 * row[key]:>6.1f} ms" for key in ("p50", "p99"))
        print(f"{row['clients']:<30} {numbers} {row['memory'] / 1e6:>6.0f} MB")
    attacked = rows[-1]
    met = "met" if attacked["p99"] <= P99_TARGET else "missed"
    print(f"{SLOW_CONNECTIONS} slow connections, {attacked['cut_off']} times cut off")
    print(f"{attacked['sent'] / 1e6:,.0f} MB of bodies without an end")
    print(f"p99 target {1000 * P99_TARGET:.0f} ms: {met}")


if __name__ == "__main__":
    main()
