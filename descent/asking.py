"""How every part of the client asks: one question, or page after page."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from descent.errors import DescentError
from descent.transport import Parameters, Transport
from models.answers import Job, Page, Run

PAGE_SIZE = 200

Item = TypeVar("Item", bound=BaseModel)


class Asking:
    """Whoever asks a service."""

    _transport: Transport

    def _ask(self, kind: type[Item], method: str, path: str, parameters: Parameters = (), body: Any = None) -> Item:
        return self._read(kind, self._transport.send(method, path, parameters=parameters, body=body))

    def _read(self, kind: type[Item], answer: httpx2.Response) -> Item:
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            place = "/".join(map(str, error.errors()[0]["loc"]))
            where = f"at {place} of {answer.request.url.path}"
            raise DescentError(
                f"{self._transport.url} answers in words that this client does not know ({where}): they are of "
                f"different versions. This is descent {version('descent')}; the service's stands in its /docs."
            ) from error

    def _pages(self, kind: type[Item], path: str, parameters: Parameters) -> Iterator[Item]:
        after: Parameters = ()
        while True:
            page = self._ask(Page[kind], "GET", path, [*parameters, *after])  # type: ignore[valid-type]
            yield from page.data
            if not page.has_more:
                return
            after = [("after", str(page.next_after))]


def id_of(named: "str | Job | Run") -> str:
    return named if isinstance(named, str) else named.id


def given(**parameters: str | None) -> list[tuple[str, str]]:
    """Those that have a value."""
    return [(name, value) for name, value in parameters.items() if value is not None]
