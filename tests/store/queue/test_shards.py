"""The same over 16 shards: one call reads all of them, and what is done with entries is done where each lies."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Job
from proxy.domain.lanes import Callbacks, Lane
from proxy.domain.settlements import Bury, Entry, Finish, PlanChunk, PlanEnd, Postpone, Settlement, SettleResult
from proxy.errors import BadSettings, StoreFull
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.keys import Layout
from proxy.store.queue.caps import Caps
from proxy.store.queue.dead_letters import RedisDeadLetters
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import load_job
from proxy.store.server.embedded import ensure_store, stop_store
from tests.store.samples import (
    DAY,
    MS,
    NOON,
    SECOND,
    SHORT_LEASE,
    alert,
    apns_lane,
    callback,
    for_inbox,
    job,
    new_of,
    put_jobs,
    queue_of,
    raw,
    with_redis,
)

LAYOUT = Layout(16)


@pytest.fixture(scope="module")
def sharded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("sharded")
    yield ensure_store(folder)
    stop_store(folder)


@pytest.fixture
def sharded(sharded_url: str) -> Store:
    return Store(sharded_url)


def people(lane: Lane, count: int) -> list[Job]:
    return [job(lane, f"user-{n}") for n in range(count)]


def accounts(entries: list[Entry]) -> list[str]:
    return sorted(load_job(it.record).account for it in entries)


def test_a_new_store_has_16_shards_and_a_process_that_wants_another_number_is_refused(
    sharded: Store, sharded_url: str
) -> None:
    assert sharded.layout.shards == 16
    with pytest.raises(BadSettings, match=r"store\.shards: 32, but the store has 16"):
        _ = Store(sharded_url, shards=32).layout
    assert Store(sharded_url, shards=16).layout.shards == 16


def test_a_store_that_an_earlier_program_has_met_keeps_its_layout(tmp_path: Path) -> None:
    store = Store(ensure_store(tmp_path))
    raw(store, "HSET", keys.identity(), "id", "0123456789abcdef", "made_at", 1)
    assert store.layout.shards == 0
    with pytest.raises(BadSettings, match="the store has none, for an earlier version made it"):
        _ = Store(ensure_store(tmp_path), shards=16).layout
    stop_store(tmp_path)


def test_jobs_lie_in_the_shards_of_their_accounts_and_one_call_claims_of_all(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(lane)
        await put_jobs(redis, lane, people(lane, 200))
        for shard in LAYOUT.all_shards:
            for _, fields in await redis.xrange(LAYOUT.jobs(lane, shard)):
                assert LAYOUT.shard_of_account(load_job(fields[b"r"]).account) == shard
        assert await queue.lengths([lane]) == [200]
        claimed = await queue.claim(lane, 32, MS)
        entries = [*claimed.entries]
        assert (len(entries), claimed.is_all) == (32, False)
        assert set(Counter(it.id.partition(b"/")[2] for it in entries).values()) == {2}
        while not claimed.is_all:
            claimed = await queue.claim(lane, 500, MS)
            entries += claimed.entries
        assert len({it.id for it in entries}) == len(entries) == 200
        assert (await queue.renew(lane, [it.id for it in entries])).lost == []
        settlements: list[Settlement] = [Finish(it.id) for it in entries]
        assert await queue.settle_jobs(lane, settlements) == SettleResult()
        assert await queue.lengths([lane]) == [0]

    with_redis(sharded_url, scenario)


def test_a_shard_in_which_thousands_wait_takes_no_more_than_its_part_of_a_claim(sharded_url: str, app_id: str) -> None:
    lane, flood = apns_lane(app_id), LAYOUT.shard_of_account("ben")

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(lane)
        await put_jobs(redis, lane, [job(lane, "ben", of=alert(f"m{n}")) for n in range(2000)])
        await put_jobs(redis, lane, people(lane, 100))  # later, and claimed with the first
        found = Counter(int(it.id.partition(b"/")[2]) for it in await new_of(queue, lane, 160))
        assert found.keys() == set(LAYOUT.all_shards)
        assert found[flood] == 10

    with_redis(sharded_url, scenario)


def test_who_has_room_for_few_asks_some_shards_and_others_the_next_time(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue, found = queue_of(redis), list[Entry]()
        await queue.ensure_groups(lane)
        await put_jobs(redis, lane, people(lane, 40))
        for _ in range(200):
            entries = await new_of(queue, lane, 3)
            assert len(entries) <= 3
            found += entries
            if len(found) == 40:
                break
        assert accounts(found) == sorted(f"user-{n}" for n in range(40))

    with_redis(sharded_url, scenario)


def test_what_a_dead_worker_held_in_any_shard_is_taken_over(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        dead, heir = queue_of(redis, "dead", SHORT_LEASE), queue_of(redis, "heir", SHORT_LEASE)
        await dead.ensure_groups(lane)
        await put_jobs(redis, lane, people(lane, 60))
        held = await new_of(dead, lane, 500)
        await asyncio.sleep(SHORT_LEASE.total_seconds() * 1.5)
        other = apns_lane(app_id, "other")
        await heir.ensure_groups(other)
        assert await heir.abandoned([lane, other]) == [lane]
        taken = await heir.take_over(lane, 20, suspect=True)
        assert 0 < len(taken) <= 20
        while found := await heir.take_over(lane, 500, suspect=False):
            taken += found
        assert {it.id for it in taken} == {it.id for it in held}
        assert sorted((await dead.renew(lane, [it.id for it in held])).lost) == sorted(it.id for it in held)

    with_redis(sharded_url, scenario)


def test_a_worker_with_a_share_of_the_shards_touches_no_other(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        low, high = (queue_of(redis, f"{share}", SHORT_LEASE, share=share) for share in (range(8), range(8, 16)))
        await low.ensure_groups(lane)
        await put_jobs(redis, lane, people(lane, 60))
        mine = len([one for one in people(lane, 60) if LAYOUT.shard_of_account(one.account) < 8])
        assert [await low.lengths([lane]), await high.lengths([lane])] == [[mine], [60 - mine]]
        entries = await new_of(low, lane, 500)
        assert (len(entries), await new_of(low, lane, 500)) == (mine, [])
        await asyncio.sleep(SHORT_LEASE.total_seconds() * 1.5)
        assert (await high.abandoned([lane]), await high.take_over(lane, 500, suspect=True)) == ([], [])
        taken = {it.id: it for it in await low.take_over(lane, 500, suspect=True)}  # some twice on a slow machine
        assert len(taken) == mine
        again: list[Settlement] = [Postpone(it.id, load_job(it.record), NOON) for it in taken.values()]
        await low.settle_jobs(lane, again)
        assert not (await high.move_due([lane], [app_id], NOON + SECOND, 100)).jobs
        assert (await low.move_due([lane], [app_id], NOON + SECOND, 100)).jobs == {lane: mine}
        low.check_share()
        with pytest.raises(BadSettings, match=r"relay\.shards: names shard 16, but the last one of the store is 15"):
            queue_of(redis, share={3, 16}).check_share()

    with_redis(sharded_url, scenario)


def test_suspects_are_taken_over_one_at_a_time_whatever_their_shards(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis, "heir", timedelta(seconds=30))
        await queue.ensure_groups(lane)
        await put_jobs(redis, lane, people(lane, 40))
        for it in await new_of(queue_of(redis, "dead"), lane, 500):
            own, _, shard = it.id.partition(b"/")
            stream = LAYOUT.jobs(lane, int(shard))
            await redis.xclaim(stream, keys.GROUP, "dead", 0, [own], idle=60_000, retrycount=3, justid=True)
        taken = [await queue.take_over(lane, 500, suspect=True) for _ in range(40)]
        assert [len(it) for it in taken] == [1] * 40
        assert {it.deliveries for some in taken for it in some} == {4}
        assert len({it.id for some in taken for it in some}) == 40

    with_redis(sharded_url, scenario)


def test_retries_and_messages_that_wait_come_back_to_their_shards(
    sharded: Store, sharded_url: str, app_id: str
) -> None:
    lane, source, inbox = apns_lane(app_id), Callbacks(app_id), RedisInbox(sharded, DAY, 1000)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        for one in (lane, source):
            await queue.ensure_groups(one)
        await put_jobs(redis, lane, people(lane, 30))
        entries = await new_of(queue, lane, 500)
        settlements: list[Settlement] = [Postpone(it.id, load_job(it.record), NOON) for it in entries]
        assert await queue.settle_jobs(lane, settlements) == SettleResult()
        for sequence in range(30):
            inbox.accept(*for_inbox(callback(app_id, sequence=str(sequence)), NOON))
        messages = await new_of(queue, source, 500)
        assert len(messages) == 30
        ends: list[Settlement] = [PlanEnd(it.id, frozenset({lane})) for it in messages]
        assert await queue.settle_callbacks(app_id, ends, NOON) == SettleResult()
        moved = await queue.move_due([lane], [app_id], NOON + SECOND, 100)
        assert (moved.jobs, moved.messages, moved.next_due_at) == ({lane: 30}, 30, None)
        assert accounts(await new_of(queue, lane, 500)) == accounts(entries)
        assert {it.tries for it in await new_of(queue, source, 500)} == {1}

    with_redis(sharded_url, scenario)


def test_a_groups_jobs_go_in_chunks_of_a_shard_each(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue, wanted = queue_of(redis), [(lane, it) for it in people(lane, 1000)]
        chunks = list(queue.chunks(app_id, "m1", wanted, 50))
        assert len(chunks) <= 16 * 2
        for chunk in chunks:
            assert len({LAYOUT.shard_of_account(it.account) for _, it in chunk.jobs}) == 1
        results, _ = await queue.append_planned(chunks, NOON, {lane: 500})
        assert all(all(result.new) for result in results)
        again, _ = await queue.append_planned(chunks, NOON)
        assert not any(any(result.new) for result in again)
        assert await queue.lengths([lane]) == [1000]

    with_redis(sharded_url, scenario)


def test_dead_letters_of_all_shards_are_listed_by_time_and_go_back_where_they_were(
    sharded: Store, sharded_url: str, app_id: str
) -> None:
    lane, letters = apns_lane(app_id), RedisDeadLetters(sharded, jobs_cap=100, callbacks_cap=100)

    async def bury(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(lane)
        for one in people(lane, 30):
            await put_jobs(redis, lane, [one])
            (entry,) = await new_of(queue, lane)
            await queue.settle_jobs(lane, [Bury(entry.id, Cause.REJECTED, "TooLarge", one)])
            await asyncio.sleep(0.002)

    with_redis(sharded_url, bury)
    found = list(letters.oldest_first(app_id))
    assert [it.at for it in found] == sorted(it.at for it in found)
    assert [it.id for it in letters.newest_first(app_id)] == [it.id for it in found][::-1]
    assert len({it.id.partition(".")[2] for it in found}) > 8
    for letter in found:
        assert letters.find(app_id, letter.id) == letter
        whole = letters.whole(letter)
        assert isinstance(whole, Job)
        letters.put_back(letter, whole, lane)
        assert letters.find(app_id, letter.id) is None

    async def look(redis: Any) -> None:
        assert accounts(await new_of(queue_of(redis), lane, 500)) == sorted(it.account for it in people(lane, 30))

    with_redis(sharded_url, look)


def test_a_lane_that_is_full_in_all_takes_nothing_more_in_any_shard(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis, jobs_cap=40)
        await queue.ensure_groups(lane)
        await put_jobs(redis, lane, people(lane, 60))
        await queue.look_at_caps([lane])
        more = [(lane, job(lane, f"late-{n}")) for n in range(20)]
        results, _ = await queue.append_planned(list(queue.chunks(app_id, "m1", more, 50)), NOON)
        assert all(result.full == {lane} for result in results)
        for it in await new_of(queue, lane, 500):
            await queue.settle_jobs(lane, [Finish(it.id)])
        await queue.look_at_caps([lane])
        results, _ = await queue.append_planned(list(queue.chunks(app_id, "m1", more, 50)), NOON)
        assert all(all(result.new) for result in results)

    with_redis(sharded_url, scenario)


def test_callbacks_are_refused_while_all_shards_together_are_full(sharded: Store, app_id: str) -> None:
    inbox = RedisInbox(sharded, DAY, 30)
    for sequence in range(30):
        inbox.accept(*for_inbox(callback(app_id, sequence=str(sequence)), NOON))
    inbox.look_at_caps([app_id])
    with pytest.raises(StoreFull):
        inbox.accept(*for_inbox(callback(app_id, sequence="99"), NOON))
    assert inbox.accept(*for_inbox(callback(app_id, sequence="1"), NOON)).duplicate


@pytest.mark.parametrize(
    ("cap", "shards", "of_shard"), [(1_000_000, 16, 250_000), (1_000_000, 1, 1_000_000), (100, 16, 100), (3, 0, 3)]
)
def test_a_shard_may_hold_four_times_its_share_or_a_small_cap_whole(cap: int, shards: int, of_shard: int) -> None:
    assert Caps(cap).of_shard(Callbacks("1"), shards) == of_shard


def test_a_message_over_all_shards_is_planned_once(sharded_url: str, app_id: str) -> None:
    """Two workers at once, each all of it."""
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        wanted = [(lane, it) for it in people(lane, 300)]
        workers = [queue_of(redis, f"w{n}") for n in range(2)]
        both = [worker.append_planned(list(worker.chunks(app_id, "m1", wanted, 50)), NOON) for worker in workers]
        results = [result for found, _ in await asyncio.gather(*both) for result in found]
        assert sum(sum(result.new) for result in results) == 300
        assert await workers[0].lengths([lane]) == [300]
        chunk = PlanChunk(app_id, "m1", wanted[:1])
        ((again,), _) = await workers[0].append_planned([chunk], NOON)
        assert again.new == [False]

    with_redis(sharded_url, scenario)


def test_a_store_of_the_first_versions_which_had_no_identity_keeps_its_layout_too(tmp_path: Path) -> None:
    store = Store(ensure_store(tmp_path), app_ids=["77", "78"])
    raw(store, "XGROUP", "CREATE", "proxy:{78}:callbacks", keys.GROUP, "0", "MKSTREAM")
    assert store.layout.shards == 0
    assert Store(ensure_store(tmp_path)).layout.shards == 0
    stop_store(tmp_path)


def test_what_one_read_brings_is_in_the_order_in_which_it_came(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(lane)
        for one in people(lane, 20):
            await put_jobs(redis, lane, [one])
            await asyncio.sleep(0.002)
        found = [load_job(it.record).account for it in await new_of(queue, lane, 500)]
        assert found == [f"user-{n}" for n in range(20)]

    with_redis(sharded_url, scenario)


def test_all_that_a_dead_worker_held_in_one_shard_is_taken_over_at_once(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        dead, heir = queue_of(redis, "dead", SHORT_LEASE), queue_of(redis, "heir", timedelta(seconds=1))
        await heir.ensure_groups(lane)
        await put_jobs(redis, lane, [job(lane, "ben", f"phone-{n}") for n in range(120)])
        held = list[Entry]()
        while len(held) < 120:
            held += await new_of(dead, lane, 500)
        await asyncio.sleep(1.1)
        taken = await heir.take_over(lane, 100, suspect=True)
        assert len({it.id for it in taken}) == len(taken) == 100
        assert len(await heir.take_over(lane, 100, suspect=True)) == 20

    with_redis(sharded_url, scenario)
