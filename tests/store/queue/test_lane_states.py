"""Pauses: every worker sees them, one at a time probes."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from proxy.domain.lanes import Pause, PauseKind, StoredLane
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.queue.lane_states import RedisLaneStates
from tests.store.samples import DAY, LEASE, MS, NOON, SECOND, apns_lane, mipush_lane, pauses, raw, with_redis


def test_a_pause_is_seen_by_all_and_ends_with_resume(store_url: str, app_id: str) -> None:
    paused, goes = apns_lane(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        mine, others = RedisLaneStates(redis), RedisLaneStates(redis)
        assert await pauses(mine, []) == {}
        assert await pauses(mine, [paused, goes]) == {}
        await mine.pause(paused, "InvalidProviderToken", NOON, NOON + 30 * SECOND)
        assert await pauses(others, [paused, goes]) == {paused: Pause("InvalidProviderToken", NOON)}
        await others.resume(paused)
        assert await pauses(mine, [paused, goes]) == {}
        assert await mine.may_probe(paused, SECOND)  # nothing is left that would hold a probe back

    with_redis(store_url, scenario)


def test_a_lane_whose_key_is_broken_is_paused_and_says_so_and_the_others_are_read(store_url: str, app_id: str) -> None:
    broken, goes = mipush_lane(app_id), apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        lanes = RedisLaneStates(redis)
        await redis.set(keys.pause(broken), "not a hash")
        found = await pauses(lanes, [broken, goes])
        assert {lane: pause.reason for lane, pause in found.items()} == {
            broken: "the store cannot read the lane's state"
        }
        await lanes.resume(broken)
        assert await pauses(lanes, [broken, goes]) == {}

    with_redis(store_url, scenario)


def test_a_pause_keeps_its_beginning_and_tells_its_latest_reason(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        lanes = RedisLaneStates(redis)
        await lanes.pause(lane, "InvalidProviderToken", NOON, NOON + SECOND)
        await lanes.pause(lane, "TopicDisallowed", NOON + 60 * SECOND, NOON + 90 * SECOND)
        assert await pauses(lanes, [lane]) == {lane: Pause("TopicDisallowed", NOON)}

    with_redis(store_url, scenario)


def test_one_worker_at_a_time_probes_and_none_before_its_time(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        workers = [RedisLaneStates(redis, f"worker-{number}") for number in range(5)]
        await workers[0].pause(mipush_lane(app_id), "quota", NOON, NOON + DAY)
        assert not await workers[0].may_probe(mipush_lane(app_id), SECOND)
        await workers[0].pause(lane, "quota", NOON, NOON + MS)
        await asyncio.sleep(0.005)
        asked = await asyncio.gather(*(it.may_probe(lane, 30 * SECOND) for it in workers))
        assert sorted(asked) == [False] * 4 + [True]

    with_redis(store_url, scenario)
    assert 0 < raw(store, "PTTL", keys.probe(lane)) <= 30_000


def test_a_pause_whose_first_probe_is_due_already_and_one_until_midnight_are_both_kept(
    store: Store, store_url: str, app_id: str
) -> None:
    due, far = apns_lane(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        await RedisLaneStates(redis).pause(due, "quota", NOON, NOON - SECOND)
        await RedisLaneStates(redis).pause(far, "quota", NOON, NOON + timedelta(hours=4))

    with_redis(store_url, scenario)
    assert raw(store, "TTL", keys.probe(far)) > 3 * 3600
    for lane in (due, far):
        assert 0 < raw(store, "TTL", keys.pause(lane)) <= keys.PAUSE_TTL_S


def test_a_breaker_opens_once_and_only_its_probe_moves_the_next_one_further_away(
    store: Store, store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)
    waits = []

    async def scenario(redis: Any) -> None:
        one, two = RedisLaneStates(redis, "one"), RedisLaneStates(redis, "two")

        async def open_(by: RedisLaneStates) -> bool:
            first_probe = NOON + 4 * SECOND
            return await by.pause(lane, "http 503", NOON, first_probe, PauseKind.BREAKER, longest_wait=10 * SECOND)

        assert [await open_(it) for it in (one, two, one)] == [True, False, False]
        assert await pauses(two, [lane]) == {lane: Pause("http 503", NOON, PauseKind.BREAKER)}
        waits.append(await redis.pttl(keys.probe(lane)))
        for _ in range(3):
            await redis.delete(keys.probe(lane))  # the time is over
            assert [await one.may_probe(lane, LEASE), await two.may_probe(lane, LEASE)] == [True, False]
            assert not await open_(two)  # an answer to a push that was out before
            assert await redis.pttl(keys.probe(lane)) > 14_000
            assert not await open_(one)
            waits.append(await redis.pttl(keys.probe(lane)))

    with_redis(store_url, scenario)
    assert [round(it / 1000) for it in waits] == [4, 8, 10, 10]


def test_a_probe_that_did_not_leave_is_anothers_at_once(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        one, two = RedisLaneStates(redis, "one"), RedisLaneStates(redis, "two")
        assert await one.may_probe(lane, LEASE)
        await two.withdraw_probe(lane)
        assert not await two.may_probe(lane, LEASE)
        await one.withdraw_probe(lane)
        assert await two.may_probe(lane, LEASE)

    with_redis(store_url, scenario)


def test_who_lost_his_probe_may_take_it_up_again_at_once(store_url: str, app_id: str) -> None:
    """Chaos seed 34: the store was killed under a probe, and its lane stood for two leases more."""
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        one, two = RedisLaneStates(redis, "one"), RedisLaneStates(redis, "two")
        assert await one.may_probe(lane, LEASE)
        assert not await two.may_probe(lane, LEASE)
        assert await one.may_probe(lane, LEASE)
        await one.pause(lane, "quota", NOON, NOON + 30 * SECOND)
        assert not await one.may_probe(lane, LEASE)

    with_redis(store_url, scenario)


@pytest.mark.parametrize(
    ("first", "then", "news", "told"),
    [
        (PauseKind.BREAKER, PauseKind.FAULT, True, PauseKind.FAULT),  # a person is needed now
        (PauseKind.FAULT, PauseKind.BREAKER, False, PauseKind.FAULT),  # what was out before says nothing new
        (PauseKind.REST, PauseKind.BREAKER, False, PauseKind.REST),
        (PauseKind.REST, PauseKind.REST, False, PauseKind.REST),
    ],
)
def test_of_two_reasons_the_one_that_tells_more_is_kept(
    store_url: str, app_id: str, first: PauseKind, then: PauseKind, news: bool, told: PauseKind
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        lanes = RedisLaneStates(redis, "one")
        assert await lanes.pause(lane, "first", NOON, NOON + SECOND, first)
        assert await lanes.pause(lane, "then", NOON, NOON + SECOND, then) is news
        assert (await pauses(lanes, [lane]))[lane].kind is told

    with_redis(store_url, scenario)


def test_a_rest_is_as_long_as_the_longest_that_was_asked_for(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        lanes = RedisLaneStates(redis, "one")
        for seconds in (20, 90, 5):
            await lanes.pause(lane, "http 429", NOON, NOON + seconds * SECOND, PauseKind.REST)
        assert await redis.pttl(keys.probe(lane)) > 80_000

    with_redis(store_url, scenario)


def test_a_pause_of_the_earlier_program_is_a_fault_of_ours_and_one_of_a_later_one_too(
    store: Store, store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)
    raw(store, "HSET", keys.pause(lane), "reason", "quota", "since", "1795435200000")

    async def scenario(redis: Any) -> None:
        lanes = RedisLaneStates(redis, "one")
        assert (await pauses(lanes, [lane]))[lane].kind is PauseKind.FAULT
        assert not await lanes.pause(lane, "quota", NOON, NOON + SECOND)
        await redis.hset(keys.pause(lane), "kind", "never heard of")
        assert (await pauses(lanes, [lane]))[lane].kind is PauseKind.FAULT

    with_redis(store_url, scenario)


def test_all_workers_know_for_a_while_since_when_a_lane_goes_on(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        one, two = RedisLaneStates(redis, "one"), RedisLaneStates(redis, "two")
        assert await two.states([lane]) == {lane: StoredLane()}
        await one.pause(lane, "quota", NOON, NOON + SECOND)
        assert (await two.states([lane]))[lane].resumed is None
        assert await pauses(one, [lane])
        assert await one.resume(lane)
        assert not await two.resume(lane)  # whose probe came later
        assert not await pauses(one, [lane])
        await redis.pexpire(keys.resumed(lane), 11_000)  # 4 s later
        state = (await two.states([lane]))[lane]
        assert state.pause is None
        assert state.resumed is not None
        assert 4 <= state.resumed.total_seconds() < 6
        await two.pause(lane, "quota", NOON, NOON + SECOND)
        assert (await one.states([lane]))[lane].resumed is None

    with_redis(store_url, scenario)
