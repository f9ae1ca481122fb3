"""How many buckets the next generation has, at any pace of messages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.keys import Layout
from proxy.store.marks import GENERATION_MS, Marks
from proxy.store.queue.mark_sizes import MarkSizes, fitting
from tests.store.samples import with_redis

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
EVENING = MIDNIGHT + timedelta(hours=20)
TODAY = to_ms(MIDNIGHT) // GENERATION_MS
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("per_second", [1 / 60, 1, 10, 100, 1000])
@pytest.mark.parametrize("shards", [1, 16])
def test_at_any_pace_a_bucket_is_a_list_and_a_message_has_few_keys(per_second: float, shards: int) -> None:
    """Two marks a message; a list has up to 512."""
    marks = per_second * 86_400 * 2 / shards
    buckets = fitting(marks, max(4096 // shards, 16))
    assert marks / buckets < 300
    assert buckets / marks < 0.05


def test_a_size_that_is_about_right_stays() -> None:
    assert [fitting(marks, 64) for marks in (64 * 33, 64 * 128, 64 * 250)] == [64] * 3
    assert fitting(64 * 31, 64) == 16
    assert fitting(64 * 300, 64) == 256
    assert fitting(0, 64) == 1
    assert fitting(10**12, 64) == 1 << 20


class Sized:
    """A store whose marks are this test's own; other tests of the same server know nothing of it."""

    def __init__(self, redis: Any, app_id: str) -> None:
        self.redis, self.app_id = redis, app_id
        redis.layout = Layout(0, replace(Marks.new(1), buckets=4))

    async def fill(self, generation: int, marks: int) -> None:
        layout: Layout = self.redis.layout
        assert layout.marks
        base, buckets = layout.base_of_all(self.app_id, 0), layout.marks.buckets_of(generation)
        for n in range(marks):
            await self.redis.hset(f"{base}marks:{generation}:{n % buckets:x}", str(n), "1")

    async def look(self, now: datetime) -> tuple[tuple[int, int], ...]:
        """What is written down then."""
        await self.redis.hset(keys.identity(), "marks", str(self.redis.layout.marks))
        await MarkSizes(self.redis, [self.app_id]).look(now)
        said = (await self.redis.hget(keys.identity(), "marks")).decode()
        return Marks.read(said).sizes


@pytest.fixture
def on_sized(store_url: str, app_id: str) -> Any:
    def run(scenario: Any) -> None:
        async def to_its_end(redis: Any) -> None:
            before = await redis.hget(keys.identity(), "marks")
            try:
                await scenario(Sized(redis, app_id))
            finally:
                await redis.hset(keys.identity(), "marks", before)

        with_redis(store_url, to_its_end)

    return run


def test_the_next_day_gets_buckets_for_what_came_today(on_sized: Any) -> None:
    async def scenario(it: Sized) -> None:
        await it.fill(TODAY, 1500)  # 1,800 by midnight
        assert await it.look(MIDNIGHT + 17 * HOUR) == ()  # too early to say
        assert await it.look(MIDNIGHT + 23.5 * HOUR) == ()  # too late: not everybody would hear of it
        assert await it.look(EVENING) == ((TODAY + 1, 16),)

    on_sized(scenario)


def test_what_was_decided_is_not_changed_and_today_s_marks_stay_where_they_are(on_sized: Any) -> None:
    async def scenario(it: Sized) -> None:
        marks = it.redis.layout.marks.resized(TODAY + 1, 64)
        it.redis.layout = Layout(0, marks)
        await it.fill(TODAY, 1500)
        assert await it.look(EVENING) == ((TODAY + 1, 64),)
        assert [marks.buckets_of(day) for day in (TODAY - 1, TODAY, TODAY + 1, TODAY + 9)] == [4, 4, 64, 64]
        at_ms, day_ms = to_ms(EVENING), GENERATION_MS
        of = marks.digest("77", "m")
        today, yesterday, tomorrow = marks.places(of, at_ms, day_ms, "b:")
        assert {place.rpartition(":")[0] for place in (today, yesterday, tomorrow)} == {
            f"b:marks:{TODAY + days}" for days in (-1, 0, 1)
        }
        assert marks.places(of, at_ms + day_ms, day_ms, "b:")[0] == tomorrow  # where it was looked for

    on_sized(scenario)


def test_a_quiet_day_after_a_busy_one_makes_no_small_ones(on_sized: Any) -> None:
    async def scenario(it: Sized) -> None:
        await it.fill(TODAY - 1, 500)
        assert await it.look(EVENING) == ()

    on_sized(scenario)


def test_another_worker_that_was_quicker_counts(on_sized: Any) -> None:
    async def scenario(it: Sized) -> None:
        await it.fill(TODAY, 1500)
        quicker = str(it.redis.layout.marks.resized(TODAY + 1, 32))
        await it.redis.hset(keys.identity(), "marks", quicker)
        await MarkSizes(it.redis, [it.app_id]).look(EVENING)
        assert (await it.redis.hget(keys.identity(), "marks")).decode() == quicker

    on_sized(scenario)


def test_a_store_without_buckets_needs_none(on_sized: Any) -> None:
    async def scenario(it: Sized) -> None:
        it.redis.layout = Layout(0)
        await MarkSizes(it.redis, [it.app_id]).look(EVENING)

    on_sized(scenario)
