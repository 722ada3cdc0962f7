# Made from descent/asynchronous/asking.py: change that file, then `make format`.
"""How every part of the client asks: one question, or page after page."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from descent import exchange
from descent.naming import Parameters
from descent.transport import Transport
from models.answers import Page

Item = TypeVar("Item", bound=BaseModel)


class Asking:
    """Whoever asks a service."""

    _transport: Transport

    def _ask(
        self,
        kind: type[Item],
        method: str,
        path: str,
        parameters: Parameters = (),
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Item:
        answer = self._transport.send(method, path, parameters=parameters, body=body, headers=headers)
        return exchange.read(kind, answer, self._transport.url)

    def _pages(self, kind: type[Item], path: str, parameters: Parameters = ()) -> Iterator[Item]:
        after: Parameters = ()
        while True:
            page = self._ask(Page[kind], "GET", path, [*parameters, *after])  # type: ignore[valid-type]
            yield from page.data
            if not page.has_more:
                return
            after = [("after", str(page.next_after))]

    def _all(self, kind: type[Item], path: str, parameters: Parameters = ()) -> list[Item]:
        return list(self._pages(kind, path, parameters))
