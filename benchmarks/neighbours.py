"""Latency for one owner while another sends as many requests as it can to one endpoint.

`python -m benchmarks.neighbours [--json] [--seconds S] [ATTACK ...]`: each attack runs against a fresh service. The
attacker is a separate process that keeps its connections busy and ignores Retry-After.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import median, quantiles
from typing import Any

import httpx2
import psutil

from benchmarks.api_process import api_process, surroundings
from models.database import Database
from models.settings import Settings
from tests.api.fake_worker import FakeWorker
from tests.servers import http_client

READ_TARGET, SUBMIT_TARGET = 0.250, 0.500
"""Targets for the 99th percentile, in seconds."""
JOB: dict[str, Any] = {"dataset": "sine", "optimizer": "adam", "budget": {"steps": 1_000}}
COLUMNS = 9_999
ATTACKER_ADDRESS = "127.0.0.2"
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Attack:
    """Requests repeated over many connections, which take the paths in turn. Without a method, they stay idle."""

    name: str
    connections: int
    method: str = ""
    paths: tuple[str, ...] = ("",)
    body: bytes = b""
    is_anonymous: bool = False
    drops: bool = False
    """Whether a connection is closed as soon as its response has begun."""


@dataclass
class Latencies:
    """Latencies of the neighbour in seconds; infinite for a failed request."""

    read: list[float] = field(default_factory=list)
    submit: list[float] = field(default_factory=list)


class Service:
    """A running service, with keys for the attacker and the neighbour."""

    def __init__(self, admin: httpx2.Client, environment: Mapping[str, str]) -> None:
        self.url = str(admin.base_url)
        keys = [admin.post("/v1/keys", json={"owner": owner}).json()["key"] for owner in ("attacker", "neighbour")]
        self.attacker_key, self.neighbour_key = keys
        self._admin = admin
        self._environment = environment

    def attacks(self) -> Iterator[tuple[str, Callable[[], Attack]]]:
        yield "idle connections", lambda: Attack("idle connections", 5_000)
        yield "requests without a key", lambda: self._get("requests without a key", "/v1/jobs", 64, is_anonymous=True)
        yield "GET /readyz without a key", lambda: self._get("readyz", "/readyz", 64, is_anonymous=True)
        yield "validate, 9,990 features", lambda: self._validate(named=True)
        yield "validate, 9,999 columns", lambda: self._validate(named=False)
        yield "list of 200 jobs with notes", self._list
        yield "comparison reports", self._report
        yield "refused sweeps", self._refused_sweep
        yield "accepted sweeps", self._accepted_sweep
        yield "long polls", self._long_polls
        yield "streams opened and dropped", self._streams
        yield "static files", lambda: self._get("static files", "/dashboard/plotly.min.js", 200, is_anonymous=True)
        yield "static files with a key", lambda: self._get("static files", "/dashboard/main.js", 200)
        yield "unknown paths", lambda: self._get("unknown paths", "/v1/unknown", 200)
        yield "OpenAPI document", lambda: self._get("OpenAPI document", "/openapi.json", 200)
        yield "sweep of 1,000 jobs", self._sweep
        yield "pauses of 10,000 runs", self._pauses
        yield "bodies of wrong JSON", self._wrong_json
        yield "GET of one job", lambda: self._get("GET of one job", f"/v1/jobs/{self._job()}", 64)

    def _client(self) -> httpx2.Client:
        return http_client(self.url, key=self.attacker_key, timeout=120)

    def _get(self, name: str, path: str, connections: int, *, is_anonymous: bool = False) -> Attack:
        return Attack(name, connections, "GET", (path,), is_anonymous=is_anonymous)

    def _post(self, name: str, path: str, body: Any, connections: int) -> Attack:
        return Attack(name, connections, "POST", (path,), json.dumps(body).encode())

    def _job(self) -> str:
        with self._client() as client:
            return str(client.post("/v1/jobs", json=JOB).raise_for_status().json()["id"])

    def _validate(self, *, named: bool) -> Attack:
        names = [f"c{place}" for place in range(COLUMNS)]
        rows = [",".join(names), *(",".join(str((row * place) % 7) for place in range(COLUMNS)) for row in range(20))]
        with self._client() as client:
            sent = client.post("/v1/datasets", params={"name": "wide"}, content="\n".join(rows).encode())
            sent.raise_for_status()
        dataset: dict[str, Any] = {"kind": "uploaded", "id": "wide", "target": names[0], "task": "regression"}
        if named:
            dataset["features"] = names[1:9_991]
        return self._post("validate", "/v1/jobs/validate", JOB | {"dataset": dataset, "batch_size": "full"}, 40)

    def _list(self) -> Attack:
        with self._client() as client:
            for _ in range(200):
                client.post("/v1/jobs", json=JOB | {"notes": "n" * 10_000}).raise_for_status()
        return self._get("list", "/v1/jobs?limit=200", 20)

    def _report(self) -> Attack:
        config = Settings(
            database_url=self._environment["DESCENT_DATABASE_URL"], metrics_url=self._environment["DESCENT_METRICS_URL"]
        )
        with self._client() as client:
            for place in range(20):
                job = JOB | {"name": f"job {place}", "experiment": "wide", "seeds": 5}
                client.post("/v1/jobs", json=job).raise_for_status()
        worker, steps = FakeWorker.of(Database(config.database()), config), list(range(0, 1_000, 2))
        for _ in range(20):
            for run in worker.claim():
                values = [1 / (1 + step) for step in steps]
                run.report({"validation_loss": (steps, values), "train_loss": (steps, values)})
                run.finish()
            if not self._waiting():
                break
        return self._get("report", "/v1/comparisons/report?experiment=wide&format=html", 40)

    def _waiting(self) -> int:
        return sum(self._admin.get("/v1/queue").json()["waiting_by_device"].values())

    def _refused_sweep(self) -> Attack:
        grid = {"optimizer.learning_rate": [place / 1_000 for place in range(1, 1_000)] + [-1.0]}
        return self._post("refused", "/v1/sweeps", {"base": JOB, "grid": grid}, 16)

    def _accepted_sweep(self) -> Attack:
        grid = {"optimizer.learning_rate": [place / 1_000 for place in range(1, 1_001)]}
        return self._post("accepted", "/v1/sweeps", {"base": JOB, "grid": grid}, 16)

    def _run(self) -> str:
        with self._client() as client:
            (run,) = client.get(f"/v1/jobs/{self._job()}/runs").json()["data"]
        return str(run["id"])

    def _long_polls(self) -> Attack:
        return self._get("long polls", f"/v1/runs/{self._run()}/metrics?wait=20", 900)

    def _streams(self) -> Attack:
        return Attack("streams", 200, "GET", (f"/v1/runs/{self._run()}/stream",), drops=True)

    def _sweep(self) -> Attack:
        return self._get("sweep", self._large_sweep(), 16)

    def _pauses(self) -> Attack:
        path = self._large_sweep()
        return Attack("pauses", 16, "POST", (f"{path}/pause", f"{path}/resume"))

    def _large_sweep(self) -> str:
        """Submit a sweep of 1,000 jobs with 10 runs each, and return its path."""
        body = {
            "base": JOB | {"seeds": 10},
            "grid": {"optimizer.learning_rate": [(1 + i) / 1_000 for i in range(1_000)]},
        }
        with self._client() as client:
            sweep = client.post("/v1/sweeps", json=body).raise_for_status().json()["id"]
        return f"/v1/sweeps/{sweep}"

    def _wrong_json(self) -> Attack:
        body = JOB | {"seeds": ["x"] * 20_000} | {f"u{place}": place for place in range(5_000)}
        return self._post("wrong JSON", "/v1/jobs/validate", body, 40)

    @contextmanager
    def attacked(self, attack: Attack) -> Iterator[Counter[str]]:
        """Run an attack during the block; afterwards the counter holds the responses by status."""
        statuses: Counter[str] = Counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.neighbours", "--attack"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        message = vars(attack) | {"body": attack.body.decode(), "port": httpx2.URL(self.url).port}
        process.stdin.write(json.dumps(message | {"key": self.attacker_key}) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        try:
            yield statuses
        finally:
            process.stdin.close()
            statuses.update(json.loads(process.stdout.readline()))
            process.wait()

    def neighbour(self, seconds: float) -> Latencies:
        """Measure an owner that reads its job and submits others."""
        measured = Latencies()
        with http_client(self.url, key=self.neighbour_key, timeout=30) as client:
            job = client.post("/v1/jobs", json=JOB)
            path = f"/v1/jobs/{job.json()['id']}" if job.status_code == 202 else "/v1/jobs/none"
            threads = [
                threading.Thread(target=_repeat, args=(seconds, 0.02, lambda: client.get(path), measured.read, 200)),
                threading.Thread(
                    target=_repeat,
                    args=(seconds, 0.15, lambda: client.post("/v1/jobs", json=JOB), measured.submit, 202),
                ),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return measured


def _repeat(
    seconds: float, pause: float, ask: Callable[[], httpx2.Response], latencies: list[float], expected: int
) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        status = 0
        with suppress(httpx2.TransportError):
            status = ask().status_code
        latencies.append(time.perf_counter() - began if status == expected else float("inf"))
        time.sleep(pause)


async def _hammer(attack: dict[str, Any], path: str, statuses: Counter[str]) -> None:
    key = "" if attack["is_anonymous"] else f"Authorization: Bearer {attack['key']}\r\n"
    body = attack["body"].encode()
    head = f"{attack['method']} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{key}"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    while True:
        writer = None
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", attack["port"], local_addr=(ATTACKER_ADDRESS, 0)
            )
            if not attack["method"]:
                statuses["closed" if not await reader.read(1) else "answered"] += 1
                continue
            while True:
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                statuses[answer[9:12].decode()] += 1
                if attack["drops"]:
                    break
                length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                while length:
                    length -= len(await reader.readexactly(min(length, CHUNK_BYTES)))
                if b"connection: close" in answer.lower():
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            statuses[type(error).__name__] += 1
            await asyncio.sleep(0.01)
        finally:
            if writer is not None:
                writer.close()


async def _attack(attack: dict[str, Any]) -> Counter[str]:
    statuses: Counter[str] = Counter()
    paths = islice(cycle(attack["paths"]), attack["connections"])
    tasks = [asyncio.create_task(_hammer(attack, path, statuses)) for path in paths]
    await asyncio.sleep(1)
    print("under way", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    return statuses


def _row(name: str, measured: Latencies, memory: int, statuses: Mapping[str, int]) -> dict[str, Any]:
    row: dict[str, Any] = {"attack": name, "memory": memory, "statuses": dict(statuses)}
    for kind, seconds in vars(measured).items():
        seconds = seconds * 2 if len(seconds) == 1 else seconds
        row |= {f"{kind}_p50": median(seconds), f"{kind}_p99": quantiles(seconds, n=100)[98]}
    row["met"] = row["read_p99"] <= READ_TARGET and row["submit_p99"] <= SUBMIT_TARGET
    return row


def measure(name: str | None, seconds: float, database: str) -> dict[str, Any]:
    """Measure the neighbour under one attack, or without one if the name is None."""
    with surroundings(database) as environment, api_process(environment) as (admin, process):
        scene = Service(admin, environment)
        if name is None:
            return _row("none", scene.neighbour(seconds), psutil.Process(process.pid).memory_info().rss, {})
        attack = dict(scene.attacks())[name]()
        with scene.attacked(attack) as statuses:
            measured = scene.neighbour(seconds)
            memory = psutil.Process(process.pid).memory_info().rss
        return _row(name, measured, memory, statuses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help="name prefixes; default: all")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds per measurement")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--attack", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
        print(json.dumps(asyncio.run(_attack(json.loads(sys.stdin.readline())))), flush=True)
        return
    names = [name for name, _ in Service.attacks(Service.__new__(Service))]
    chosen = [name for name in names if not arguments.attacks or name.startswith(tuple(arguments.attacks))]
    if not arguments.json:
        print(f"{'attack':<30} {'GET a job':>19} {'submit a job':>19} {'memory':>8}  target")
        print(f"{'':<30} {'p50':>9} {'p99':>9} {'p50':>9} {'p99':>9}")
    rows = []
    for name in [None, *chosen]:
        row = measure(name, arguments.seconds, arguments.database)
        rows.append(row)
        if not arguments.json:
            times = " ".join(
                f"{1000 * row[key]:>6.0f} ms" for key in ("read_p50", "read_p99", "submit_p50", "submit_p99")
            )
            met = "met" if row["met"] else "missed"
            print(f"{row['attack']:<30} {times} {row['memory'] / 1e6:>5.0f} MB  {met}  {row['statuses']}", flush=True)
    if arguments.json:
        print(json.dumps({"neighbours": rows}))


if __name__ == "__main__":
    main()
