"""The points of a run after a cursor: from Redis while they are fresh, from SQL otherwise, each exactly once.

Chunks bear the same numbers in both places, so a cursor tells where to go on in either. What Redis holds counts only
where it joins the cursor without a gap; SQL fills gaps, and SQL alone says that a run has ended.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from random import uniform
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray
from redis import RedisError
from sqlalchemy import select, tuple_

from api.comparison.downsample import kept_points
from api.errors import NOT_FOUND, Refusal
from api.quotas.requests import run_in_turn
from models import metric_stream
from models.answers import Columns, MetricsPage, Rollback
from models.database import Database
from models.metric_stream import FROM_NOTHING, Chunk, Cursor, LiveState, merge, unpack
from models.status import RunStatus
from models.tables import MetricSegment, Run

if TYPE_CHECKING:
    import redis.asyncio

CHUNKS_AT_ONCE = 200
SEGMENTS_AT_ONCE = 100
LOOK_SECONDS = 1.0
"""A waiting reader looks into SQL this often where no worker speaks for the run."""
GAP_SECONDS = 0.25
"""What Redis lost reaches SQL within two seconds; a waiting reader asks this often."""
REDIS_SECONDS = 2.0
"""A Redis that does not answer for so long is left alone for as long again."""

log = structlog.get_logger()


@dataclass(frozen=True)
class _Live:
    """What Redis knows."""

    chunks: list[Chunk]
    state: LiveState | None

    def speaks_for_itself(self, after: Cursor, joined: Sequence[Chunk]) -> bool:
        """Whether SQL can add nothing: a worker trains the run now, and all that it published joins the cursor."""
        if self.state is None or self.state.status.is_terminal or len(joined) < len(self.chunks):
            return False
        return not joined[-1].end if joined else after != Cursor()


@dataclass(frozen=True)
class _Found:
    """What follows a cursor, by one look."""

    chunks: list[Chunk]
    status: RunStatus
    more: bool
    """More may follow at once, in what was not looked at."""
    has_gap: bool = False
    """Redis holds later chunks, and what lies before them is not in SQL yet."""


class Histories:
    """Reads histories. One for a process: its readers share connections."""

    def __init__(self, database: Database, client: "redis.asyncio.Redis") -> None:
        self._database = database
        self._redis = client
        self._redis_silent_until = 0.0
        self.is_closing = False
        """Whoever waits for news is answered without any, within a second: the process is about to stop."""

    async def page(
        self, run_id: str, after: Cursor, names: Collection[str], *, limit: int, wait_seconds: float = 0.0
    ) -> MetricsPage:
        """The points after a cursor, of all metrics or the named ones: whole chunks, at least one.

        Waits for the first of them, for a change of status, or for the end, at most `wait_seconds`.

        Raises:
            Refusal: if there is no such run.

        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + wait_seconds
        taken: list[Chunk] = []
        place, first_status, patience = after, None, 0.0
        while True:
            found = await self._look(run_id, place, names, limit - _points(taken), patience)
            kept = _within(found.chunks, names, limit - _points(taken), needs_one=not taken)
            taken += kept
            place = taken[-1].cursor if taken else after
            is_cut = len(kept) < len(found.chunks)
            if found.more and not is_cut and _points(taken) < limit:
                continue
            status, first_status = found.status, first_status or found.status
            left = deadline - clock()
            has_news = _is_news(taken) or status is not first_status or status.is_terminal
            if has_news or left <= 0 or self.is_closing:
                break
            # At random, so that readers who began together do not ask SQL together.
            patience = min(LOOK_SECONDS * uniform(0.5, 1.0), left)  # noqa: S311
            if found.has_gap:
                await asyncio.sleep(min(GAP_SECONDS, left))
        return _page(taken, names, after, place, status, more=found.more or is_cut)

    async def sampled(self, run_id: str, names: Collection[str], max_points: int) -> MetricsPage:
        """The whole history so far, each series downsampled to `max_points`.

        Raises:
            Refusal: if there is no such run.

        """
        status, chunks = await run_in_turn(self._whole, run_id, names)
        while True:
            place = chunks[-1].cursor if chunks else Cursor()
            live = await self._live(run_id, place, 0.0)
            fresh = _joined(place, live.chunks, settled=True) if live else []
            chunks += fresh
            if len(fresh) < CHUNKS_AT_ONCE:
                break
        place = chunks[-1].cursor if chunks else Cursor()
        return await run_in_turn(_page, chunks, names, Cursor(), place, status, max_points=max_points)

    async def _look(self, run_id: str, after: Cursor, names: Collection[str], room: int, wait_seconds: float) -> _Found:
        live = await self._live(run_id, after, wait_seconds)
        chunks = _joined(after, live.chunks) if live else []
        if live and live.speaks_for_itself(after, chunks):
            assert live.state is not None
            return _Found(chunks, live.state.status, more=len(chunks) == CHUNKS_AT_ONCE)
        place = chunks[-1].cursor if chunks else after
        status, stored, more = await run_in_turn(self._stored, run_id, place, names, room)
        chunks += stored
        place = chunks[-1].cursor if chunks else after
        later = [chunk for chunk in live.chunks if chunk.cursor > place] if live else []
        fresh = [] if more else _joined(place, later, settled=True)
        is_full = live is not None and len(live.chunks) == CHUNKS_AT_ONCE
        return _Found(
            chunks + fresh,
            status,
            more=more or (is_full and len(fresh) == len(later)),
            has_gap=not more and len(fresh) < len(later),
        )

    async def _live(self, run_id: str, after: Cursor, wait_seconds: float) -> _Live | None:
        """What Redis holds after the cursor; None while Redis does not answer."""
        clock = asyncio.get_running_loop().time
        if clock() < self._redis_silent_until:
            await asyncio.sleep(wait_seconds)
            return None
        try:
            async with asyncio.timeout(wait_seconds + REDIS_SECONDS):
                chunks = await metric_stream.read(
                    self._redis, run_id, after, limit=CHUNKS_AT_ONCE, wait_seconds=wait_seconds
                )
                return _Live(chunks, await metric_stream.live_state(self._redis, run_id))
        except (RedisError, OSError) as error:
            log.warning("metrics.redis_away", error=type(error).__name__)
            self._redis_silent_until = clock() + REDIS_SECONDS
            return None

    def _stored(
        self, run_id: str, after: Cursor, names: Collection[str], room: int
    ) -> tuple[RunStatus, list[Chunk], bool]:
        """The run's status, what SQL holds after the cursor, and whether it holds more."""
        with self._database.read() as session:
            # The status first: what a later statement sees can only be newer, so an ended run's points are complete.
            status = session.scalar(select(Run.status).where(Run.id == run_id))
            if status is None:
                raise Refusal(NOT_FOUND, f"there is no run {run_id}")
            rows = session.execute(
                select(MetricSegment.attempt, MetricSegment.payload)
                .where(
                    MetricSegment.run_id == run_id,
                    tuple_(MetricSegment.attempt, MetricSegment.last_number) > (after.attempt, after.number)
                    if after.attempt
                    else MetricSegment.attempt > 0,
                )
                .order_by(MetricSegment.attempt, MetricSegment.first_number)
                .limit(SEGMENTS_AT_ONCE)
            ).all()
        chunks: list[Chunk] = []
        for index, (attempt, payload) in enumerate(rows):
            chunks += [chunk for chunk in unpack(attempt, payload) if not after.attempt or chunk.cursor > after]
            if _points(_selected(chunks, names)) > room:
                return RunStatus(status), chunks, index + 1 < len(rows) or len(rows) == SEGMENTS_AT_ONCE
        return RunStatus(status), chunks, len(rows) == SEGMENTS_AT_ONCE

    def _whole(self, run_id: str, names: Collection[str]) -> tuple[RunStatus, list[Chunk]]:
        whole: list[Chunk] = []
        more = True
        while more:
            place = whole[-1].cursor if whole else Cursor()
            status, chunks, more = self._stored(run_id, place, names, room=1_000_000)
            whole += _selected(chunks, names)
        return status, whole


