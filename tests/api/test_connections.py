"""Who is slow, or silent, or never reads, keeps neither a connection nor anybody else waiting."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from api.app import create_app
from models.settings import Settings
from tests.api.specs import SPEC
from tests.servers import KEY, http_client, running_api

HEAD_SECONDS, BODY_SECONDS, SEND_SECONDS = 1.5, 1.0, 0.5
PATIENCE_SECONDS = 10.0
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def url(settings_on_sqlite: Settings) -> Iterator[str]:
    """An API without patience."""
    config = settings_on_sqlite.model_copy(
        update={
            "head_seconds": HEAD_SECONDS,
            "body_seconds": BODY_SECONDS,
            "body_bytes_a_second": 10_000,
            "send_seconds": SEND_SECONDS,
        }
    )
    with running_api(create_app(config), config) as url:
        yield url


@contextmanager
def connected(url: str, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE_SECONDS)
        client.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        yield client


def rest(client: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    parts = []
    while part := client.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def is_cut_off(client: socket.socket, piece: bytes, every_seconds: float) -> bool:
    """Whether somebody hangs up on who sends this piece again and again, and reads nothing."""
    try:
        for _ in range(int(PATIENCE_SECONDS / every_seconds)):
            client.sendall(piece)
            time.sleep(every_seconds)
    except OSError:
        return True
    return False


def status(client: socket.socket) -> int:
    """Of the next answer, which is read whole."""
    with client.makefile("rb") as answer:
        code = int(answer.readline().split()[1])
        length = 0
        while (line := answer.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answer.read(length)
    return code


def test_a_silent_connection_is_closed(url: str) -> None:
    with connected(url) as client:
        assert rest(client).startswith(b"HTTP/1.1 408 ")


def test_a_head_that_drips_in_is_cut_off(url: str) -> None:
    with connected(url) as client:
        client.sendall(REQUEST[:-2])
        assert is_cut_off(client, b"X-Drop: 1\r\n", every_seconds=0.1)


def test_a_connection_serves_one_request_after_another_however_slowly_they_come(url: str) -> None:
    with connected(url) as client:
        for _ in range(4):
            client.sendall(REQUEST[:20])
            time.sleep(HEAD_SECONDS / 3)
            client.sendall(REQUEST[20:])
            assert status(client) == 200
            time.sleep(HEAD_SECONDS / 3)


def body_in_pieces(url: str, pieces: int, size: int) -> bytes:
    """What is answered to a job whose last blanks come slowly."""
    content = json.dumps(SPEC).encode()
    with connected(url) as client:
        head = f"POST /v1/jobs/validate HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
        head += "Content-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(content) + pieces * size}\r\n\r\n".encode() + content)
        try:
            for _ in range(pieces):
                time.sleep(0.1)
                client.sendall(b" " * size)
        except OSError:
            pass  # it has hung up
        return client.recv(65_536)


def test_a_body_that_drips_in_is_refused_as_a_problem(url: str) -> None:
    answer = body_in_pieces(url, pieces=50, size=1)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["type"] == "urn:descent:problem:too_slow"


def test_a_body_that_is_slow_but_comes_is_read(url: str) -> None:
    # Three times as long as a body may be waited for at first, and faster than the slowest that is borne.
    assert body_in_pieces(url, pieces=30, size=4_000).startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_nobody_reads_is_given_up(url: str) -> None:
    with connected(url, receive_buffer=4_096) as client:
        assert is_cut_off(client, REQUEST.replace(b"/healthz", b"/openapi.json"), every_seconds=0.01)


def test_hundreds_of_slow_connections_keep_nobody_waiting(url: str) -> None:
    with ExitStack() as slow, http_client(url, timeout=5) as healthy:
        clients = [slow.enter_context(connected(url)) for _ in range(200)]
        for client in clients:
            client.sendall(REQUEST[:30])
        assert all(healthy.get("/v1/jobs").status_code == 200 for _ in range(20))
        for client in clients:
            assert rest(client).startswith(b"HTTP/1.1 408 ")


def test_more_connections_than_allowed_are_told_so(settings_on_sqlite: Settings) -> None:
    config = settings_on_sqlite.model_copy(update={"max_connections": 5})
    with running_api(create_app(config), config) as url, ExitStack() as held:
        clients = [held.enter_context(connected(url)) for _ in range(5)]
        clients[-1].sendall(REQUEST)
        assert status(clients[-1]) == 503
        clients[0].close()
        time.sleep(0.1)
        clients[1].sendall(REQUEST)
        assert status(clients[1]) == 200
