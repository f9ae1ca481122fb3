"""Streams with leases: who holds what, what is settled by whom, and what comes back."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from redis.exceptions import ResponseError

from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.ports import Bury, Entry, Finish, Postpone
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import load_job
from tests.store.samples import (
    DAY,
    LEASE,
    MS,
    NO_WAIT,
    NOON,
    SECOND,
    SHORT_LEASE,
    alert,
    apns_lane,
    job,
    mipush_lane,
    put_jobs,
    queue_of,
    raw,
    with_redis,
)


def people(lane: Lane, count: int) -> list[Job]:
    return [job(lane, f"user-{n}") for n in range(count)]


async def claimed(queue: RedisQueue, lane: Lane, count: int = 100) -> list[Entry]:
    """New entries; the group is made at the first read."""
    return await queue.claim(keys.jobs(lane), count, NO_WAIT) or await queue.claim(keys.jobs(lane), count, NO_WAIT)


async def pending(redis: Any, lane: Lane) -> dict[bytes, bytes]:
    """Entry id to owner."""
    rows = await redis.xpending_range(keys.jobs(lane), keys.GROUP, "-", "+", 1000)
    return {row["message_id"]: row["consumer"] for row in rows}


def test_a_stream_without_a_group_is_read_from_its_beginning(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        await put_jobs(redis, lane, people(lane, 3))
        entries = await claimed(queue_of(redis), lane)
        assert [load_job(it.record) for it in entries] == people(lane, 3)
        assert [it.deliveries for it in entries] == [1, 1, 1]

    with_redis(store_url, scenario)


def test_each_entry_is_claimed_by_one_worker(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        await put_jobs(redis, lane, people(lane, 10))
        workers = [queue_of(redis, f"worker-{n}") for n in range(3)]
        await workers[0].ensure_group(keys.jobs(lane))
        read = await asyncio.gather(*(worker.claim(keys.jobs(lane), 4, NO_WAIT) for worker in workers))
        assert sorted(map(len, read)) == [2, 4, 4]
        assert len({it.id for entries in read for it in entries}) == 10

    with_redis(store_url, scenario)


def test_a_stream_that_vanished_with_its_group_is_made_anew(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 2))
        held = await claimed(queue, lane)
        ids = [it.id for it in held]
        await redis.delete(keys.jobs(lane), keys.planned(app_id, "m1"))  # the store came back empty
        assert await queue.renew(keys.jobs(lane), ids) == ids
        assert await queue.settle_jobs(lane, [Finish(ids[0]), Bury(ids[1], Cause.EXPIRED, "late", held[1])]) == ids
        assert await redis.exists(keys.dead_letters(app_id)) == 0
        assert await queue.take_over(keys.jobs(lane), 10) == []
        await put_jobs(redis, lane, people(lane, 1))
        assert len(await claimed(queue, lane)) == 1

    with_redis(store_url, scenario)


def test_a_key_of_another_type_is_an_error_and_not_an_empty_stream(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        await redis.set(keys.callbacks(app_id), "no stream", ex=60)
        for asked in (
            queue_of(redis).claim(keys.callbacks(app_id), 1, NO_WAIT),
            queue_of(redis).take_over(keys.callbacks(app_id), 1),
            queue_of(redis).ensure_group(keys.callbacks(app_id)),
        ):
            with pytest.raises(ResponseError):
                await asked

    with_redis(store_url, scenario)


def test_a_finished_entry_is_gone_so_that_length_means_backlog(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 3))
        one, two, three = await claimed(queue, lane)
        assert await queue.settle_jobs(lane, [Finish(one.id), Finish(three.id)]) == []
        assert await queue.length(keys.jobs(lane)) == 1
        assert await pending(redis, lane) == {two.id: b"worker-1"}

    with_redis(store_url, scenario)


def test_a_silent_workers_entries_are_taken_over_and_it_can_no_longer_renew_or_settle_them(
    store_url: str, app_id: str
) -> None:
    lane, stream = apns_lane(app_id), keys.jobs(apns_lane(app_id))

    async def scenario(redis: Any) -> None:
        dead, alive = queue_of(redis, "dead", SHORT_LEASE), queue_of(redis, "alive", SHORT_LEASE)
        await put_jobs(redis, lane, people(lane, 4))
        ids = [it.id for it in await claimed(dead, lane)]
        await asyncio.sleep(SHORT_LEASE.total_seconds() * 1.5)
        taken = await alive.take_over(stream, 3)
        assert [(it.id, it.deliveries) for it in taken] == [(id_, 2) for id_ in ids[:3]]
        assert [load_job(it.record) for it in taken] == people(lane, 3)

        assert await dead.renew(stream, ids) == ids[:3]  # the fourth is its own still
        mine, foreign = ids[3], ids[0]
        assert await dead.settle_jobs(lane, [Finish(foreign), Finish(mine)]) == [foreign]
        assert await dead.settle_jobs(lane, [Postpone(ids[1], people(lane, 1)[0], NOON)]) == [ids[1]]
        assert await dead.settle_jobs(lane, [Bury(ids[2], Cause.EXPIRED, "late", people(lane, 1)[0])]) == [ids[2]]
        assert await redis.exists(keys.retries(lane), keys.dead_letters(app_id)) == 0
        assert await pending(redis, lane) == dict.fromkeys(ids[:3], b"alive")
        assert await alive.settle_jobs(lane, [Finish(id_) for id_ in ids[:3]]) == []
        assert await queue_of(redis).length(stream) == 0

    with_redis(store_url, scenario)


def test_a_renewed_lease_is_not_taken_over(store_url: str, app_id: str) -> None:
    lane, stream = apns_lane(app_id), keys.jobs(apns_lane(app_id))

    async def scenario(redis: Any) -> None:
        holder, other = queue_of(redis, "holder"), queue_of(redis, "other")
        await put_jobs(redis, lane, people(lane, 2))
        kept, let_go = await claimed(holder, lane)
        for it in (kept, let_go):  # as if they had been silent for a minute
            await redis.xclaim(stream, keys.GROUP, "holder", 0, [it.id], idle=60_000, justid=True)
        assert await holder.renew(stream, [kept.id]) == []
        assert [it.id for it in await other.take_over(stream, 10)] == [let_go.id]
        rows = await redis.xpending_range(stream, keys.GROUP, kept.id, kept.id, 1)
        assert rows[0]["times_delivered"] == 1  # renewing is no delivery

    with_redis(store_url, scenario)


def test_take_overs_are_counted_for_the_sake_of_poison(store_url: str, app_id: str) -> None:
    lane, stream = apns_lane(app_id), keys.jobs(apns_lane(app_id))

    async def scenario(redis: Any) -> None:
        await put_jobs(redis, lane, people(lane, 1))
        await claimed(queue_of(redis, "w0", MS), lane)
        counted = []
        for n in range(1, 7):
            await asyncio.sleep(0.005)
            counted += [it.deliveries for it in await queue_of(redis, f"w{n}", MS).take_over(stream, 10)]
        assert counted == [2, 3, 4, 5, 6, 7]

    with_redis(store_url, scenario)


def test_an_entry_that_was_deleted_but_not_acknowledged_is_not_taken_over_for_ever(store_url: str, app_id: str) -> None:
    lane, stream = apns_lane(app_id), keys.jobs(apns_lane(app_id))

    async def scenario(redis: Any) -> None:
        await put_jobs(redis, lane, people(lane, 2))
        gone, there = await claimed(queue_of(redis), lane)
        await redis.xdel(stream, gone.id)
        await asyncio.sleep(0.005)
        assert [it.id for it in await queue_of(redis, "other", MS).take_over(stream, 10)] == [there.id]
        assert await pending(redis, lane) == {there.id: b"other"}

    with_redis(store_url, scenario)


def test_a_retry_waits_outside_the_lane_and_comes_back_once(store_url: str, app_id: str) -> None:
    lane, stream = apns_lane(app_id), keys.jobs(apns_lane(app_id))
    later = Job("main", "apns", "user-0", "phone", alert(), attempt=1)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 1))
        (entry,) = await claimed(queue, lane)
        assert await queue.settle_jobs(lane, [Postpone(entry.id, later, NOON + SECOND)]) == []
        assert (await queue.length(stream), await redis.zcard(keys.retries(lane))) == (0, 1)
        assert await queue.move_due(lane, NOON, 100) == 0
        movers = [queue_of(redis, f"w{n}") for n in range(4)]
        assert sum(await asyncio.gather(*(it.move_due(lane, NOON + SECOND, 100) for it in movers))) == 1
        (back,) = await claimed(queue, lane)
        assert load_job(back.record) == later
        assert await redis.exists(keys.retries(lane)) == 0

    with_redis(store_url, scenario)


def test_due_retries_move_in_portions_earliest_first(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 5))
        entries = await claimed(queue, lane)
        settlements = [Postpone(it.id, load_job(it.record), NOON + (5 - n) * SECOND) for n, it in enumerate(entries)]
        await queue.settle_jobs(lane, settlements)
        assert [await queue.move_due(lane, NOON + 4 * SECOND, 3) for _ in range(3)] == [3, 1, 0]
        names = [load_job(it.record).account for it in await claimed(queue, lane)]
        assert names == ["user-4", "user-3", "user-2", "user-1"]

    with_redis(store_url, scenario)


def test_more_settlements_than_fit_one_call_are_all_carried_out(store_url: str, app_id: str) -> None:
    lane, stream = apns_lane(app_id), keys.jobs(apns_lane(app_id))

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        many = [(lane, it) for it in people(lane, 1100)]
        await queue.append_jobs(app_id, "m1", b"0-1", many, last=False)
        ids = [it.id for it in await claimed(queue, lane, 2000)]
        assert len(ids) == 1100
        assert await queue.renew(stream, [*ids, b"1-1"]) == [b"1-1"]
        assert await queue.settle_jobs(lane, [Finish(id_) for id_ in [*ids, b"1-1"]]) == [b"1-1"]
        assert await queue.length(stream) == 0

    with_redis(store_url, scenario)


def test_callbacks_are_settled_by_their_holder_too(store_url: str, app_id: str) -> None:
    stream = keys.callbacks(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        for _ in range(2):
            await redis.xadd(stream, {"r": "callback"})
        await queue.ensure_group(stream)
        await queue.ensure_group(stream)  # again: it is there
        one, two = await queue.claim(stream, 10, NO_WAIT)
        assert await queue_of(redis, "other").settle_callbacks(app_id, [Finish(one.id)]) == [one.id]
        assert (
            await queue.settle_callbacks(
                app_id, [Finish(one.id), Bury(two.id, Cause.UNREADABLE, "unreadable callback", two)]
            )
            == []
        )
        assert await queue.length(stream) == 0
        ((id_, letter),) = await redis.xrange(keys.dead_letters(app_id))
        assert letter == {
            b"reason": b"unreadable callback", b"cause": b"unreadable", b"kind": b"record",
            b"r": b'{"v":1,"app":"","channel":"","size":8}',
        }  # fmt: skip
        assert await redis.get(keys.dead_words(app_id, id_.decode())) == b"callback"

    with_redis(store_url, scenario)


def test_a_lane_with_its_retries_is_full_at_its_cap_and_then_nothing_at_all_is_done(
    store_url: str, app_id: str
) -> None:
    apns, mipush = apns_lane(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis, jobs_cap=2)
        await put_jobs(redis, apns, people(apns, 2))
        one, _ = await claimed(queue, apns)
        await queue.settle_jobs(apns, [Postpone(one.id, people(apns, 1)[0], NOON)])  # it still takes its place
        more = [(mipush, job(mipush, "cai", "")), (apns, job(apns, "cai"))]
        assert await queue.append_jobs(app_id, "m1", b"0-1", more, last=True) is None
        assert await queue.length(keys.jobs(mipush)) == 0
        assert await redis.hlen(keys.planned(app_id, "m1")) == 2
        await redis.delete(keys.retries(apns))
        assert await queue.append_jobs(app_id, "m1", b"0-1", more, last=True) == [True, True]

    with_redis(store_url, scenario)


def test_whatever_a_worker_writes_ends_by_itself_or_is_capped(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = RedisQueue(redis, "w", lease=LEASE, dedupe_ttl=timedelta(hours=25), jobs_cap=1000, dead_cap=10)
        chunk = [(lane, it) for it in people(lane, 400)]
        await queue.append_jobs(app_id, "m1", b"0-1", chunk, last=False)
        entries = await claimed(queue, lane, 1000)
        await queue.settle_jobs(lane, [Bury(it.id, Cause.EXPIRED, "late", load_job(it.record)) for it in entries])

    with_redis(store_url, scenario)
    assert DAY < raw(store, "TTL", keys.planned(app_id, "m1")) * SECOND <= timedelta(hours=25)
    assert 10 <= raw(store, "XLEN", keys.dead_letters(app_id)) < 400  # about the cap: whole nodes are trimmed
