"""Marks: nothing is stored or planned twice, in a key of its own, in buckets, and on the way from one to the other."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.alerts import Order, Update
from proxy.domain.jobs import Job
from proxy.domain.settlements import PlanChunk, Shown
from proxy.domain.times import to_ms
from proxy.store.connection import Store
from proxy.store.keys import Layout
from proxy.store.marks import GENERATION_MS, Marks, field_of_target
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.withdrawals import RedisWithdrawals, Said
from proxy.store.records import load_job
from tests.store.samples import DAY, MS, NOON, alert, apns_lane, callback, for_inbox, job, new_of, queue_of, with_redis

DAY_MS = DAY // MS
HOUR = timedelta(hours=1)
MESSAGE = "0123456789abcdef" * 2
APART, COMPACT = Layout(1), Layout(1, Marks.new(1))
# new marks go into buckets from three hours after noon on
UPGRADED = Layout(1, Marks.new(1, to_ms(NOON + 3 * HOUR)))
LAYOUTS = pytest.mark.parametrize("layout", [APART, COMPACT, UPGRADED], ids=["apart", "compact", "upgraded"])
moments = st.integers(1_700_000_000_000, 4_102_444_800_000)


@pytest.fixture(params=[APART, COMPACT, UPGRADED], ids=["apart", "compact", "upgraded"])
def its_layout(request: pytest.FixtureRequest, store: Store) -> Iterator[Layout]:
    before = store.layout
    store.know_layout(request.param)
    yield request.param
    store.know_layout(before)


def accepts(store: Store, one: Any, at: datetime) -> bool:
    return not RedisInbox(store, DAY, 100).accept(*for_inbox(one, at)).duplicate


# where they lie


@given(moments, st.integers(-DAY_MS, DAY_MS), st.integers(335_000, 3 * DAY_MS))
def test_what_was_accepted_within_dedupe_ttl_of_each_other_finds_the_others_mark(
    at_ms: int, later_ms: int, ttl_ms: int
) -> None:
    """Whichever was first: the one looks where the other has written."""
    marks, other_ms = COMPACT.marks, at_ms + later_ms * ttl_ms // DAY_MS
    assert marks
    assert marks.generations(at_ms, ttl_ms)[0] in marks.generations(other_ms, ttl_ms)


@given(moments)
def test_with_a_day_there_are_three_places_to_look_in(at_ms: int) -> None:
    places = COMPACT.marks_of_message("77", MESSAGE, 0, at_ms, DAY_MS)
    assert len(set(places)) == 3
    assert COMPACT.marks_of_message("77", MESSAGE, 0, at_ms) == places[:1]


def test_marks_of_all_apps_share_the_buckets_of_a_shard_and_each_has_a_field_of_its_own() -> None:
    layout = Layout(16, Marks.new(16))
    (key,) = layout.marks_of_message("77", MESSAGE, 3, to_ms(NOON))
    assert key.startswith(f"proxy:{{{layout._tags[3]}}}:marks:{to_ms(NOON) // GENERATION_MS}:")
    fields = {
        layout.mark_of_target(app_id, [message], target)
        for app_id in ("77", "78") for message in (MESSAGE, "f" * 32) for target in ("a" * 20, "b" * 20)
    }  # fmt: skip
    assert len(fields) == 8
    assert {len(field) for field in fields} == {28}


def test_a_store_s_own_key_decides_what_a_mark_is_called() -> None:
    """Who knows the code, and can write messages, makes none that is mistaken for another."""
    one, other = Marks.new(1), Marks.new(1)
    assert one.digest("77", MESSAGE) != other.digest("77", MESSAGE)
    assert len({field_of_target(it.digest("77", MESSAGE), b"a" * 20) for it in (one, other)}) == 2
    assert Marks.read(str(one)) == one


# intake


def test_a_callback_is_stored_once_a_day_long(its_layout: Layout, store: Store, app_id: str) -> None:
    one = callback(app_id)
    assert accepts(store, one, NOON)
    for later in (timedelta(0), 11 * HOUR, 12 * HOUR, 23 * HOUR):
        assert not accepts(store, one, NOON + later)
        assert not accepts(store, one, NOON - later)  # of a clock that is behind, or a spool that drains late


def test_a_mark_is_kept_for_dedupe_ttl_and_its_bucket_goes_whole(store: Store, app_id: str) -> None:
    store.know_layout(Layout(1, Marks.new(1)))
    one = callback(app_id)
    accepts(store, one, NOON)
    (first, *others), _ = store.layout.marks_of_callback(app_id, one.callback_id, to_ms(NOON), DAY_MS)
    left = store.call(lambda redis: redis.pttl(first))
    assert 2 * DAY_MS - 60_000 < left <= 2 * DAY_MS
    store.call(lambda redis: redis.pexpire(first, DAY_MS - 1))  # so much later
    assert not accepts(store, one, NOON)
    assert accepts(store, replace(one, sequence="8"), NOON)
    places = store.layout.marks_of_callback(app_id, replace(one, sequence="8").callback_id, to_ms(NOON), DAY_MS)
    store.call(lambda redis: redis.pexpire(places[0][0], DAY_MS - 1))
    assert accepts(store, replace(one, sequence="9"), NOON)
    assert store.call(lambda redis: redis.exists(*others)) == 0


# plan


def jobs_of(app_id: str, at: datetime, devices: int = 1) -> list[Job]:
    order = Order(7, 0, to_ms(at))
    return [job(apns_lane(app_id), "ben", f"phone-{n}", replace(alert(MESSAGE), order=order)) for n in range(devices)]


async def plan(redis: Any, app_id: str, jobs: list[Job]) -> list[bool]:
    chunk = PlanChunk(app_id, MESSAGE, [(apns_lane(app_id), one) for one in jobs])
    (result,), _ = await queue_of(redis).append_planned([chunk], NOON)
    assert result.error is None
    return result.new


@LAYOUTS
@pytest.mark.parametrize("later", [HOUR, 4 * HOUR, 12 * HOUR, 23 * HOUR])
@pytest.mark.parametrize("turned", [False, True])
def test_two_callbacks_about_one_message_make_one_alert_whichever_is_planned_first(
    store_url: str, app_id: str, layout: Layout, later: timedelta, turned: bool
) -> None:
    async def scenario(redis: Any) -> None:
        redis.layout = layout
        times = [NOON, NOON + later]
        first, second = reversed(times) if turned else times
        assert await plan(redis, app_id, jobs_of(app_id, first, 2)) == [True, True]
        assert await plan(redis, app_id, jobs_of(app_id, second, 3)) == [False, False, True]
        assert await plan(redis, app_id, jobs_of(app_id, first, 3)) == [False, False, False]

    with_redis(store_url, scenario)


def test_what_was_planned_before_the_upgrade_stays_known(store_url: str, store: Store, app_id: str) -> None:
    """By a program that did not know of it, in a store that an earlier one had made."""
    one = callback(app_id)
    store.know_layout(APART)
    assert accepts(store, one, NOON)

    async def scenario(redis: Any) -> None:
        redis.layout = APART
        assert await plan(redis, app_id, jobs_of(app_id, NOON)) == [True]
        redis.layout = UPGRADED
        for later in (timedelta(0), 2 * HOUR, 4 * HOUR, 23 * HOUR):
            assert await plan(redis, app_id, jobs_of(app_id, NOON + later)) == [False]
        assert await plan(redis, app_id, jobs_of(app_id, NOON + 4 * HOUR, 2)) == [False, True]
        assert not await redis.hexists(UPGRADED.planned(app_id, MESSAGE, 0), jobs_of(app_id, NOON, 2)[1].mark)

    with_redis(store_url, scenario)
    store.know_layout(UPGRADED)
    assert not accepts(store, one, NOON + 4 * HOUR)


def test_two_days_after_the_upgrade_the_former_keys_are_asked_no_more() -> None:
    at_ms = to_ms(NOON + 3 * HOUR + 2 * DAY)
    assert len(UPGRADED.marks_of_message("77", MESSAGE, 0, at_ms - 1, DAY_MS)) == 4
    assert len(UPGRADED.marks_of_message("77", MESSAGE, 0, at_ms, DAY_MS)) == 3


# taken back


@LAYOUTS
@pytest.mark.parametrize("at", [NOON, NOON + 4 * HOUR])
def test_an_alert_is_taken_back_however_far_it_came(store_url: str, app_id: str, layout: Layout, at: datetime) -> None:
    async def scenario(redis: Any) -> None:
        redis.layout = layout
        lane, queue = apns_lane(app_id), queue_of(redis)
        await queue.ensure_groups(lane)
        jobs = jobs_of(app_id, at, 2)
        await plan(redis, app_id, jobs)
        shown, waits = await new_of(queue, lane, 2)
        await queue.settle_jobs(lane, [Shown(shown.id, jobs[0])])
        said = Said(MESSAGE, replace(jobs[0].alert.order, accepted_at_ms=to_ms(at + HOUR)))
        gone = [replace(one, alert=replace(one.alert, update=Update.RECALL)) for one in jobs_of(app_id, at, 3)]
        kept = RedisWithdrawals(redis, ttl=DAY, jobs_cap=100)
        assert await kept.withdraw(app_id, [([said], [(lane, one) for one in gone])]) == [frozenset()]
        assert await plan(redis, app_id, jobs_of(app_id, at, 3)) == [False] * 3  # not planned, and will not be
        assert [load_job(it.record) for it in await new_of(queue, lane, 9)] == gone[:1]
        await queue.settle_jobs(lane, [Shown(waits.id, jobs[1])])
        assert [load_job(it.record) for it in await new_of(queue, lane, 9)] == gone[1:2]
        assert await kept.withdraw(app_id, [([said], [(lane, one) for one in gone])]) == [frozenset()]
        assert await new_of(queue, lane, 9) == []

    with_redis(store_url, scenario)


# how much they take


def test_a_bucket_is_a_list_whatever_becomes_of_its_marks(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        redis.layout = layout = Layout(1, replace(Marks.new(1), buckets=1))
        jobs = jobs_of(app_id, NOON, 100)
        for some in (jobs[:50], jobs[50:]):
            await plan(redis, app_id, some)
        (bucket,) = layout.marks_of_message(app_id, MESSAGE, 0, to_ms(NOON))
        said = Said(MESSAGE, jobs[0].alert.order)
        lane = apns_lane(app_id)
        gone = [(lane, replace(one, alert=replace(one.alert, update=Update.READ))) for one in jobs[:50]]
        await RedisWithdrawals(redis, ttl=DAY, jobs_cap=100).withdraw(app_id, [([said], gone)])
        assert sorted(set(await redis.hvals(bucket))) == [b"1", b"w"]
        assert await redis.object("encoding", bucket) in (b"listpack", b"ziplist")
        assert await redis.memory_usage(bucket) < 100 * 16 + 300
        assert 0 < await redis.pttl(bucket + ":late") <= 2 * DAY_MS
        await redis.delete(bucket, bucket + ":late")

    with_redis(store_url, scenario)
