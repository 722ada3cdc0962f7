"""Every route, with no key and with keys of every scope; nothing that is not named here is open."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from api.app import create_app
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


def test_a_route_that_somebody_adds_is_closed(settings_on_sqlite: Settings) -> None:
    app = create_app(settings_on_sqlite)

    @app.get("/v1/brand-new")
    def brand_new() -> str:
        return "everybody's secrets"

    with running_api(app) as url, http_client(url, key=None) as stranger, http_client(url) as admin:
        assert stranger.get("/v1/brand-new").status_code == 401
        assert admin.get("/v1/brand-new").status_code == 200


def test_openapi_says_what_is_open_and_how_to_open_the_rest(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["security"] == [{"key": []}]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if (method.upper(), path) in OPEN:
                assert operation["security"] == []
            else:
                assert "security" not in operation
                assert {"401", "403", "429"} <= set(operation["responses"]), f"{method} {path}"


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
