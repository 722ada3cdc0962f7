"""What the requests of one owner may take of an API process, so that other owners do not wait for them.

Limited are requests a minute (over all processes), requests in flight, threads at the same time, and processor time.
What lasts long and costs little has limits of its own: long polls, event streams and downloads together, and uploads.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from time import thread_time
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from fastapi.concurrency import run_in_threadpool

from api.auth.principals import Principal
from api.errors import OVER_QUOTA, RATE_LIMITED, UNAVAILABLE, Refusal
from api.quotas.rates import Rates
from api.quotas.token_bucket import TokenBucket
from models.access import Scope
from models.settings import Settings

RETRY_SECONDS = 1
LONG_RETRY_SECONDS = 5
TURN_SECONDS = 10.0
"""For which a request waits for other requests of its owner."""
PROMPT_REFUSALS = 60
"""Refusals in a minute that are sent at once. A client that does not wait as it is told gets further ones later."""
DELAY_SECONDS = 1.0
HEAVY_SECONDS = 0.02
"""Of processor time, above which calls of a function run one after the other for an owner."""
CLOSE = {"Connection": "close"}
"""Headers of a refusal before the body: the client may still be sending it, and it is never read."""
MOST_REMEMBERED = 1_000
"""Owners without a request in flight whose processor time is remembered."""

P = ParamSpec("P")
T = TypeVar("T")


class _Usage:
    """What the requests of one owner take now."""

    def __init__(self, settings: Settings) -> None:
        self.requests = self.followers = self.uploads = 0
        self.processor = TokenBucket(settings.owner_processor_seconds, settings.owner_processor_share)
        """Seconds of processor time."""
        self.refusals = TokenBucket(PROMPT_REFUSALS, PROMPT_REFUSALS / 60)
        """Refusals that are sent without delay."""
        self._light = asyncio.Semaphore(settings.max_owner_threads)
        self._heavy = asyncio.Semaphore(1)
        self._costs: dict[Callable[..., Any], float] = {}
        """Recent seconds of processor time of each function."""

    @property
    def is_in_use(self) -> bool:
        return bool(self.requests or self.followers or self.uploads)

    @asynccontextmanager
    async def thread_for(self, function: Callable[..., Any]) -> AsyncIterator[None]:
        """Hold one of the owner's threads; functions that computed long of late share a single one.

        Threads that compute share one interpreter: with several of one owner, every other owner would wait for each of
        them in turn, and none of them would end sooner.

        Raises:
            Refusal: if none becomes free within `TURN_SECONDS`.

        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                threads = await self._acquired(function)
        except TimeoutError:
            detail = "your other requests take as many threads as you may use: wait until one has been answered"
            raise _rate_limited(detail, RETRY_SECONDS) from None
        try:
            yield
        finally:
            threads.release()

    async def _acquired(self, function: Callable[..., Any]) -> asyncio.Semaphore:
        while True:
            threads = self._threads_for(function)
            await threads.acquire()
            # What it costs may have become known meanwhile.
            if threads is self._threads_for(function):
                return threads
            threads.release()

    def charge(self, function: Callable[..., Any], seconds: float) -> None:
        self.processor.charge(seconds)
        self._costs[function] = (self._costs.get(function, seconds) + seconds) / 2

    def _threads_for(self, function: Callable[..., Any]) -> asyncio.Semaphore:
        return self._heavy if self._costs.get(function, 0.0) > HEAVY_SECONDS else self._light


_usage: ContextVar[_Usage | None] = ContextVar("_usage", default=None)
"""Of the owner of the current request; None for an admin, and outside of requests."""


