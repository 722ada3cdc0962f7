"""The seam between Redis and SQL: a reader gets every point once, whatever is lost and whenever it asks."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import make_url, select, update

from api.histories import Histories
from descent.history import History
from models import checkpoints, lifecycle, owner
from models.answers import MetricsPage
from models.database import Database
from models.metric_stream import FROM_NOTHING, Cursor, connect, connect_async
from models.spec.job import JobSpec
from models.spec.plan import plan
from models.status import RunStatus
from models.tables import Checkpoint, Run
from tests.api.fake_worker import FakeRun, FakeWorker
from tests.api.specs import SPEC


class Bench:
    """A database, a Redis, a fake worker, and the reader under test in its own event loop."""

    def __init__(self, database_url: str, redis_url: str) -> None:
        self.database = Database(make_url(database_url))
        self.client = connect(redis_url)
        self.worker = FakeWorker(self.database, self.client)
        self.runner = asyncio.Runner()
        self._redis = connect_async(redis_url)
        self.histories = Histories(self.database, self._redis)

    def new_run(self) -> FakeRun:
        spec = JobSpec.model_validate(SPEC)
        with self.database.write() as session:
            owner.submit(session, "admin", spec, plan(spec))
        return self.worker.claim()[0]

    def page(self, run: FakeRun, after: str = "", *names: str, limit: int = 10_000, wait: float = 0.0) -> MetricsPage:
        return self.runner.run(
            self.histories.page(run.claimed.id, Cursor.parse(after), names, limit=limit, wait_seconds=wait)
        )

    def sampled(self, run: FakeRun, max_points: int) -> MetricsPage:
        return self.runner.run(self.histories.sampled(run.claimed.id, (), max_points))

    def redis_is_away(self, is_away: bool = True) -> None:
        self.histories._redis_silent_until = float("inf") if is_away else 0.0

    def close(self) -> None:
        self.runner.run(self._redis.aclose())
        self.runner.run(self._redis.connection_pool.aclose())
        self.runner.close()
        self.client.close()
        self.database.dispose()


@pytest.fixture
def bench(sqlite_database_url: str, redis_url: str) -> Iterator[Bench]:
    bench = Bench(sqlite_database_url, redis_url)
    yield bench
    bench.close()


def steps(page: MetricsPage, name: str = "train_loss") -> list[int]:
    return page.series[name].step if name in page.series else []


def loss(*at: int) -> dict[str, tuple[tuple[int, ...], tuple[float, ...]]]:
    return {"train_loss": (at, tuple(1 / step for step in at))}


def test_points_are_readable_as_soon_as_they_are_published(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1, 2))
    page = bench.page(run)
    assert steps(page) == [1, 2]
    assert (page.status, page.is_terminal, page.rollback) == (RunStatus.RUNNING, False, None)
    assert 0 < page.poll_after_ms < 1_000
    again = bench.page(run, page.next_after)
    assert (again.series, again.next_after) == ({}, page.next_after)


def test_a_run_that_waits_has_an_empty_first_page_and_a_slow_poll(bench: Bench) -> None:
    run = bench.new_run()
    with bench.database.write() as session:
        lifecycle.release(session, run.claimed.id, 1)
    page = bench.page(run)
    assert (page.series, page.next_after, page.status, page.poll_after_ms) == ({}, "", RunStatus.QUEUED, 1_000)


def test_what_redis_lost_comes_from_sql_without_a_seam(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1))
    cursor = bench.page(run).next_after
    run.report(loss(2))
    run.save()
    bench.client.flushall()
    run.report(loss(3))
    run.save()
    run.report(loss(4))
    assert steps(bench.page(run, cursor)) == [2, 3, 4]
    assert steps(bench.page(run)) == [1, 2, 3, 4]


def test_a_gap_that_is_in_neither_yet_is_waited_for(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1))
    cursor = bench.page(run).next_after
    run.report(loss(2), to_redis=False)
    run.report(loss(3))
    assert steps(bench.page(run, cursor, wait=0.1)) == []
    run.save()
    assert steps(bench.page(run, cursor)) == [2, 3]


def test_the_whole_history_comes_from_sql_while_redis_is_away(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1, 2), to_redis=False)
    run.save()
    bench.redis_is_away()
    page = bench.page(run)
    assert (steps(page), page.status) == ([1, 2], RunStatus.RUNNING)
    run.finish(to_redis=False)
    page = bench.page(run, page.next_after)
    assert (page.is_terminal, page.status, page.poll_after_ms) == (True, RunStatus.SUCCEEDED, 0)


def test_the_page_that_brings_the_end_is_the_last(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1))
    run.finish(RunStatus.FAILED)
    page = bench.page(run)
    assert (steps(page), page.is_terminal, page.status, page.poll_after_ms) == ([1], True, RunStatus.FAILED, 0)
    after_the_end = bench.page(run, page.next_after)
    assert (after_the_end.series, after_the_end.is_terminal) == ({}, True)


def test_a_run_that_never_began_ends_without_a_chunk(bench: Bench) -> None:
    run = bench.new_run()
    with bench.database.write() as session:
        lifecycle.release(session, run.claimed.id, 1)
        row = session.get(Run, run.claimed.id)
        assert row is not None
        owner.cancel(session, row.job_id)
    page = bench.page(run, wait=5)
    assert (page.is_terminal, page.status, page.next_after) == (True, RunStatus.CANCELLED, "")


def test_an_end_that_was_retried_is_no_end(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1, 2))
    run.finish(RunStatus.FAILED)
    with bench.database.write() as session:
        row = session.get(Run, run.claimed.id)
        assert row is not None
        owner.retry(session, row.job_id)
    waiting = bench.page(run)
    assert (waiting.is_terminal, waiting.status) == (False, RunStatus.QUEUED)
    again = bench.worker.claim()[0]
    again.report(loss(1))
    page = bench.page(run, waiting.next_after)
    assert page.rollback is not None
    assert page.rollback.from_step == FROM_NOTHING
    assert steps(page) == [1]
    assert steps(bench.page(run)) == [1], "a reader from the beginning never sees what was taken back"


def test_a_resumed_run_takes_back_only_what_came_after_its_checkpoint(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1, 2))
    cursor = bench.page(run).next_after
    run.report(loss(3, 4))
    bench.worker.vanish(run)
    again = bench.worker.claim()[0]
    again.report(loss(4, 5), from_step=3)
    page = bench.page(run, cursor)
    assert page.rollback is not None
    assert page.rollback.from_step == 3
    assert steps(page) == [3, 4, 5]


def resumed(bench: Bench, run: FakeRun) -> FakeRun:
    """The same run, lost and claimed again."""
    bench.worker.vanish(run)
    (again,) = bench.worker.claim()
    return again


@pytest.mark.parametrize("is_away", [False, True], ids=["redis answers", "redis is away"])
def test_a_reader_that_saw_later_points_takes_them_back_and_holds_every_point_once(bench: Bench, is_away: bool) -> None:
    reader, run = History(), bench.new_run()
    run.report(loss(1, 2, 3))
    run.checkpoint(3)
    run.report(loss(4, 5))
    run.save()
    seen = bench.page(run)
    reader.take(seen)
    assert reader["train_loss"].step == [1, 2, 3, 4, 5]
    again = resumed(bench, run)
    again.report({"train_loss": ([4, 5, 6], [0.4, 0.5, 0.6])})
    if is_away:
        again.save()
        bench.redis_is_away()
    page = bench.page(run, seen.next_after)
    reader.take(page)
    assert page.rollback is not None
    assert page.rollback.from_step == 3
    assert reader["train_loss"].step == [1, 2, 3, 4, 5, 6]
    assert reader["train_loss"].value == pytest.approx([1, 1 / 2, 1 / 3, 0.4, 0.5, 0.6])
    assert bench.page(run, page.next_after).series == {}
    assert steps(bench.page(run)) == [1, 2, 3, 4, 5, 6], "whoever begins to read now never sees the seam"


def test_several_resumes_at_once_take_back_as_far_as_the_earliest_went(bench: Bench) -> None:
    run = bench.new_run()
    for step in (2, 4):
        run.report(loss(step - 1, step))
        run.checkpoint(step)
    run.report(loss(5, 6))
    cursor = bench.page(run).next_after
    second = resumed(bench, run)
    assert second.resume_step == 4
    second.report(loss(5, 6, 7))
    second.save()
    with bench.database.write() as session:
        newest = session.scalars(select(Checkpoint).order_by(Checkpoint.step.desc())).first()
        assert newest is not None
        checkpoints.discard(session, newest.id)
    third = resumed(bench, second)
    assert third.resume_step == 2
    third.report(loss(3, 4))
    third.checkpoint(4)
    fourth = resumed(bench, third)
    fourth.report(loss(5))
    page = bench.page(run, cursor)
    assert page.rollback is not None
    assert page.rollback.from_step == 2
    assert steps(page) == [3, 4, 5]
    assert steps(bench.page(run)) == [1, 2, 3, 4, 5]
    assert steps(bench.sampled(run, 100)) == [1, 2, 3, 4, 5]


def test_a_resumed_attempt_that_only_redis_knows_joins_what_sql_has_of_the_one_before(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1, 2), to_redis=False)
    run.checkpoint(2)
    run.report(loss(3), to_redis=False)
    run.save()
    again = resumed(bench, run)
    again.report(loss(3, 4))
    assert steps(bench.page(run)) == [1, 2, 3, 4]
    cut = bench.page(run, limit=1)
    assert (steps(cut), cut.rollback) == ([1, 2], None)
    rest = bench.page(run, cut.next_after)
    assert rest.rollback is not None
    assert (rest.rollback.from_step, steps(rest)) == (2, [3, 4])


def test_a_waiting_reader_hears_that_a_run_was_paused_and_reads_on_when_it_goes_on(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1, 2), state=None)
    run.checkpoint(2)
    cursor = bench.page(run).next_after
    job_id = run.claimed.job_id

    def pause() -> None:
        with bench.database.write() as session:
            owner.pause(session, job_id)
        assert bench.worker.release(run) is RunStatus.PAUSED

    async def read_while_it_is_paused() -> MetricsPage:
        place = Cursor.parse(cursor)
        reading = asyncio.create_task(bench.histories.page(run.claimed.id, place, (), limit=100, wait_seconds=20))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(pause)
        return await asyncio.wait_for(reading, 15)

    paused = bench.runner.run(read_while_it_is_paused())
    assert (paused.status, paused.is_terminal, paused.series) == (RunStatus.PAUSED, False, {})
    with bench.database.write() as session:
        owner.resume(session, job_id)
    bench.worker.claim()[0].report(loss(3))
    page = bench.page(run, paused.next_after)
    assert page.rollback is not None
    assert (page.rollback.from_step, steps(page)) == (2, [3])


def test_a_page_holds_whole_chunks_and_says_that_more_follow(bench: Bench) -> None:
    run = bench.new_run()
    for first in (1, 4, 7):
        run.report(loss(first, first + 1, first + 2))
    page = bench.page(run, limit=5)
    assert (steps(page), page.poll_after_ms) == ([1, 2, 3], 0)
    assert steps(bench.page(run, page.next_after, limit=1)) == [4, 5, 6]
    run.finish()
    cut = bench.page(run, limit=1)
    assert (steps(cut), cut.is_terminal) == ([1, 2, 3], False)


def test_long_histories_are_read_on_past_one_look(bench: Bench) -> None:
    run = bench.new_run()
    for step in range(1, 451):
        run.report(loss(step), to_redis=step > 200)
        if step % 2 == 0 and step <= 300:
            run.save()
    assert steps(bench.page(run)) == list(range(1, 451))
    bench.redis_is_away()
    assert steps(bench.page(run)) == list(range(1, 301))


def test_named_metrics_are_found_however_many_others_come_first(bench: Bench) -> None:
    run = bench.new_run()
    for step in range(1, 302):
        run.report(loss(step))
    run.report({"validation_loss": ([301], [0.5])})
    page = bench.page(run, "", "validation_loss")
    assert list(page.series) == ["validation_loss"]
    assert page.series["validation_loss"].step == [301]


def test_numbers_that_json_lacks_travel_as_null_with_their_steps(bench: Bench) -> None:
    run = bench.new_run()
    run.report({"train_loss": ([1, 2, 3], [0.5, float("nan"), float("inf")]), "gradient_norm": ([1], [2.0])})
    page = bench.page(run)
    assert page.series["train_loss"].value == [0.5, None, None]
    assert page.non_finite == {"train_loss": [2, 3]}


def test_a_sampled_history_keeps_ends_and_extremes_and_tells_its_size(bench: Bench) -> None:
    run = bench.new_run()
    values = np.ones(1_000)
    values[[0, 333, 666, 999]] = 2, -5, 9, 3
    run.report({"train_loss": (range(500), values[:500].tolist())})
    run.save()
    run.report({"train_loss": (range(500, 1_000), values[500:].tolist())})
    page = bench.sampled(run, 20)
    series = page.series["train_loss"]
    assert (series.total, len(series.step) <= 20) == (1_000, True)
    assert {0, 333, 666, 999} <= set(series.step)
    assert bench.page(run, page.next_after).series == {}, "a reader can go on from there"


def test_a_waiting_reader_wakes_with_the_first_point(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1))
    cursor = Cursor.parse(bench.page(run).next_after)

    async def read_while_it_is_written() -> MetricsPage:
        reading = asyncio.create_task(bench.histories.page(run.claimed.id, cursor, (), limit=100, wait_seconds=20))
        await asyncio.sleep(0.1)
        assert not reading.done()
        await asyncio.to_thread(run.report, loss(2))
        return await asyncio.wait_for(reading, 15)

    assert steps(bench.runner.run(read_while_it_is_written())) == [2]


def test_a_waiting_reader_learns_of_an_end_that_redis_never_heard_of(bench: Bench) -> None:
    run = bench.new_run()
    run.report(loss(1), state=None)
    cursor = Cursor.parse(bench.page(run).next_after)

    async def read_while_it_ends() -> MetricsPage:
        reading = asyncio.create_task(bench.histories.page(run.claimed.id, cursor, (), limit=100, wait_seconds=20))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(run.finish, to_redis=False)
        return await asyncio.wait_for(reading, 15)

    assert bench.runner.run(read_while_it_ends()).is_terminal


def test_a_redis_that_does_not_answer_costs_one_pause_and_then_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def refuse(*_: object, **__: object) -> None:
        nonlocal asked
        asked += 1
        raise redis.ConnectionError

    monkeypatch.setattr("api.histories.metric_stream.read", refuse)
    run = bench.new_run()
    run.report(loss(1), to_redis=False)
    run.save()
    assert [steps(bench.page(run)) for _ in range(3)] == [[1]] * 3
    assert asked == 1


class Tale:
    """One run and one reader; each method is something that can happen to them."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.run = bench.new_run()
        self.reader = History()
        self.step = 0
        self._cursor = ""

    def report(self, *, to_redis: bool = True) -> None:
        self.step += 2
        self.run.report(loss(self.step - 1, self.step), to_redis=to_redis)

    def report_unheard(self) -> None:
        self.report(to_redis=False)

    def save(self) -> None:
        self.run.save()

    def flush(self) -> None:
        self._bench.client.flushall()

    def trim(self) -> None:
        self._bench.client.xtrim(f"descent:metrics:{self.run.claimed.id}", maxlen=1, approximate=False)

    def checkpoint(self) -> None:
        if self.step > self.run.resume_step:
            self.run.checkpoint(self.step)

    def vanish(self) -> None:
        self._bench.worker.vanish(self.run)
        with self._bench.database.write() as session:
            # However often it happens here, it is never once too often.
            session.execute(update(Run).values(crashes=0))
        (self.run,) = self._bench.worker.claim()
        self.step = self.run.resume_step

    def poll(self, limit: int = 10_000) -> MetricsPage:
        page = self._bench.page(self.run, self._cursor, limit=limit)
        self.reader.take(page)
        self._cursor = page.next_after
        return page

    def poll_a_little(self) -> None:
        self.poll(limit=1)


ACTIONS = ["report"] * 4 + [
    "report_unheard",
    "save",
    "save",
    "checkpoint",
    "checkpoint",
    "flush",
    "trim",
    "vanish",
    "vanish",
    "poll",
    "poll_a_little",
]


@examples(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.sampled_from(ACTIONS), max_size=25))
def test_whatever_happens_in_between_every_surviving_point_is_seen_exactly_once(
    bench: Bench, actions: list[str]
) -> None:
    tale = Tale(bench)
    for action in actions:
        getattr(tale, action)()
    tale.run.finish()
    while not tale.poll().is_terminal:
        pass
    seen = tale.reader.series["train_loss"].step if tale.reader.series else []
    assert seen == list(range(1, tale.step + 1))


def test_a_cursor_that_is_none_is_refused() -> None:
    for text in ("1", "1-", "-1", "a-b", "1-2-3", "٣-1", "9999999999-1"):
        with pytest.raises(ValueError, match="cursor"):
            Cursor.parse(text)
