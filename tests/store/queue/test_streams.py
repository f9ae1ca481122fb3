"""Streams with leases: who holds what, what is settled by whom, and what comes back."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import ClaimedJob, Job
from proxy.domain.lanes import Callbacks, Lane
from proxy.domain.settlements import (
    Bury,
    ChunkResult,
    Entry,
    Finish,
    Move,
    MovedDue,
    PlanChunk,
    PlanEnd,
    Postpone,
    Settlement,
    SettleResult,
)
from proxy.errors import StoreFull
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import load_job
from proxy.store.server.embedded import ensure_store, stop_store
from tests.store.samples import (
    DAY,
    LAYOUT,
    LEASE,
    MS,
    NO_WAIT,
    NOON,
    SECOND,
    SHORT_LEASE,
    alert,
    apns_lane,
    callback,
    for_inbox,
    job,
    marks,
    marks_of,
    mipush_lane,
    new_of,
    put_jobs,
    queue_of,
    raw,
    sandbox_lane,
    with_redis,
)


def people(lane: Lane, count: int) -> list[Job]:
    return [job(lane, f"user-{n}") for n in range(count)]


async def claimed(queue: RedisQueue, lane: Lane, count: int = 100) -> list[Entry]:
    """New entries; the group is made at the first read."""
    return await new_of(queue, lane, count) or await new_of(queue, lane, count)


def own(entry: Entry) -> bytes:
    """Its id in the stream."""
    return entry.id.removesuffix(b"/0")


async def pending(redis: Any, lane: Lane) -> dict[bytes, bytes]:
    """Entry id to owner."""
    rows = await redis.xpending_range(LAYOUT.jobs(lane, 0), keys.GROUP, "-", "+", 1000)
    return {row["message_id"] + b"/0": row["consumer"] for row in rows}


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
        await workers[0].ensure_groups(lane)
        read = await asyncio.gather(*(new_of(worker, lane, 4) for worker in workers))
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
        await redis.delete(LAYOUT.jobs(lane, 0), marks_of(redis.layout, app_id, "m1"))  # the store came back empty
        assert (await queue.renew(lane, ids)).lost == ids
        settlements: list[Settlement] = [Bury(ids[1], Cause.EXPIRED, "late", held[1]), Finish(ids[0])]
        assert await queue.settle_jobs(lane, settlements) == SettleResult(foreign=[ids[1], ids[0]])
        assert await redis.exists(LAYOUT.dead_letters(app_id, 0)) == 0
        assert await queue.take_over(lane, 10, suspect=True) == []
        await put_jobs(redis, lane, people(lane, 1))
        assert len(await claimed(queue, lane)) == 1

    with_redis(store_url, scenario)


def test_a_key_of_another_type_is_an_error_and_not_an_empty_stream(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        await redis.set(LAYOUT.callbacks(app_id, 0), "no stream", ex=60)
        for asked in (
            queue_of(redis).claim(Callbacks(app_id), 1, NO_WAIT),
            queue_of(redis).take_over(Callbacks(app_id), 1, suspect=True),
            queue_of(redis).ensure_groups(Callbacks(app_id)),
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
        assert await queue.settle_jobs(lane, [Finish(one.id), Finish(three.id)]) == SettleResult()
        assert await queue.length(lane) == 1
        assert await pending(redis, lane) == {two.id: b"worker-1"}

    with_redis(store_url, scenario)


def test_a_silent_workers_entries_are_taken_over_and_it_can_no_longer_renew_or_settle_them(
    store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        dead, alive = queue_of(redis, "dead", SHORT_LEASE), queue_of(redis, "alive", SHORT_LEASE)
        await put_jobs(redis, lane, people(lane, 4))
        ids = [it.id for it in await claimed(dead, lane)]
        await asyncio.sleep(SHORT_LEASE.total_seconds() * 1.5)
        taken = await alive.take_over(lane, 3, suspect=True)
        assert [(it.id, it.deliveries) for it in taken] == [(id_, 2) for id_ in ids[:3]]
        assert [load_job(it.record) for it in taken] == people(lane, 3)

        assert (await dead.renew(lane, ids)).lost == ids[:3]  # the fourth is its own still
        mine, foreign = ids[3], ids[0]
        assert await dead.settle_jobs(lane, [Finish(foreign), Finish(mine)]) == SettleResult(foreign=[foreign])
        assert await dead.settle_jobs(lane, [Postpone(ids[1], people(lane, 1)[0], NOON)]) == SettleResult(
            foreign=[ids[1]]
        )
        assert await dead.settle_jobs(lane, [Bury(ids[2], Cause.EXPIRED, "late", people(lane, 1)[0])]) == SettleResult(
            foreign=[ids[2]]
        )
        assert await redis.exists(LAYOUT.retries(lane, 0), LAYOUT.dead_letters(app_id, 0)) == 0
        assert await pending(redis, lane) == dict.fromkeys(ids[:3], b"alive")
        assert await alive.settle_jobs(lane, [Finish(id_) for id_ in ids[:3]]) == SettleResult()
        assert await queue_of(redis).length(lane) == 0

    with_redis(store_url, scenario)


def test_a_renewed_lease_is_not_taken_over(store_url: str, app_id: str) -> None:
    lane, stream = apns_lane(app_id), LAYOUT.jobs(apns_lane(app_id), 0)

    async def scenario(redis: Any) -> None:
        holder, other = queue_of(redis, "holder"), queue_of(redis, "other")
        await put_jobs(redis, lane, people(lane, 2))
        kept, let_go = await claimed(holder, lane)
        for it in (kept, let_go):  # as if they had been silent for a minute
            await redis.xclaim(stream, keys.GROUP, "holder", 0, [own(it)], idle=60_000, justid=True)
        assert (await holder.renew(lane, [kept.id])).lost == []
        assert [it.id for it in await other.take_over(lane, 10, suspect=True)] == [let_go.id]
        rows = await redis.xpending_range(stream, keys.GROUP, own(kept), own(kept), 1)
        assert rows[0]["times_delivered"] == 1  # renewing is no delivery

    with_redis(store_url, scenario)


def test_take_overs_are_counted_for_the_sake_of_poison(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        await put_jobs(redis, lane, people(lane, 1))
        await claimed(queue_of(redis, "w0", MS), lane)
        counted = []
        for n in range(1, 7):
            await asyncio.sleep(0.005)
            counted += [it.deliveries for it in await queue_of(redis, f"w{n}", MS).take_over(lane, 10, suspect=True)]
        assert counted == [2, 3, 4, 5, 6, 7]

    with_redis(store_url, scenario)


def test_an_entry_that_was_deleted_but_not_acknowledged_is_not_taken_over_for_ever(store_url: str, app_id: str) -> None:
    lane, stream = apns_lane(app_id), LAYOUT.jobs(apns_lane(app_id), 0)

    async def scenario(redis: Any) -> None:
        await put_jobs(redis, lane, people(lane, 2))
        gone, there = await claimed(queue_of(redis), lane)
        await redis.xdel(stream, own(gone))
        await asyncio.sleep(0.005)
        assert [it.id for it in await queue_of(redis, "other", MS).take_over(lane, 10, suspect=True)] == [there.id]
        assert await pending(redis, lane) == {there.id: b"other"}

    with_redis(store_url, scenario)


def test_a_retry_waits_outside_the_lane_and_comes_back_once(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)
    later = Job("main", "apns", "user-0", "phone", alert(), attempt=1)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 1))
        (entry,) = await claimed(queue, lane)
        assert await queue.settle_jobs(lane, [Postpone(entry.id, later, NOON + SECOND)]) == SettleResult()
        assert (await queue.length(lane), await redis.zcard(LAYOUT.retries(lane, 0))) == (0, 1)
        assert await queue.move_due([lane], [], NOON, 100) == MovedDue(next_due_at=NOON + SECOND)
        movers = [queue_of(redis, f"w{n}") for n in range(4)]
        moves = await asyncio.gather(*(mover.move_due([lane], [], NOON + SECOND, 100) for mover in movers))
        assert [moved.jobs for moved in moves if moved.jobs] == [{lane: 1}]
        (back,) = await claimed(queue, lane)
        assert load_job(back.record) == later
        assert await redis.exists(LAYOUT.retries(lane, 0)) == 0

    with_redis(store_url, scenario)


def test_due_retries_move_in_portions_earliest_first(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 5))
        entries = await claimed(queue, lane)
        settlements: list[Settlement] = [
            Postpone(it.id, load_job(it.record), NOON + (5 - n) * SECOND) for n, it in enumerate(entries)
        ]
        await queue.settle_jobs(lane, settlements)
        moves = [await queue.move_due([lane], [], NOON + 4 * SECOND, 3) for _ in range(3)]
        assert [moved.jobs for moved in moves] == [{lane: 3}, {lane: 1}, {}]
        assert {moved.next_due_at for moved in moves} == {NOON + 4 * SECOND, NOON + 5 * SECOND}
        names = [load_job(it.record).account for it in await claimed(queue, lane)]
        assert names == ["user-4", "user-3", "user-2", "user-1"]

    with_redis(store_url, scenario)


def test_more_settlements_than_fit_one_call_are_all_carried_out(store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        many = [(lane, it) for it in people(lane, 1100)]
        await queue.append_planned([PlanChunk(app_id, "m1", many)], NOON)
        ids = [it.id for it in await claimed(queue, lane, 2000)]
        assert len(ids) == 1100
        assert (await queue.renew(lane, [*ids, b"1-1/0"])).lost == [b"1-1/0"]
        assert await queue.settle_jobs(lane, [Finish(id_) for id_ in [*ids, b"1-1/0"]]) == SettleResult(
            foreign=[b"1-1/0"]
        )
        assert await queue.length(lane) == 0

    with_redis(store_url, scenario)


def test_callbacks_are_settled_by_their_holder_too(store_url: str, app_id: str) -> None:
    source = Callbacks(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        for _ in range(2):
            await redis.xadd(LAYOUT.callbacks(app_id, 0), {"r": "callback"})
        await queue.ensure_groups(source)
        await queue.ensure_groups(source)  # again: they are there
        one, two = await new_of(queue, source)
        assert await queue_of(redis, "other").settle_callbacks(app_id, [Finish(one.id)], NOON) == SettleResult(
            foreign=[one.id]
        )
        assert (
            await queue.settle_callbacks(
                app_id, [Finish(one.id), Bury(two.id, Cause.UNREADABLE, "unreadable callback", two)], NOON
            )
            == SettleResult()
        )
        assert await queue.length(source) == 0
        ((id_, letter),) = await redis.xrange(LAYOUT.dead_letters(app_id, 0))
        assert letter == {
            b"reason": b"unreadable callback", b"cause": b"unreadable", b"kind": b"record",
            b"r": b'{"v":1,"app":"","channel":"","size":8}',
        }  # fmt: skip
        assert await redis.get(LAYOUT.dead_words(app_id, id_.decode(), 0)) == b"callback"

    with_redis(store_url, scenario)


def test_a_lane_with_its_retries_is_full_at_its_cap_and_holds_back_its_own_jobs_alone(
    store_url: str, app_id: str
) -> None:
    apns, mipush = apns_lane(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis, jobs_cap=2)
        await put_jobs(redis, apns, people(apns, 2))
        one, _ = await claimed(queue, apns)
        await queue.settle_jobs(apns, [Postpone(one.id, people(apns, 1)[0], NOON)])  # it still takes its place
        more = [(mipush, job(mipush, "cai", "")), (apns, job(apns, "cai"))]
        more += [(apns, people(apns, 1)[0])]  # which was planned before
        chunk = PlanChunk(app_id, "m1", more)
        assert await queue.append_planned([chunk], NOON) == ([ChunkResult([True, False, False], frozenset({apns}))], [])
        assert await queue.lengths([mipush, apns]) == [1, 1]
        assert await marks(redis, app_id, "m1", [one.mark for _, one in more]) == [b"1", None, b"1"]
        await redis.delete(LAYOUT.retries(apns, 0))
        assert await queue.append_planned([chunk], NOON) == ([ChunkResult([False, True, False])], [])

    with_redis(store_url, scenario)


def test_what_is_appended_may_be_claimed_in_the_same_step_as_far_as_there_is_room(store_url: str, app_id: str) -> None:
    """Streams that get an entry in one step give it the same id."""
    apns, mipush = apns_lane(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        for lane in (apns, mipush):
            await queue.ensure_groups(lane)
        older = job(mipush, "old", "")
        await put_jobs(redis, mipush, [older])
        wanted = [(apns, job(apns, "ben")), (mipush, job(mipush, "ben", "")), (apns, job(apns, "cai"))]
        chunk = PlanChunk(app_id, "m1", wanted)
        (result,), (pong,) = await queue.append_planned([chunk], NOON, {apns: 1, mipush: 5}, [("PING",)])
        assert (result.new, pong) == ([True] * 3, b"PONG")
        (mine,), (entry,) = result.claimed[apns], result.claimed[mipush]
        assert isinstance(mine, ClaimedJob)
        assert mine.job == job(apns, "ben")
        assert isinstance(entry, Entry)
        assert (load_job(entry.record), entry.deliveries) == (older, 1)
        assert [load_job(it.record).account for it in await claimed(queue, apns)] == ["cai"]
        assert [load_job(it.record).account for it in await claimed(queue, mipush)] == ["ben"]
        (again,), _ = await queue.append_planned([chunk], NOON, {apns: 9, mipush: 9})
        assert again == ChunkResult([False] * 3)

    with_redis(store_url, scenario)


def test_where_a_message_cannot_wait_its_callback_stays_and_is_not_lost(store_url: str, app_id: str) -> None:
    source, lane = Callbacks(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(source)
        await redis.xadd(LAYOUT.callbacks(app_id, 0), {"r": "a message"})
        await redis.set(LAYOUT.waiting(app_id, 0), "no sorted set", ex=60)
        (entry,) = await new_of(queue, source)
        ends = [PlanEnd(entry.id, frozenset({lane}))]
        assert await queue.settle_callbacks(app_id, ends, NOON) == SettleResult(failed=[entry.id])
        assert await queue.length(source) == 1

    with_redis(store_url, scenario)


def test_a_message_for_a_full_lane_waits_beside_the_callbacks_and_comes_back_for_that_lane(
    store: Store, store_url: str, app_id: str
) -> None:
    apns, mipush, source = apns_lane(app_id), mipush_lane(app_id), Callbacks(app_id)
    inbox = RedisInbox(store, DAY, cap=2)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis, jobs_cap=1)
        await put_jobs(redis, mipush, [job(mipush, "ann", "")])
        await queue.ensure_groups(source)
        inbox.accept(*for_inbox(callback(app_id), NOON))
        wanted = [(apns, job(apns, of=alert("m2"))), (mipush, job(mipush, "ben", "", of=alert("m2")))]
        at, waits = NOON, []
        for tries in range(7):
            (entry,) = await new_of(queue, source)
            assert (entry.lanes, entry.tries) == (frozenset({"main:mipush"} if tries else ()), tries)
            (result,), _ = await queue.append_planned([PlanChunk(app_id, "m2", wanted)], at)
            assert result == ChunkResult([tries == 0, False], frozenset({mipush}))
            end = PlanEnd(entry.id, result.full, entry.tries)
            assert await queue.settle_callbacks(app_id, [end], at) == SettleResult()
            assert await queue.lengths([source]) == [0]
            moved = await queue.move_due([apns, mipush], [app_id], at, 10)
            assert (moved.messages, moved.next_due_at is None) == (0, False)
            waits.append((moved.next_due_at or at) - at)
            at += waits[-1]
            assert (await queue.move_due([apns, mipush], [app_id], at, 10)).messages == 1
        assert [wait // SECOND for wait in waits] == [1, 2, 4, 8, 16, 30, 30]

    with_redis(store_url, scenario)


def test_what_waits_for_a_full_lane_counts_towards_the_cap_of_callbacks(
    store: Store, store_url: str, app_id: str
) -> None:
    lane, source, inbox = apns_lane(app_id), Callbacks(app_id), RedisInbox(store, DAY, cap=2)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(source)
        inbox.accept(*for_inbox(callback(app_id, sequence="1"), NOON))
        (entry,) = await new_of(queue, source)
        await queue.settle_callbacks(app_id, [PlanEnd(entry.id, frozenset({lane}))], NOON)
        inbox.accept(*for_inbox(callback(app_id, sequence="2"), NOON))
        with pytest.raises(StoreFull):
            inbox.accept(*for_inbox(callback(app_id, sequence="3"), NOON))

    with_redis(store_url, scenario)


def test_of_two_workers_that_plan_one_message_the_second_to_end_leaves_no_second_message_behind(
    store: Store, store_url: str, app_id: str
) -> None:
    lane, source = apns_lane(app_id), Callbacks(app_id)

    async def scenario(redis: Any) -> None:
        slow, quick = queue_of(redis, "slow", MS), queue_of(redis, "quick", MS)
        await slow.ensure_groups(source)
        RedisInbox(store, DAY, cap=2).accept(*for_inbox(callback(app_id), NOON))
        (entry,) = await new_of(slow, source)
        await asyncio.sleep(0.005)
        assert [it.id for it in await quick.take_over(source, 9, suspect=True)] == [entry.id]
        assert await quick.settle_callbacks(app_id, [PlanEnd(entry.id)], NOON) == SettleResult()
        late = [PlanEnd(entry.id, frozenset({lane}))]
        assert await slow.settle_callbacks(app_id, late, NOON) == SettleResult(foreign=[entry.id])
        assert await redis.exists(LAYOUT.waiting(app_id, 0)) == 0
        assert await quick.length(source) == 0

    with_redis(store_url, scenario)


def test_chunks_of_many_messages_are_appended_in_one_call_to_a_store_that_has_forgotten_the_scripts(
    store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        chunks = [PlanChunk(app_id, f"m{n}", [(lane, job(lane, of=alert(f"m{n}")))]) for n in range(9)]
        await redis.script_flush()
        assert await queue_of(redis).append_planned(chunks, NOON) == ([ChunkResult([True])] * 9, [])
        assert await queue_of(redis).append_planned(chunks, NOON) == ([ChunkResult([False])] * 9, [])

    with_redis(store_url, scenario)


def test_a_key_that_cannot_be_used_does_not_keep_other_lanes_from_their_retries(store_url: str, app_id: str) -> None:
    broken, sound = apns_lane(app_id), mipush_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await redis.set(LAYOUT.retries(broken, 0), "no sorted set", ex=60)
        await put_jobs(redis, sound, people(sound, 1))
        (entry,) = await claimed(queue, sound)
        await queue.settle_jobs(sound, [Postpone(entry.id, load_job(entry.record), NOON)])
        moved = await queue.move_due([broken, sound], [app_id], NOON, 10)
        assert (moved.jobs, list(moved.errors)) == ({sound: 1}, [LAYOUT.retries(broken, 0)])
        assert "WRONGTYPE" in moved.errors[LAYOUT.retries(broken, 0)]

    with_redis(store_url, scenario)


def test_one_settlement_that_the_store_refuses_is_buried_and_its_neighbours_are_carried_out(
    store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 3))
        await redis.set(LAYOUT.retries(lane, 0), "no sorted set", ex=60)
        one, two, three = await claimed(queue, lane)
        refused = Postpone(two.id, load_job(two.record), NOON)
        result = await queue.settle_jobs(lane, [Finish(one.id), refused, Finish(three.id)])
        letter = Bury(two.id, Cause.INTERNAL, "the store refuses it: WRONGTYPE", refused.job)
        assert result == SettleResult(buried=[letter])
        assert await pending(redis, lane) == {}
        ((_, fields),) = await redis.xrange(LAYOUT.dead_letters(app_id, 0))
        assert (fields[b"cause"], fields[b"reason"]) == (b"internal", b"the store refuses it: WRONGTYPE")

    with_redis(store_url, scenario)


def test_where_the_dead_letters_cannot_be_written_either_the_entry_stays_pending_and_is_told(
    store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 3))
        for name in (LAYOUT.retries(lane, 0), LAYOUT.dead_letters(app_id, 0)):
            await redis.set(name, "of another type", ex=60)
        one, two, three = await claimed(queue, lane)
        settlements: list[Settlement] = [
            Postpone(one.id, load_job(one.record), NOON),
            Bury(two.id, Cause.REJECTED, "PayloadTooLarge", load_job(two.record)),
            Finish(three.id),
        ]
        assert await queue.settle_jobs(lane, settlements) == SettleResult(failed=[one.id, two.id])
        assert await pending(redis, lane) == dict.fromkeys([one.id, two.id], b"worker-1")

    with_redis(store_url, scenario)


def test_a_store_without_room_refuses_a_batch_before_any_of_it_is_done(tmp_path: Path, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, lane, people(lane, 2))
        one, two = await claimed(queue, lane)
        settlements: list[Settlement] = [Finish(one.id), Postpone(two.id, load_job(two.record), NOON)]
        await redis.config_set("maxmemory", "1mb")
        with pytest.raises(OutOfMemoryError):
            await queue.settle_jobs(lane, settlements)
        await redis.config_set("maxmemory", "0")
        assert await queue.settle_jobs(lane, settlements) == SettleResult()

    with_redis(ensure_store(tmp_path), scenario, shards=1)
    stop_store(tmp_path)


def test_a_job_whose_device_changed_its_environment_is_moved_to_the_other_lane(store_url: str, app_id: str) -> None:
    production, sandbox = apns_lane(app_id), sandbox_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, production, people(production, 1))
        (entry,) = await claimed(queue, production)
        before = load_job(entry.record)
        assert await queue.settle_jobs(production, [Move(entry.id, before, sandbox)]) == SettleResult()
        assert await queue.lengths([production]) == [0]
        (moved,) = await claimed(queue, sandbox)
        job_now = load_job(moved.record)
        assert (job_now.channel, job_now.id, job_now.mark) == ("apns-sandbox", before.id, before.mark)

    with_redis(store_url, scenario)


def test_one_job_that_ends_its_workers_is_taken_over_alone_and_its_neighbours_are_not_buried_with_it(
    store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        await put_jobs(redis, lane, people(lane, 30))
        culprit, *innocent = [entry.id for entry in await claimed(queue_of(redis, "w0", MS), lane)]
        claims, settled = dict.fromkeys((culprit, *innocent), 1), list[bytes]()
        for n in range(1, 8):  # a worker lives until it has the culprit in hand
            worker, is_alive = queue_of(redis, f"w{n}", MS), True
            while is_alive and len(settled) < len(innocent):
                await asyncio.sleep(0.003)
                taken = await worker.take_over(lane, 100, suspect=True)
                claims |= {entry.id: entry.deliveries for entry in taken}
                is_alive = culprit not in {entry.id for entry in taken}
                if is_alive:
                    await worker.settle_jobs(lane, [Finish(entry.id) for entry in taken])
                    settled += [entry.id for entry in taken]
        assert sorted(settled) == sorted(innocent)
        assert max(claims[id_] for id_ in innocent) <= 4

    with_redis(store_url, scenario)


def test_without_room_for_a_suspect_only_entries_that_were_claimed_once_are_taken_over(
    store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        await put_jobs(redis, lane, people(lane, 6))
        first, second = queue_of(redis, "w1", MS), queue_of(redis, "w2", MS)
        suspects = await claimed(first, lane, 4)
        await asyncio.sleep(0.003)
        assert len(await second.take_over(lane, 9, suspect=False)) == 4
        innocent = await new_of(first, lane, 2)
        await asyncio.sleep(0.003)
        third = queue_of(redis, "w3", MS)
        assert [it.id for it in await third.take_over(lane, 9, suspect=False)] == [it.id for it in innocent]
        assert [it.id for it in await third.take_over(lane, 9, suspect=True)] == [suspects[0].id]

    with_redis(store_url, scenario)


def test_whatever_a_worker_writes_ends_by_itself_or_is_capped(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = RedisQueue(redis, "w", lease=LEASE, dedupe_ttl=timedelta(hours=25), jobs_cap=1000, dead_cap=10)
        chunk = [(lane, it) for it in people(lane, 400)]
        await queue.append_planned([PlanChunk(app_id, "m1", chunk)], NOON)
        entries = await claimed(queue, lane, 1000)
        await queue.settle_jobs(lane, [Bury(it.id, Cause.EXPIRED, "late", load_job(it.record)) for it in entries])

    with_redis(store_url, scenario)
    assert DAY < raw(store, "TTL", marks_of(store.layout, app_id, "m1")) * SECOND <= timedelta(hours=50)
    assert 10 <= raw(store, "XLEN", LAYOUT.dead_letters(app_id, 0)) < 400  # about the cap: whole nodes are trimmed
