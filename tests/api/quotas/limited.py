"""An API with small limits, and clients of two owners who are bound by them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx2

from api.app import create_app
from models.settings import Settings
from tests.servers import http_client, running_api


@dataclass
class Limited:
    """An API with limits of its own, and clients of it."""

    admin: httpx2.Client
    ada: httpx2.Client
    bob: httpx2.Client


@contextmanager
def limited(settings: Settings, processes: int = 1, **limits: int) -> Iterator[list[Limited]]:
    """Some API processes on one database."""
    with ExitStack() as stack:
        keys: dict[str, str] = {}
        found = []
        for _ in range(processes):
            url = stack.enter_context(running_api(create_app(settings.model_copy(update=limits))))
            admin = stack.enter_context(http_client(url))
            for owner in ("ada", "bob"):
                if owner not in keys:
                    keys[owner] = admin.post("/v1/keys", json={"owner": owner}).json()["key"]
            ada, bob = (stack.enter_context(http_client(url, key=keys[owner])) for owner in ("ada", "bob"))
            found.append(Limited(admin, ada, bob))
        yield found


def refused(answer: httpx2.Response, kind: str) -> str:
    """The words of a refusal for now."""
    assert answer.status_code == 429, answer.text
    assert answer.json()["type"] == f"urn:descent:problem:{kind}"
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    detail: str = answer.json()["detail"]
    return detail
