"""Every route without a key and with keys of every scope, in every spelling of its path."""

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any, NamedTuple

import httpx2
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from api.app import create_app
from api.auth.scopes import PUBLIC, ScopedRoute, check_declarations, requires
from models.access import Scope
from models.settings import Settings
from tests.servers import http_client, running_api

OPEN = {("GET", "/healthz"), ("GET", "/readyz")}
ADMINS = {
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("GET", "/v1/keys/{key_id}"),
    ("DELETE", "/v1/keys/{key_id}"),
    ("POST", "/v1/keys/{key_id}/rotate"),
    ("GET", "/v1/workers"),
    ("POST", "/v1/housekeeping"),
}
READS_BY_POST = {("POST", "/v1/jobs/validate"), ("POST", "/v1/verdicts")}
SCRAPED = {("GET", "/metrics")}


class Route(NamedTuple):
    method: str
    template: str

    @property
    def path(self) -> str:
        filled = self.template
        while "{" in filled:
            begin, end = filled.index("{"), filled.index("}")
            filled = filled[:begin] + "nobody" + filled[end + 1 :]
        return filled


@pytest.fixture(scope="module")
def document(lasting_api: httpx2.Client) -> dict[str, Any]:
    found: dict[str, Any] = lasting_api.get("/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def routes(document: dict[str, Any]) -> list[Route]:
    return [Route(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


@pytest.fixture(scope="module")
def keys(lasting_api: httpx2.Client) -> Iterator[dict[Scope, httpx2.Client]]:
    """A client of each scope, all for one owner who has nothing."""
    url, clients = str(lasting_api.base_url), {}
    for scope in Scope:
        made = lasting_api.post("/v1/keys", json={"owner": "walker", "scope": scope}).json()
        clients[scope] = http_client(url, key=made["key"])
    yield clients
    for client in clients.values():
        client.close()


def expected(route: Route, scope: Scope) -> bool:
    """Whether a key of the scope comes through, by rules written down anew."""
    if route in OPEN or scope is Scope.ADMIN:
        return True
    if route in SCRAPED or scope is Scope.METRICS:
        return route in SCRAPED and scope is Scope.METRICS
    if route in ADMINS:
        return False
    return scope is Scope.SUBMIT or route.method == "GET" or route in READS_BY_POST


def test_without_a_key_every_route_but_the_health_checks_answers_401(
    lasting_api: httpx2.Client, routes: list[Route]
) -> None:
    assert len(routes) > 55
    with http_client(str(lasting_api.base_url), key=None) as stranger:
        for route in routes:
            status = stranger.request(route.method, route.path).status_code
            assert status in (200, 503) if route in OPEN else status == 401, f"{route}: {status}"


def test_every_scope_reaches_as_far_as_it_says_on_every_route(
    keys: dict[Scope, httpx2.Client], routes: list[Route]
) -> None:
    for route in routes:
        for scope, client in keys.items():
            status = client.request(route.method, route.path).status_code
            assert (status != 403) == expected(route, scope), f"{route} with {scope}: {status}"
            assert status != 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/v1"),
        ("GET", "/openapi.json"),
        ("GET", "/healthz/"),
        ("GET", "//healthz"),
        ("GET", "/healthz/../v1/jobs"),
        ("GET", "/docs/files/../../v1/jobs"),
        ("GET", "/docs/files"),
        ("GET", "/HEALTHZ"),
        ("HEAD", "/v1/jobs"),
        ("OPTIONS", "/v1/jobs"),
        ("TRACE", "/v1/jobs"),
        ("FROBNICATE", "/v1/jobs"),
        ("PUT", "/v1/jobs/x"),
    ],
)
def test_what_is_no_route_is_closed_too(lasting_api: httpx2.Client, method: str, path: str) -> None:
    with http_client(str(lasting_api.base_url), key=None) as stranger:
        request = stranger.build_request(method, "/")
        request.url = request.url.copy_with(raw_path=path.encode())
        assert stranger.send(request).status_code == 401


def test_pages_are_open_and_what_they_show_is_not(lasting_api: httpx2.Client) -> None:
    with http_client(str(lasting_api.base_url), key=None) as stranger:
        assert stranger.get("/").status_code == 200
        for path in ("/", "/dashboard/main.js", "/dashboard/plotly.min.js"):
            assert "script-src 'self';" in stranger.get(path).headers["Content-Security-Policy"]
        assert stranger.get("/dashboard/main.js").status_code == 200
        assert stranger.get("/dashboard/plotly.min.js").status_code == 200
        assert stranger.get("/dashboard/serve.py").status_code == 404
        page = stranger.get("/docs")
        assert page.status_code == 200
        assert "paths" not in page.text
        assert stranger.get("/docs/files/swagger-ui.css").status_code == 200
        assert stranger.get("/openapi.json").status_code == 401
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_route_without_a_declared_scope_does_not_start(settings_on_sqlite: Settings, *, is_declared: bool) -> None:
    app = create_app(settings_on_sqlite)
    router = APIRouter(route_class=ScopedRoute if is_declared else APIRoute)
    dependencies = [requires(Scope.ADMIN)] if is_declared else []

    @router.get("/v1/brand-new", dependencies=dependencies)
    def brand_new() -> str:
        return "every owner's data"

    app.include_router(router)
    if is_declared:
        check_declarations(app)
        with running_api(app) as url, http_client(url, key=None) as stranger, http_client(url) as admin:
            assert stranger.get("/v1/brand-new").status_code == 401
            assert admin.get("/v1/brand-new").status_code == 200
    else:
        with pytest.raises(TypeError, match="/v1/brand-new declares no scope"):
            check_declarations(app)


def test_a_scoped_route_declares_exactly_one_scope(settings_on_sqlite: Settings) -> None:
    def brand_new() -> str:
        return ""

    app = create_app(settings_on_sqlite)
    for dependencies in ([], [requires(Scope.READ), requires(Scope.ADMIN)], [PUBLIC, requires(Scope.READ)]):
        with pytest.raises(TypeError, match=r"exactly one scope, not [02]"):
            app.add_api_route("/v1/brand-new", brand_new, dependencies=dependencies)


def test_openapi_names_the_scope_of_every_route(document: dict[str, Any], routes: list[Route]) -> None:
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for route in routes:
        operation = document["paths"][route.template][route.method.lower()]
        if route in OPEN:
            assert "security" not in operation
        else:
            scopes = [scope for scope in Scope if operation["security"] == [{"key": [scope]}]]
            assert len(scopes) == 1, route
            assert expected(route, scopes[0])
            assert {"401", "403", "429"} <= set(operation["responses"]), route


REFUSED_ENDINGS = [
    "%0A", "%0D", "%0D%0A", "%09", "%20", "%00", "%7F", "%C2%85", "%E2%80%A8", "/.", "/..", "/%2e", "/.%2E",
    "%2F", "%5C", "%C0%8A", "%C0%AF", "%ED%A0%80", "%FF", "%", "%zz",
]  # fmt: skip
"""Ambiguous path suffixes: control characters, dot segments, encoded slashes,
overlong and broken UTF-8, broken escapes."""
OTHER_SPELLINGS: list[Callable[[str], str]] = [
    lambda path: path + "/",
    lambda path: "/" + path,
    lambda path: path.replace("/v1", "/V1", 1),
    lambda path: path + ";x=1",
    lambda path: path.replace("1", "%31", 1),
    lambda path: "".join(f"%{ord(letter):02x}" if letter != "/" else letter for letter in path),
]
"""Of which some name the same route, and some none."""


class PlainClient:
    """Sends paths exactly as they are spelled, over one connection as long as the server keeps it."""

    def __init__(self, url: str, key: str | None) -> None:
        self._connection = HTTPConnection(httpx2.URL(url).host, httpx2.URL(url).port)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def status(self, method: str, path: str) -> int:
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in self._headers.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()
        with self._connection.getresponse() as response:
            response.read()
            return response.status

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def plain_clients(lasting_api: httpx2.Client) -> Iterator[dict[Scope | None, PlainClient]]:
    """A client of each scope, and one without a key, that do not normalize paths."""
    url = str(lasting_api.base_url)
    clients: dict[Scope | None, PlainClient] = {None: PlainClient(url, None)}
    for scope in Scope:
        made = lasting_api.post("/v1/keys", json={"owner": "walker", "scope": scope}).json()
        clients[scope] = PlainClient(url, made["key"])
    yield clients
    for client in clients.values():
        client.close()


def test_no_spelling_of_a_path_lets_a_key_of_another_scope_in(
    plain_clients: dict[Scope | None, PlainClient], routes: list[Route]
) -> None:
    for route in routes:
        for scope, client in plain_clients.items():
            if route in OPEN or (scope is not None and expected(route, scope)):
                continue
            for ending in REFUSED_ENDINGS:
                status = client.status(route.method, route.path + ending)
                assert status == 400, f"{route} with {scope} and {ending}: {status}"
            for spelling in OTHER_SPELLINGS:
                status = client.status(route.method, spelling(route.path))
                assert status in (401, 403, 404, 405), f"{route} with {scope} as {spelling(route.path)}: {status}"


def test_a_newline_after_an_admin_path_makes_no_admin(
    lasting_api: httpx2.Client, keys: dict[Scope, httpx2.Client]
) -> None:
    before = len(lasting_api.get("/v1/keys", params={"owner": "evil"}).json()["data"])
    made = keys[Scope.SUBMIT].post("/v1/keys%0A", json={"owner": "evil", "scope": "admin"})
    assert (made.status_code, made.json()["type"]) == (400, "urn:descent:problem:malformed_request")
    assert len(lasting_api.get("/v1/keys", params={"owner": "evil"}).json()["data"]) == before


@pytest.mark.parametrize("target", ["*", "http://127.0.0.1/v1/jobs", "//healthz/%0A"])
def test_a_request_target_that_is_not_a_path_is_rejected(
    plain_clients: dict[Scope | None, PlainClient], target: str
) -> None:
    assert plain_clients[Scope.ADMIN].status("GET", target) == 400


def test_no_page_of_another_origin_is_let_in(lasting_api: httpx2.Client) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = lasting_api.options("/v1/jobs", headers=asked)
    assert answer.status_code == 405
    answer = lasting_api.get("/v1/jobs", headers=asked)
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_who_is_not_let_in_cannot_send_a_body_without_end(lasting_api: httpx2.Client) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(16_000):
            yield b" " * 65_536

    with http_client(str(lasting_api.base_url), key=None) as stranger:
        try:
            status = stranger.post("/v1/jobs", content=body()).status_code
        except httpx2.TransportError:
            return  # cut off while it was still sending
        assert status == 401
