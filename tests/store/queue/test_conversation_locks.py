"""Conversation locks in the store: one push at a time, and what a conversation shows."""

import uuid
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.alerts import Order
from proxy.domain.conversations import ConversationState, LockRelease
from proxy.store.connection import Store
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.store.records import load_order
from tests.store.samples import DAY, LAYOUT, LEASE, mipush_lane, raw, with_redis


def locks(redis: Any, instance: str = "worker-1") -> RedisConversationLocks:
    return RedisConversationLocks(redis, instance)


def test_a_conversation_has_one_push_at_a_time_and_remembers_the_latest(
    store: Store, store_url: str, app_id: str
) -> None:
    lane, first, later = mipush_lane(app_id), Order(1, 0, 5), Order(2, 0, 6)

    async def scenario(redis: object) -> None:
        mine, other = locks(redis), locks(redis, "worker-2")
        assert await mine.acquire(lane, ["a", "b"], LEASE) == [ConversationState(True), ConversationState(True)]
        assert await other.acquire(lane, ["a"], LEASE) == [ConversationState(False)]
        await other.release(lane, [LockRelease("a")], DAY)  # not its own: stays locked
        assert await other.acquire(lane, ["a"], LEASE) == [ConversationState(False)]
        await mine.release(lane, [LockRelease("a", first, accepted=True, over=True), LockRelease("b")], DAY)
        assert await other.acquire(lane, ["a", "b"], LEASE) == [
            ConversationState(True, shown=first),
            ConversationState(True),
        ]
        await other.release(lane, [LockRelease("a", later, accepted=True, over=True), LockRelease("b")], DAY)
        assert await mine.acquire(lane, ["a"], LEASE) == [ConversationState(True, shown=later)]

    with_redis(store_url, scenario)
    assert 0 < raw(store, "PTTL", LAYOUT.shown(lane, "a")) <= DAY / timedelta(milliseconds=1)
    assert 0 < raw(store, "PTTL", LAYOUT.conversation_lock(lane, "a")) <= LEASE / timedelta(milliseconds=1)


def test_a_late_release_does_not_take_back_what_a_later_alert_shows(store_url: str, app_id: str) -> None:
    lane = mipush_lane(app_id)

    async def scenario(redis: object) -> None:
        slow, quick = locks(redis), locks(redis, "worker-2")
        await slow.acquire(lane, ["a"], LEASE)
        # after slow's lock had run out
        await quick.release(lane, [LockRelease("a", Order(2, 0, 6), accepted=True, over=True)], DAY)
        await slow.release(lane, [LockRelease("a", Order(1, 0, 5), accepted=True, over=True)], DAY)
        assert await quick.acquire(lane, ["a"], LEASE) == [ConversationState(True, shown=Order(2, 0, 6))]

    with_redis(store_url, scenario)


def test_an_alert_counts_as_sent_from_its_sending_until_it_is_over(store: Store, store_url: str, app_id: str) -> None:
    lane, first, later = mipush_lane(app_id), Order(1, 0, 5), Order(2, 0, 6)

    async def sent(redis: object) -> list[Order | None]:
        return [state.sent for state in await locks(redis, "worker-2").acquire(lane, ["a"], LEASE) if state]

    async def scenario(redis: object) -> None:
        mine = locks(redis)
        await mine.acquire(lane, ["a"], LEASE)
        await mine.mark_sent(lane, [("a", first)], DAY)
        assert await sent(redis) == [first]
        await mine.release(lane, [LockRelease("a", first)], DAY)  # no answer: it will be tried again
        assert await sent(redis) == [first]
        await mine.mark_sent(lane, [("a", later)], DAY)
        await mine.release(lane, [LockRelease("a", first, over=True)], DAY)  # the other one still counts
        assert await sent(redis) == [later]
        await mine.release(lane, [LockRelease("a", later, over=True)], DAY)
        assert await sent(redis) == [None]

    with_redis(store_url, scenario)


_ORDERS = st.builds(Order, *[st.integers(0, 3) | st.sampled_from([9, 10, 2**53, 2**53 + 1, 10**25])] * 3)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pairs=st.lists(st.tuples(_ORDERS, _ORDERS), min_size=1, max_size=50))
def test_the_store_tells_the_later_of_two_alerts_as_the_domain_does(
    pairs: list[tuple[Order, Order]], store_url: str, app_id: str
) -> None:
    lane, run = mipush_lane(app_id), uuid.uuid4().hex
    conversations = [f"{run}-{n}" for n in range(len(pairs))]

    async def scenario(redis: Any) -> list[Order]:
        for at in (0, 1):
            releases = [
                LockRelease(line, pair[at], accepted=True) for line, pair in zip(conversations, pairs, strict=True)
            ]
            await locks(redis).release(lane, releases, DAY)
        return [load_order(await redis.get(LAYOUT.shown(lane, line))) for line in conversations]

    expected = [first if first.is_later_than(second) else second for first, second in pairs]
    assert with_redis(store_url, scenario) == expected
