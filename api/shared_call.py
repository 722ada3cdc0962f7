"""Work that callers at the same time share."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SharedCall(Generic[T]):
    """Does a piece of work once for all who ask while it is done."""

    def __init__(self) -> None:
        self._task: asyncio.Task[T] | None = None

    async def result(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the work that is under way, or begin it."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(work())
        return await asyncio.shield(self._task)