def _joined(after: Cursor, chunks: Sequence[Chunk], *, settled: bool = False) -> list[Chunk]:
    """The chunks that follow the cursor without a gap.

    A later attempt's first chunk joins if nothing before it can matter: because the attempt began from nothing, or
    because SQL has been read already (`settled`).
    """
    joined = []
    for chunk in chunks:
        cursor = chunk.cursor
        is_next = cursor.attempt == after.attempt > 0 and cursor.number == after.number + 1
        is_first = cursor.number == 0 and cursor.attempt > after.attempt
        from_nothing = chunk.from_step == FROM_NOTHING
        if not (is_next or (is_first and (from_nothing or settled))):
            break
        joined.append(chunk)
        after = cursor
    return joined


def _selected(chunks: Sequence[Chunk], names: Collection[str]) -> list[Chunk]:
    if not names:
        return list(chunks)
    return [
        replace(chunk, columns={name: column for name, column in chunk.columns.items() if name in names})
        for chunk in chunks
    ]


def _points(chunks: Sequence[Chunk]) -> int:
    return sum(len(steps) for chunk in chunks for steps, _ in chunk.columns.values())


def _is_news(chunks: Sequence[Chunk]) -> bool:
    """Whether a waiting reader wants to know: there is a point, or the start of an attempt that takes some back."""
    return any(len(steps) for chunk in chunks for steps, _ in chunk.columns.values()) or any(
        chunk.from_step is not None and chunk.cursor.attempt > 1 for chunk in chunks
    )


