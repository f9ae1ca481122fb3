"""Pauses: every worker sees them, one at a time probes."""

import asyncio
from datetime import timedelta
from typing import Any

from proxy.domain.lanes import Pause
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.lanes import RedisLanes
from tests.store.samples import MS, NOON, SECOND, apns_lane, mipush_lane, raw, with_redis


def test_a_pause_is_seen_by_all_and_ends_with_resume(store_url: str, app_id: str) -> None:
    stands, goes = apns_lane(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        mine, others = RedisLanes(redis), RedisLanes(redis)
        assert await mine.pauses([]) == {}
        assert await mine.pauses([stands, goes]) == {}
        await mine.pause(stands, "InvalidProviderToken", NOON, NOON + 30 * SECOND)
        assert await others.pauses([stands, goes]) == {stands: Pause("InvalidProviderToken", NOON)}
        await others.resume(stands)
        assert await mine.pauses([stands, goes]) == {}
        assert await mine.may_probe(stands, SECOND)  # nothing is left that would hold a probe back

    with_redis(store_url, scenario)


def test_a_pause_keeps_its_beginning_and_tells_its_latest_reason(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        lanes = RedisLanes(redis)
        await lanes.pause(lane, "InvalidProviderToken", NOON, NOON + SECOND)
        await lanes.pause(lane, "TopicDisallowed", NOON + 60 * SECOND, NOON + 90 * SECOND)
        assert await lanes.pauses([lane]) == {lane: Pause("TopicDisallowed", NOON)}

    with_redis(store_url, scenario)


def test_one_worker_at_a_time_probes_and_none_before_its_time(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        workers = [RedisLanes(redis) for _ in range(5)]
        await workers[0].pause(lane, "quota", NOON, NOON + 200 * MS)
        assert not await workers[0].may_probe(lane, SECOND)
        await asyncio.sleep(0.21)
        asked = await asyncio.gather(*(it.may_probe(lane, 30 * SECOND) for it in workers))
        assert sorted(asked) == [False] * 4 + [True]

    with_redis(store_url, scenario)
    assert 0 < raw(store, "PTTL", keys.probe(lane)) <= 30_000


def test_a_pause_whose_first_probe_is_due_already_and_one_until_midnight_are_both_kept(
    store: Store, store_url: str, app_id: str
) -> None:
    due, far = apns_lane(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        await RedisLanes(redis).pause(due, "quota", NOON, NOON - SECOND)
        await RedisLanes(redis).pause(far, "quota", NOON, NOON + timedelta(hours=4))

    with_redis(store_url, scenario)
    assert raw(store, "TTL", keys.probe(far)) > 3 * 3600
    for lane in (due, far):
        assert 0 < raw(store, "TTL", keys.pause(lane)) <= keys.PAUSE_LIFE_S