async def run_in_turn(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread, once the owner of the current request has one free, and charge its processor time.

    Raises:
        Refusal: if none becomes free within `TURN_SECONDS`.

    """
    usage = _usage.get()
    if usage is None:
        return await run_in_threadpool(function, *args, **kwargs)
    spent = 0.0

    def timed() -> T:
        nonlocal spent
        began = thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent = thread_time() - began

    async with usage.thread_for(function):
        try:
            return await run_in_threadpool(timed)
        finally:
            usage.charge(function, spent)


class RequestQuotas:
    """Admits requests; one for an API process. Admins have no quotas."""

    def __init__(self, settings: Settings, rates: Rates) -> None:
        self._settings = settings
        self._rates = rates
        self._usages: dict[str, _Usage] = {}
        self._followers = 0

    async def serve(self, principal: Principal, required: Scope, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work of a request that takes a key of scope `required`.

        Raises:
            Refusal: if the owner has as many requests in flight as it may, made too many within a minute, or took too
                much processor time.

        """
        if principal.is_admin:
            await work()
            return
        usage = self._usage_of(principal.owner)
        async with self._in_flight(usage):
            try:
                await self._count(principal, required)
            except Refusal as refusal:
                await self._refuse(usage, refusal)
            token = _usage.set(usage)
            try:
                await _Metered(work(), usage.processor)
            finally:
                _usage.reset(token)

    @asynccontextmanager
    async def following(self, principal: Principal) -> AsyncIterator[None]:
        """Hold one of the long polls, event streams and downloads that an owner may have open.

        Raises:
            Refusal: if the owner, or the process, has as many as it may.

        """
        usage, most = self._usage_of(principal.owner), self._settings.max_owner_streams
        later = {"Retry-After": str(LONG_RETRY_SECONDS)}
        if not principal.is_admin and usage.followers >= most:
            detail = f"you have {usage.followers:,} event streams, long polls and downloads open: end one first"
            await self._refuse(usage, Refusal(OVER_QUOTA, detail, headers=later))
        if self._followers >= self._settings.max_streams:
            detail = "this process has as many event streams, long polls and downloads open as it can: try again"
            await self._refuse(usage, Refusal(UNAVAILABLE, detail, headers=later))
        usage.followers += 1
        self._followers += 1
        try:
            yield
        finally:
            usage.followers -= 1
            self._followers -= 1

    @asynccontextmanager
    async def uploading(self, principal: Principal) -> AsyncIterator[None]:
        """Hold one of the uploads that an owner may send at once.

        Raises:
            Refusal: if the owner sends as many as it may.

        """
        usage, most = self._usage_of(principal.owner), self._settings.max_owner_uploads
        if not principal.is_admin and usage.uploads >= most:
            detail = f"you have {usage.uploads:,} uploads under way: wait until one has ended"
            later = {"Retry-After": str(LONG_RETRY_SECONDS), **CLOSE}
            await self._refuse(usage, Refusal(OVER_QUOTA, detail, headers=later))
        usage.uploads += 1
        try:
            yield
        finally:
            usage.uploads -= 1

    @property
    def uploads(self) -> int:
        """The uploads of all owners that are under way."""
        return sum(usage.uploads for usage in self._usages.values())

    def _usage_of(self, owner: str) -> _Usage:
        if owner not in self._usages:
            if len(self._usages) >= MOST_REMEMBERED:
                self._usages = {name: usage for name, usage in self._usages.items() if usage.is_in_use}
            self._usages[owner] = _Usage(self._settings)
        return self._usages[owner]

    @asynccontextmanager
    async def _in_flight(self, usage: _Usage) -> AsyncIterator[None]:
        if usage.requests >= self._settings.max_owner_requests:
            detail = f"you have {usage.requests:,} requests in flight: wait until one has been answered"
            await self._refuse(usage, _rate_limited(detail, RETRY_SECONDS))
        if seconds := usage.processor.seconds_to_wait():
            detail = f"your requests took too much processor time: wait {seconds} s"
            await self._refuse(usage, _rate_limited(detail, seconds))
        usage.requests += 1
        try:
            yield
        finally:
            usage.requests -= 1

    async def _refuse(self, usage: _Usage, refusal: Refusal) -> NoReturn:
        """Raise a refusal, later if the owner has got many of them: it does not wait as it is told."""
        if not usage.refusals.take(1):
            await asyncio.sleep(DELAY_SECONDS)
        raise refusal

    async def _count(self, principal: Principal, required: Scope) -> None:
        if required is Scope.METRICS:
            return
        writes = required is Scope.SUBMIT
        most = self._settings.writes_a_minute if writes else self._settings.reads_a_minute
        seconds = await self._rates.count(f"{'writes' if writes else 'reads'}:{principal.owner}", most)
        if seconds:
            what = "that change something" if writes else "that read"
            raise _rate_limited(f"you may make {most:,} requests {what} a minute: wait {seconds} s", seconds)


def _rate_limited(detail: str, seconds: int) -> Refusal:
    return Refusal(RATE_LIMITED, detail, headers={"Retry-After": str(seconds), **CLOSE})


class _Metered(Generic[T]):
    """An awaitable that charges the processor time that another one takes on the event loop."""

    def __init__(self, work: Awaitable[T], bucket: TokenBucket) -> None:
        self._work = work
        self._bucket = bucket

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._work.__await__()
        resume, value = steps.send, None
        while True:
            began = thread_time()
            try:
                awaited = resume(value)
            except StopIteration as stop:
                result: T = stop.value
                return result
            finally:
                self._bucket.charge(thread_time() - began)
            try:
                resume, value = steps.send, (yield awaited)
            except BaseException as error:
                resume, value = steps.throw, error
