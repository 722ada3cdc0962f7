"""What a coroutine does where a thread would just stand still.

asyncio is imported where it is used: a coroutine that runs finds it loaded, and who wants the other client alone does
not pay for it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def semaphore(places: int) -> "asyncio.Semaphore":
    import asyncio

    return asyncio.Semaphore(places)


async def sleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


async def in_thread(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Call what may take a while, and let others go on meanwhile. Cancelled, it does not wait for the call to end."""
    import asyncio

    return await asyncio.to_thread(function, *arguments, **named)


@asynccontextmanager
async def entered(context: AbstractContextManager[Result]) -> AsyncIterator[Result]:
    """A context that takes a while to enter. Cancelled meanwhile, it is left as soon as it has been entered."""
    import asyncio

    def leave(entering: "asyncio.Future[Result]") -> None:
        if not entering.cancelled() and entering.exception() is None:
            context.__exit__(None, None, None)

    entering = asyncio.get_running_loop().run_in_executor(None, context.__enter__)
    try:
        held = await asyncio.shield(entering)
    except asyncio.CancelledError:
        entering.add_done_callback(leave)
        raise
    with ExitStack() as stack:
        stack.push(context)
        yield held
