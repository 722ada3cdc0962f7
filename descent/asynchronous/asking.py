"""How every part of the client asks: one question, or page after page."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from descent import exchange
from descent.asynchronous.transport import Transport
from descent.naming import Parameters
from models.answers import Page

Item = TypeVar("Item", bound=BaseModel)


class Asking:
    """Whoever asks a service."""

    _transport: Transport

    async def _ask(
        self,
        kind: type[Item],
        method: str,
        path: str,
        parameters: Parameters = (),
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Item:
        answer = await self._transport.send(method, path, parameters=parameters, body=body, headers=headers)
        return exchange.read(kind, answer, self._transport.url)

    async def _pages(self, kind: type[Item], path: str, parameters: Parameters = ()) -> AsyncIterator[Item]:
        after: Parameters = ()
        while True:
            page = await self._ask(Page[kind], "GET", path, [*parameters, *after])  # type: ignore[valid-type]
            for item in page.data:
                yield item
            if not page.has_more:
                return
            after = [("after", str(page.next_after))]

    async def _all(self, kind: type[Item], path: str, parameters: Parameters = ()) -> list[Item]:
        return [item async for item in self._pages(kind, path, parameters)]
