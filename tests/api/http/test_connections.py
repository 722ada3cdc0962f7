"""Who is slow, or silent, or never reads, keeps neither a connection nor anybody else waiting."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from api.app import create_app
from api.http.addresses import client_address
from models.settings import Settings
from tests.api.specs import SPEC
from tests.servers import KEY, http_client, running_api

HEAD_SECONDS, BODY_SECONDS, SEND_SECONDS = 1.5, 1.0, 0.5
PATIENCE_SECONDS = 10.0
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.fixture
def url(settings_on_sqlite: Settings) -> Iterator[str]:
    """Run an API with short timeouts."""
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
def connected(url: str, receive_buffer: int | None = None, *, source: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.bind((source, 0))
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
            pass  # the server closed the connection
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


def problem(client: socket.socket, code: int, kind: str) -> None:
    """Read the response that ends a connection: a problem document."""
    head, _, body = rest(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % code), head
    assert b"application/problem+json" in head
    assert b"connection: close" in head.lower()
    document = json.loads(body)
    assert (document["status"], document["type"]) == (code, f"urn:descent:problem:{kind}")
    assert document["detail"]
    assert document["request_id"].startswith("req_")


@pytest.mark.parametrize(
    ("sent", "code", "kind"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 2_000_000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "malformed_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n", 400, "malformed_request"),
    ],
)
def test_what_the_parser_refuses_is_answered_with_a_problem(url: str, sent: bytes, code: int, kind: str) -> None:
    with connected(url) as client:
        client.sendall(sent)
        problem(client, code, kind)


@contextmanager
def limited(settings: Settings, **limits: Any) -> Iterator[str]:
    config = settings.model_copy(update=limits)
    with running_api(create_app(config), config) as url:
        yield url


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_at_the_address_limit_the_longest_waiting_connection_is_closed(settings_on_sqlite: Settings) -> None:
    with limited(settings_on_sqlite, max_address_connections=5) as url, ExitStack() as held:
        clients = [held.enter_context(connected(url)) for _ in range(5)]
        clients[0].sendall(REQUEST)
        assert status(clients[0]) == 200
        newest = held.enter_context(connected(url))
        newest.sendall(REQUEST)
        assert status(newest) == 200
        assert is_closed(clients[1]), "the first one was served last, so this one waits the longest"
        clients[0].sendall(REQUEST)
        assert status(clients[0]) == 200


def test_at_the_limit_of_the_process_other_addresses_make_room(settings_on_sqlite: Settings) -> None:
    with limited(settings_on_sqlite, max_connections=5) as url, ExitStack() as held:
        clients = [held.enter_context(connected(url, source="127.0.0.2")) for _ in range(5)]
        healthy = held.enter_context(connected(url))
        healthy.sendall(REQUEST)
        assert status(healthy) == 200
        assert is_closed(clients[0])


def test_where_no_connection_waits_a_new_one_is_refused(settings_on_sqlite: Settings) -> None:
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
    with limited(settings_on_sqlite, max_address_connections=3) as url, ExitStack() as held:
        for _ in range(3):
            served = held.enter_context(connected(url))
            served.sendall(head.encode())
            assert served.recv(100).startswith(b"HTTP/1.1 100"), "the server waits for the body"
        with connected(url) as client:
            problem(client, 503, "unavailable")
        with connected(url, source="127.0.0.2") as other:
            other.sendall(REQUEST)
            assert status(other) == 200


def test_thousands_of_idle_connections_of_one_address_shut_nobody_out(settings_on_sqlite: Settings) -> None:
    with limited(settings_on_sqlite, max_connections=200, max_address_connections=100) as url, ExitStack() as held:
        for _ in range(2_010):
            # Beyond the limit they are closed at once, some even before the handshake is over here.
            with suppress(OSError):
                held.enter_context(connected(url, source="127.0.0.2"))
        with http_client(url, timeout=5) as healthy:
            assert [healthy.get("/v1/jobs").status_code for _ in range(20)] == [200] * 20


def test_behind_a_trusted_proxy_the_limit_is_of_forwarded_addresses(settings_on_sqlite: Settings) -> None:
    limits = {"max_address_connections": 2, "trusted_proxies": ["127.0.0.1"]}
    with limited(settings_on_sqlite, **limits) as url, ExitStack() as held:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: 10\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
        for _ in range(2):
            held.enter_context(connected(url)).sendall(head.encode())
        time.sleep(0.1)
        with http_client(url) as client:
            refused = client.get("/healthz", headers={"X-Forwarded-For": "192.0.2.1"})
            assert (refused.status_code, refused.json()["type"]) == (429, "urn:descent:problem:rate_limited")
            assert client.get("/healthz", headers={"X-Forwarded-For": "192.0.2.2"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", ""),
    ],
)
def test_a_network_of_ipv6_addresses_counts_as_one_client(host: str, address: str) -> None:
    assert client_address(host) == address


def test_a_body_in_tiny_chunks_is_refused_before_it_is_parsed_whole(url: str) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
    head += f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n\r\n".encode()
    with connected(url) as client, suppress(OSError):
        client.sendall(head + b"1\r\n \r\n" * 40_000 + b"0\r\n\r\n")
        problem(client, 400, "malformed_request")
    with connected(url) as client:
        client.sendall(head + b"1\r\n{\r\n" + b"40\r\n" + b" " * 64 + b"\r\n" + b"1\r\n}\r\n" + b"0\r\n\r\n")
        assert status(client) == 422, "a few small chunks are read"


def test_an_address_that_sends_much_that_is_rejected_gets_responses_later(settings_on_sqlite: Settings) -> None:
    with limited(settings_on_sqlite, anonymous_a_minute=4) as url:
        for sent in (b"no HTTP\r\n\r\n", b"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n"):
            seconds = []
            for _ in range(3):
                began = time.monotonic()
                with connected(url) as client:
                    client.sendall(sent)
                    assert rest(client).startswith(b"HTTP/1.1 400 ")
                seconds.append(time.monotonic() - began)
            assert seconds[2] > 1.0 > min(seconds[:2])
