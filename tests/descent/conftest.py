"""A service small enough to hold in one's hand: it answers what a test has laid out, over real HTTP. And a real one."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from api.app import create_app
from descent import Client
from models.spec.job import JobSpec
from tests.servers import Valkey, running_api, settings_in


@dataclass
class Request:
    method: str
    path: str
    parameters: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    hang_up: bool = False
    """Close the connection instead of answering."""


Reply = Answer | Callable[[Request], Answer]


class Service:
    """Answers a route's replies in their order, the last one again and again."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._replies: dict[tuple[str, str], list[Reply]] = {}
        self.url = ""

    def on(self, method: str, path: str, *replies: Reply) -> None:
        self._replies[method, path] = list(replies)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        replies = self._replies.get((request.method, request.path))
        if not replies:
            return problem(404, "not_found", f"There is no {request.path}")
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return reply if isinstance(reply, Answer) else reply(request)


def problem(status: int, kind: str, detail: str, **more: Any) -> Answer:
    body = {
        "type": kind,
        "title": kind,
        "status": status,
        "detail": detail,
        "instance": "/",
        "request_id": "r1",
        **more,
    }
    return Answer(status, body, media_type="application/problem+json")


def make_job(job_id: str = "job_1", **changes: Any) -> dict[str, Any]:
    spec = JobSpec.model_validate({"name": changes.get("name", "adam"), "dataset": "sine", "optimizer": "adam"})
    return {
        "id": job_id,
        "owner": "admin",
        "name": "adam",
        "experiment": "",
        "tags": [],
        "notes": "",
        "priority": 0,
        "spec": spec.model_dump(mode="json"),
        "spec_hash": spec.spec_hash,
        "sweep_id": None,
        "created_at": "2026-01-02T03:04:05Z",
        "version": 3,
        "status": "queued",
        "is_terminal": False,
        "runs_by_status": {"queued": 1},
        "progress": {"completed": 0, "total": 100, "unit": "steps", "eta_seconds": None},
        "actions": ["cancel"],
        "warnings": [],
        **changes,
    }


def make_run(run_id: str = "run_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": run_id,
        "job_id": "job_1",
        "seed": 0,
        "status": "running",
        "status_reason": None,
        "status_detail": None,
        "is_terminal": False,
        "attempt": 1,
        "queue_position": None,
        "progress": {"completed": 50, "total": 100, "unit": "steps", "eta_seconds": 1.5},
        "queued_at": "2026-01-02T03:04:05Z",
        "started_at": None,
        "finished_at": None,
        "train_seconds": None,
        "summary": {},
        "cohort_id": None,
        "provenance": None,
        **changes,
    }


def make_dataset(dataset_id: str = "dataset_1", **changes: Any) -> dict[str, Any]:
    return {
        "id": dataset_id,
        "owner": "admin",
        "name": "titanic",
        "format": "csv",
        "known": None,
        "rows": 891,
        "size": 60_302,
        "stored_bytes": 85_664,
        "sha256": "0123456789abcdef",
        "created_at": "2026-01-02T03:04:05Z",
        "layout": "table",
        "columns": [],
        "grid": [],
        "notes": [],
        **changes,
    }


def make_page(*items: Any, next_after: str | None = None) -> dict[str, Any]:
    return {"data": list(items), "has_more": next_after is not None, "next_after": next_after}


def make_metrics(next_after: str, *, end: bool = False, rollback: int | None = None, **series: Any) -> dict[str, Any]:
    """A page of metrics; a series is given as {step: value}."""
    return {
        "series": {name: {"step": list(points), "value": list(points.values())} for name, points in series.items()},
        "non_finite": {},
        "rollback": None if rollback is None else {"from_step": rollback},
        "next_after": next_after,
        "status": "succeeded" if end else "running",
        "is_terminal": end,
        "poll_after_ms": 0,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service

    def _serve(self) -> None:
        address = urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        is_json = headers.get("content-type", "application/json") == "application/json"
        body = (json.loads(content) if is_json else content) if content else None
        request = Request(self.command, address.path, parse_qsl(address.query), headers, body)
        answer = self.service.answer(request)
        if answer.hang_up:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in {
            "Content-Type": answer.media_type,
            "Content-Length": str(len(text)),
            **answer.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """A test's output is its own."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 1_024
    """Connections of a crowd: the kernel drops what exceeds the queue, and the client tries again a second later."""
    daemon_threads = True


@pytest.fixture
def service() -> Iterator[Service]:
    found = Service()
    handler = type("Handler", (_Handler,), {"service": found})
    with _Server(("127.0.0.1", 0), handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, patience_seconds=5) as client:
        yield client


@pytest.fixture(scope="session")
def lasting_url(valkey: Valkey, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API itself, one for the whole session: tests must not mind what others have uploaded."""
    settings = settings_in(tmp_path_factory.mktemp("lasting"), sqlite_template, valkey)
    with running_api(create_app(settings)) as url:
        yield url


@pytest.fixture
def at_the_api(lasting_url: str) -> Iterator[Client]:
    with Client(lasting_url, patience_seconds=5) as client:
        yield client
