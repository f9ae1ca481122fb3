"""Words that many jobs of a message have in common are kept once in each shard, and no job misses them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from proxy.domain.alerts import AlertText
from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Job
from proxy.domain.previews import Preview
from proxy.domain.settlements import Bury, Entry, PlanChunk, Postpone
from proxy.domain.times import from_ms
from proxy.store.compact_records import dump_words, name_of_words, words_name
from proxy.store.connection import Store
from proxy.store.keys import Layout
from proxy.store.queue.folds import Folding
from proxy.store.queue.shared_words import MANY
from proxy.store.queue.streams import RedisQueue
from proxy.store.queue.unended import RedisUnended
from proxy.store.records import load_job
from tests.store.samples import (
    DAY,
    LAYOUT,
    NOON,
    SECOND,
    SHORT_LEASE,
    alert,
    all_that_is_stored,
    apns_lane,
    job,
    new_of,
    queue_of,
    with_redis,
)

MESSAGE = "0123456789abcdef" * 2
SECRET = "words of ann"


def jobs_of(app_id: str, count: int) -> list[Job]:
    said = replace(alert(MESSAGE, "topic:7"), text=AlertText("ann", SECRET))
    return [replace(job(apns_lane(app_id), f"user-{n}", f"phone-{n}", said)) for n in range(count)]


async def plan(queue: RedisQueue, app_id: str, jobs: Sequence[Job]) -> None:
    (result,), _ = await queue.append_planned(
        [PlanChunk(app_id, MESSAGE, [(apns_lane(app_id), it) for it in jobs])], NOON
    )
    assert result.error is None


async def records(redis: Any, app_id: str) -> list[bytes]:
    return [fields[b"r"] for _, fields in await redis.xrange(LAYOUT.jobs(apns_lane(app_id), 0))]


async def words(redis: Any, app_id: str) -> list[str]:
    return [name async for name in redis.scan_iter(match=f"*{app_id}:words:*")]


def test_the_jobs_of_a_group_name_their_words_and_who_claims_them_has_all(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        queue, jobs, lane = queue_of(redis), jobs_of(app_id, 50), apns_lane(app_id)
        await plan(queue, app_id, jobs)
        assert all(SECRET.encode() not in record for record in await records(redis, app_id))
        (name,) = await words(redis, app_id)
        assert DAY + timedelta(minutes=59) < await redis.pttl(name) * SECOND / 1000 <= DAY + timedelta(hours=1)
        await queue.ensure_groups(lane)
        assert [load_job(entry.record) for entry in await new_of(queue, lane, 50)] == jobs

    with_redis(store_url, scenario)


def test_a_few_jobs_have_words_of_their_own(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        jobs = jobs_of(app_id, MANY - 1)
        await plan(queue_of(redis), app_id, jobs)
        assert [load_job(record) for record in await records(redis, app_id)] == jobs
        assert await words(redis, app_id) == []

    with_redis(store_url, scenario)


def test_a_store_of_an_earlier_program_gets_records_that_this_reads(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        redis.layout = Layout(1)
        await plan(queue_of(redis), app_id, jobs_of(app_id, 50))
        assert all(record.startswith(b'{"v":1,') for record in await records(redis, app_id))
        assert await words(redis, app_id) == []

    with_redis(store_url, scenario)


def test_where_nobody_may_see_the_words_no_byte_of_them_is_stored(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        await plan(queue_of(redis), app_id, [one.at(Preview.NONE) for one in jobs_of(app_id, 50)])
        assert SECRET.encode() not in await all_that_is_stored(redis, app_id)
        assert len(await words(redis, app_id)) == 1

    with_redis(store_url, scenario)


def test_those_who_may_see_less_have_a_record_of_their_own(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        queue, lane, jobs = queue_of(redis), apns_lane(app_id), jobs_of(app_id, 50)
        jobs[3], jobs[7] = jobs[3].at(Preview.NONE), jobs[7].at(Preview.SENDER)
        await plan(queue, app_id, jobs)
        names = [name_of_words(record) for record in await records(redis, app_id)]
        assert [place for place, name in enumerate(names) if name is None] == [3, 7]
        await queue.ensure_groups(lane)
        assert [load_job(entry.record) for entry in await new_of(queue, lane, 50)] == jobs

    with_redis(store_url, scenario)


def test_whoever_takes_them_over_has_the_words_too_and_a_retry_and_a_dead_letter_take_them_along(
    store_url: str, app_id: str
) -> None:
    async def scenario(redis: Any) -> None:
        lane, jobs = apns_lane(app_id), jobs_of(app_id, MANY)
        dead, heir = queue_of(redis, "dead", SHORT_LEASE), queue_of(redis, "heir", SHORT_LEASE)
        await plan(dead, app_id, jobs)
        await dead.ensure_groups(lane)
        assert len(await new_of(dead, lane)) == MANY
        taken: list[Entry] = []
        while len(taken) < MANY:
            taken += await heir.take_over(lane, MANY, suspect=False)
        assert sorted(load_job(entry.record).account for entry in taken) == sorted(one.account for one in jobs)
        first, second, *_ = taken
        await heir.settle_jobs(
            lane,
            [
                Postpone(first.id, load_job(first.record), NOON),
                Bury(second.id, Cause.REJECTED, "BadTopic", load_job(second.record)),
            ],
        )
        await redis.delete(*await words(redis, app_id))
        ((record, _),) = await redis.zrange(LAYOUT.retries(lane, 0), 0, -1, withscores=True)
        assert load_job(record) == load_job(first.record)
        ((id_, fields),) = await redis.xrange(LAYOUT.dead_letters(app_id, 0))
        assert SECRET.encode() not in fields[b"r"]
        assert load_job(await redis.get(LAYOUT.dead_words(app_id, id_.decode(), 0))) == load_job(second.record)

    with_redis(store_url, scenario)


def test_an_entry_that_another_plan_appended_is_whole_when_it_is_claimed_with_ones_own(
    store_url: str, app_id: str
) -> None:
    async def scenario(redis: Any) -> None:
        queue, lane, jobs = queue_of(redis), apns_lane(app_id), jobs_of(app_id, MANY + 1)
        await queue.ensure_groups(lane)
        await plan(queue, app_id, jobs[:MANY])
        chunk = PlanChunk(app_id, MESSAGE, [(lane, jobs[MANY])])
        (result,), _ = await queue.append_planned([chunk], NOON, {lane: 1})
        ((entry,),) = result.claimed.values()
        assert load_job(entry.record) == jobs[0]  # type: ignore[union-attr]

    with_redis(store_url, scenario)


def test_a_fold_tells_whose_messages_they_are(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        lane, jobs = apns_lane(app_id), jobs_of(app_id, MANY)
        queue = RedisQueue(redis, "w", lease=DAY, dedupe_ttl=DAY, jobs_cap=99, dead_cap=9, folding=Folding(60 * SECOND))
        await plan(queue, app_id, jobs)
        later = [replace(one, alert=replace(one.alert, message_id="f" * 32)) for one in jobs]
        (result,), _ = await queue.append_planned([PlanChunk(app_id, "f" * 32, [(lane, one) for one in later])], NOON)
        assert len(result.folded) == MANY
        await redis.delete(LAYOUT.jobs(lane, 0))
        await queue.ensure_groups(lane)
        await queue.move_due([lane], [], NOON + 61 * SECOND, 99)
        updates = [load_job(entry.record) for entry in await new_of(queue, lane)]
        assert [one.alert.text.count for one in updates] == [1] * MANY
        assert {one.alert.conversation for one in updates} == {"topic:7"}

    with_redis(store_url, scenario)


def test_what_waits_is_found_by_its_message(store_url: str, store: Store, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        await plan(queue_of(redis), app_id, jobs_of(app_id, MANY))

    with_redis(store_url, scenario)
    found = RedisUnended(store, [apns_lane(app_id)]).notes(app_id, NOON, lambda note: note.message_id == MESSAGE[:16])
    assert len(found) == MANY


def test_the_words_of_a_message_are_named_by_what_they_say() -> None:
    one, other = jobs_of("77", 2)
    assert dump_words(one.alert, one.alert.text) == dump_words(other.alert, other.alert.text)
    quiet = replace(one.alert, silent=True)
    assert words_name(dump_words(quiet, quiet.text)) != words_name(dump_words(one.alert, one.alert.text))


def test_words_that_are_gone_or_broken_hold_up_no_other_job(store_url: str, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        queue, lane, jobs = queue_of(redis), apns_lane(app_id), jobs_of(app_id, MANY)
        await queue.ensure_groups(lane)
        await plan(queue, app_id, jobs)
        (name,) = await words(redis, app_id)
        await redis.delete(name)
        await redis.rpush(name, "of another type")
        other = replace(alert("e" * 32, "p2p:cai"), text=AlertText("cai", "hi"))
        await plan(queue, app_id, [job(lane, "dan", "phone", other)])
        found = [load_job(entry.record) for entry in await new_of(queue, lane)]
        assert {one.alert.expires_at for one in found[:-1]} == {from_ms(0)}
        assert found[-1].alert == other

    with_redis(store_url, scenario)