def _within(chunks: Sequence[Chunk], names: Collection[str], room: int, *, needs_one: bool) -> list[Chunk]:
    """As many whole chunks as have room, and at least one if needed; only the named metrics of them."""
    kept: list[Chunk] = []
    for chunk in _selected(chunks, names):
        room -= _points([chunk])
        if room < 0 and (kept or not needs_one):
            break
        kept.append(chunk)
    return kept


def _page(
    chunks: Sequence[Chunk],
    names: Collection[str],
    after: Cursor,
    place: Cursor,
    status: RunStatus,
    *,
    more: bool = False,
    max_points: int | None = None,
) -> MetricsPage:
    starts = [
        chunk.from_step for chunk in chunks if chunk.from_step is not None and chunk.cursor.attempt > after.attempt
    ]
    series = {
        name: columns(steps, values, max_points)
        for name, (steps, values) in merge(_selected(chunks, names)).items()
        if len(steps)
    }
    nulls = {
        name: [step for step, value in zip(s.step, s.value, strict=True) if value is None] for name, s in series.items()
    }
    is_terminal = status.is_terminal and not more
    return MetricsPage(
        series=series,
        non_finite={name: steps for name, steps in nulls.items() if steps},
        # A reader that holds nothing yet has nothing to take back.
        rollback=Rollback(from_step=min(starts)) if starts and after.attempt else None,
        next_after=str(place) if place.attempt else "",
        status=status,
        is_terminal=is_terminal,
        poll_after_ms=0 if is_terminal or more else 1_000 if status is RunStatus.QUEUED else 250,
    )


def columns(steps: NDArray[np.int32], values: NDArray[np.float32], max_points: int | None = None) -> Columns:
    """Points as two columns; downsampled if asked, and then with their number before."""
    total = None
    if max_points is not None:
        total = len(steps)
        kept = kept_points(values.astype(np.float64), max_points)
        steps, values = steps[kept], values[kept]
    told: list[float | None] = values.tolist()
    for index in np.flatnonzero(~np.isfinite(values)):
        told[index] = None
    return Columns(step=steps.tolist(), value=told, total=total)
