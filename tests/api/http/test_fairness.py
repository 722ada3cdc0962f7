"""Fair use of the event loop by clients with many connections."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.auth.principals import ANONYMOUS, Principal
from api.http.fairness import FairShare
from models import access

ADA, BOB = (Principal(owner, access.Scope.READ, "key") for owner in ("ada", "bob"))
CHUNKS = 5


def request(principal: Principal, host: str | None = "192.0.2.1") -> Scope:
    client = None if host is None else (host, 1)
    return {"type": "http", "client": client, "state": {"principal": principal}}


async def receive() -> Message:
    raise AssertionError("these requests have no body")


async def respond(share: FairShare, scope: Scope, chunks: list[Scope]) -> None:
    """Serve a request, and record each chunk of the response."""

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            chunks.append(scope)

    await share(scope, receive, send)


@pytest.mark.parametrize(
    ("many", "single"),
    [
        (request(ADA), request(BOB)),
        (request(ANONYMOUS), request(BOB)),
        (request(ANONYMOUS), request(ANONYMOUS, "192.0.2.2")),
        (request(ANONYMOUS, None), request(BOB)),
    ],
    ids=["owners", "an address and an owner", "addresses", "an unknown address and an owner"],
)
def test_many_requests_of_one_client_do_not_delay_one_of_another(many: Scope, single: Scope) -> None:
    started: list[Scope] = []
    chunks: list[Scope] = []

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        started.append(scope)
        await send({"type": "http.response.start", "status": 200})
        for number in range(1, CHUNKS + 1):
            await send({"type": "http.response.body", "more_body": number < CHUNKS})

    async def scene() -> None:
        share = FairShare(app)
        scopes = [*[many] * 100, single]
        await asyncio.gather(*(respond(share, scope, chunks) for scope in scopes))

    asyncio.run(scene())
    assert len(started) == 101
    assert len(chunks) == 101 * CHUNKS
    assert started.index(single) < 3
    last_chunk = len(chunks) - 1 - chunks[::-1].index(single)
    assert last_chunk < 3 * CHUNKS, "each client sends one chunk per iteration"
