"""How often something happens in a minute: counted in Redis for all API processes, in SQL while Redis is away."""

import asyncio
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING

import structlog
from fastapi.concurrency import run_in_threadpool
from redis import RedisError
from sqlalchemy import case, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from models.database import Database
from models.tables import RateCount, now

if TYPE_CHECKING:
    import redis.asyncio

WINDOW_SECONDS = 60
REDIS_SECONDS = 0.5
SILENT_SECONDS = 2.0
"""A Redis that did not answer in time is left alone for so long."""

log = structlog.get_logger()


class Rates:
    """Counts in windows: the first of a name opens one, and a minute later it is over."""

    def __init__(self, client: "redis.asyncio.Redis", database: Database) -> None:
        self._redis = client
        self._database = database
        self._silent_until = 0.0

    async def count(self, name: str, most: int) -> int | None:
        """Count one more. If that is one too many: the seconds until there is room again."""
        return await self._counted(name, most, 1)

    async def exceeded(self, name: str, most: int) -> int | None:
        """The same without counting: whether one more would be one too many."""
        return await self._counted(name, most - 1, 0)

    async def _counted(self, name: str, most: int, amount: int) -> int | None:
        clock = asyncio.get_running_loop().time
        if clock() >= self._silent_until:
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    count, seconds = await self._in_redis(name, amount)
            except (RedisError, OSError) as error:
                log.warning("rates.redis_away", error=type(error).__name__)
                self._silent_until = clock() + SILENT_SECONDS
            else:
                return max(1, ceil(seconds)) if count > most else None
        count, seconds = await run_in_threadpool(self._in_sql, name, amount)
        return max(1, ceil(seconds)) if count > most else None

    async def _in_redis(self, name: str, amount: int) -> tuple[int, float]:
        key = f"descent:rate:{name}"
        async with self._redis.pipeline(transaction=True) as pipeline:
            if amount:
                pipeline.incrby(key, amount)
                pipeline.expire(key, WINDOW_SECONDS, nx=True)
            else:
                pipeline.get(key)
            pipeline.pttl(key)
            answers = await pipeline.execute()
        return int(answers[0] or 0), max(0, answers[-1]) / 1000

    def _in_sql(self, name: str, amount: int) -> tuple[int, float]:
        moment = now()
        if not amount:
            with self._database.read() as session:
                row = session.get(RateCount, name)
            if row is None or row.ends_at <= moment:
                return 0, 0.0
            return row.count, (row.ends_at - moment).total_seconds()
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        ends = moment + timedelta(seconds=WINDOW_SECONDS)
        is_over = RateCount.ends_at <= moment
        statement = (
            insert(RateCount)
            .values(name=name, count=amount, ends_at=ends)
            .on_conflict_do_update(
                index_elements=[RateCount.name],
                set_={
                    "count": case((is_over, amount), else_=RateCount.count + amount),
                    "ends_at": case((is_over, ends), else_=RateCount.ends_at),
                },
            )
            .returning(RateCount.count, RateCount.ends_at)
        )
        with self._database.write() as session:
            count, ends_at = session.execute(statement).one()
        return count, (ends_at - moment).total_seconds()


def forget_old_counts(database: Database) -> None:
    with database.write() as session:
        old = select(RateCount.name).where(RateCount.ends_at < now()).limit(10_000)
        session.execute(delete(RateCount).where(RateCount.name.in_(old)))
