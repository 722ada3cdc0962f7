"""Per-owner request quotas of an API process, so that one owner cannot slow down others.

They limit requests per minute (across processes), concurrent requests, threads and processor time. Long polls, event
streams and downloads share one limit, and uploads have another.
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
"""Timeout for acquiring a thread."""
PROMPT_REFUSALS = 60
"""Refusals that are sent without delay: the size of a burst, which is refilled within a minute."""
DELAY_SECONDS = 1.0
HEAVY_SECONDS = 0.02
"""Processor time in seconds above which the calls of a function are serialized per owner."""
CLOSE = {"Connection": "close"}
"""Headers of an error that is sent before the body is read, because the client may still be sending it."""
MOST_REMEMBERED = 1_000
"""Number of owners above which those without open requests are dropped, with their processor time."""

P = ParamSpec("P")
T = TypeVar("T")


class _Usage:
    """Current resource usage of one owner."""

    def __init__(self, settings: Settings) -> None:
        self.requests = self.followers = self.uploads = 0
        self.processor = TokenBucket(settings.owner_processor_seconds, settings.owner_processor_share)
        """Seconds of processor time that are left."""
        self.refusals = TokenBucket(PROMPT_REFUSALS, PROMPT_REFUSALS / 60)
        """Refusals that are sent without delay."""
        # One less than the process has, so that another owner's upload is read meanwhile.
        self.parsers = asyncio.Semaphore(max(1, settings.max_parsers - 1))
        self._threads = asyncio.Semaphore(settings.max_owner_threads)
        self._heavy = asyncio.Semaphore(1)
        self._costs: dict[Callable[..., Any], float] = {}
        """Moving average of the processor seconds of each function."""

    @property
    def is_in_use(self) -> bool:
        return bool(self.requests or self.followers or self.uploads)

    @asynccontextmanager
    async def thread_for(self, function: Callable[..., Any]) -> AsyncIterator[None]:
        """Acquire one of the owner's threads; CPU-bound functions can use only one of them.

        CPU-bound threads compete for the interpreter lock: several of one owner would slow down other owners and finish
        no sooner.

        Raises:
            Refusal: if none becomes free within `TURN_SECONDS`.

        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                is_heavy = await self._acquire(function)
        except TimeoutError:
            detail = "all of your threads are in use: wait until one of your requests has finished"
            raise _rate_limited(detail, RETRY_SECONDS) from None
        try:
            yield
        finally:
            self._threads.release()
            if is_heavy:
                self._heavy.release()

    async def _acquire(self, function: Callable[..., Any]) -> bool:
        """Acquire a thread, and return whether it is the one for CPU-bound functions."""
        while not self._is_heavy(function):
            await self._threads.acquire()
            # The cost may have been measured in the meantime.
            if not self._is_heavy(function):
                return False
            self._threads.release()
        await self._heavy.acquire()
        try:
            await self._threads.acquire()
        except asyncio.CancelledError:
            self._heavy.release()
            raise
        return True

    def charge(self, function: Callable[..., Any], seconds: float) -> None:
        self.processor.charge(seconds)
        self._costs[function] = (self._costs.get(function, seconds) + seconds) / 2

    def _is_heavy(self, function: Callable[..., Any]) -> bool:
        return self._costs.get(function, 0.0) > HEAVY_SECONDS


_usage: ContextVar[_Usage | None] = ContextVar("_usage", default=None)
"""Usage of the owner of the current request; None for admins and outside of requests."""


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
    """Enforces request quotas; one instance per API process. Admins are exempt."""

    def __init__(self, settings: Settings, rates: Rates) -> None:
        self._settings = settings
        self._rates = rates
        self._usages: dict[str, _Usage] = {}
        self._followers = 0

    async def serve(self, principal: Principal, required: Scope, work: Callable[[], Awaitable[None]]) -> None:
        """Run the work of a request that requires the scope `required`, within the quotas of the owner.

        Raises:
            Refusal: if the owner exceeds the limit on concurrent requests, requests per minute or processor time.

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
        """Acquire a slot for a long poll, event stream or download.

        Raises:
            Refusal: if the owner or the process has none left.

        """
        usage, most = self._usage_of(principal.owner), self._settings.max_owner_streams
        headers = {"Retry-After": str(LONG_RETRY_SECONDS)}
        if not principal.is_admin and usage.followers >= most:
            detail = f"you have {usage.followers:,} event streams, long polls and downloads open: end one first"
            await self._refuse(usage, Refusal(OVER_QUOTA, detail, headers=headers))
        if self._followers >= self._settings.max_streams:
            detail = "this process has reached its limit of event streams, long polls and downloads: try again later"
            await self._refuse(usage, Refusal(UNAVAILABLE, detail, headers=headers))
        usage.followers += 1
        self._followers += 1
        try:
            yield
        finally:
            usage.followers -= 1
            self._followers -= 1

    @asynccontextmanager
    async def uploading(self, principal: Principal) -> AsyncIterator[None]:
        """Acquire a slot for an upload.

        Raises:
            Refusal: if the owner has none left.

        """
        usage, most = self._usage_of(principal.owner), self._settings.max_owner_uploads
        if not principal.is_admin and usage.uploads >= most:
            detail = f"you have {usage.uploads:,} uploads in progress: wait until one has finished"
            headers = {"Retry-After": str(LONG_RETRY_SECONDS), **CLOSE}
            await self._refuse(usage, Refusal(OVER_QUOTA, detail, headers=headers))
        usage.uploads += 1
        try:
            yield
        finally:
            usage.uploads -= 1

    def parsers_of(self, principal: Principal) -> asyncio.Semaphore:
        """Return what each upload of an owner holds while it is read."""
        return self._usage_of(principal.owner).parsers

    @property
    def uploads(self) -> int:
        """Number of uploads in progress, of all owners."""
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
            detail = f"your requests have used up their processor time: wait {seconds} s"
            await self._refuse(usage, _rate_limited(detail, seconds))
        usage.requests += 1
        try:
            yield
        finally:
            usage.requests -= 1

    async def _refuse(self, usage: _Usage, refusal: Refusal) -> NoReturn:
        """Raise an error; delay it if the owner has exceeded the limit on prompt refusals."""
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
            kind = "write" if writes else "read"
            raise _rate_limited(f"at most {most:,} {kind} requests per minute: wait {seconds} s", seconds)


def _rate_limited(detail: str, seconds: int) -> Refusal:
    return Refusal(RATE_LIMITED, detail, headers={"Retry-After": str(seconds), **CLOSE})


class _Metered(Generic[T]):
    """Wraps an awaitable, and charges its processor time on the event loop to a bucket."""

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
