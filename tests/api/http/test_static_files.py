"""Static files of the dashboard and of the page of the documentation."""

import asyncio
from importlib.resources import files
from pathlib import Path

import anyio.to_thread
import httpx2
import pytest
from starlette.types import Message

import api.dashboard
from api.http.static_files import StaticFile
from tests.servers import http_client

DASHBOARD = Path(api.dashboard.__file__).parent
PLOTLY = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
DOCUMENTATION = Path(str(files("fastapi_offline") / "static"))
FILES = {
    "/": DASHBOARD / "index.html",
    "/dashboard/main.js": DASHBOARD / "main.js",
    "/dashboard/plotly.min.js": PLOTLY,
    "/docs/files/swagger-ui.css": DOCUMENTATION / "swagger-ui.css",
}


@pytest.mark.parametrize("path", FILES)
def test_a_static_file_is_sent_whole_and_only_once_to_a_client_that_keeps_it(
    lasting_api: httpx2.Client, path: str
) -> None:
    with http_client(str(lasting_api.base_url), key=None) as client:
        response = client.get(path)
        assert response.status_code == 200
        assert response.content == FILES[path].read_bytes()
        assert response.headers["Cache-Control"] == "no-cache"
        etag = response.headers["ETag"]
        unchanged = client.get(path, headers={"If-None-Match": etag})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["ETag"] == etag
        policy = response.headers["Content-Security-Policy"]
        assert unchanged.headers["Content-Security-Policy"] == policy, "a client updates the stored headers"
        assert client.get(path, headers={"If-None-Match": '"other"'}).content == response.content


def test_static_files_need_no_thread(lasting_api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a thread was used")

    monkeypatch.setattr(anyio.to_thread, "run_sync", fail)
    with http_client(str(lasting_api.base_url), key=None) as client:
        assert [client.get(path).status_code for path in FILES] == [200] * len(FILES)


@pytest.mark.parametrize(
    "path", ["/dashboard/serve.py", "/dashboard/index.html", "/dashboard/none.js", "/docs/files/redoc.standalone.js"]
)
def test_other_files_are_not_served(lasting_api: httpx2.Client, path: str) -> None:
    with http_client(str(lasting_api.base_url), key=None) as client:
        assert client.get(path).status_code == 404


def test_an_empty_file_is_sent_to_its_end(tmp_path: Path) -> None:
    path, sent = tmp_path / "empty.css", list[Message]()
    path.touch()

    async def receive() -> Message:
        raise AssertionError("the request has no body")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(StaticFile(path, {}).response(None)({"type": "http"}, receive, send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert not sent[-1]["more_body"]
