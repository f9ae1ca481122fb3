"""The history: noted once, by whoever ends an entry; read by account, message and device; bounded in age and size."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import Result
from proxy.domain.history import KEPT, JobEnd, Note, Noted, Reason
from proxy.domain.lanes import Callbacks
from proxy.domain.settlements import Bury, Finish, PlanEnd
from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.history_records import BUCKETS, NotesOfMessage, bucket_of, record_of, sign_of_conversation
from proxy.store.queue.history import HistorySweep, RedisHistory
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.streams import RedisQueue
from proxy.store.queue.unended import RedisUnended
from proxy.store.records import load_job
from tests.store.samples import (
    DAY,
    LAYOUT,
    LEASE,
    MS,
    NOON,
    SECOND,
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

NOON_MS = to_ms(NOON)
MESSAGE = "000000000000000a"
LONG_AGO = NOON - 30 * DAY
LATER = datetime.max.replace(tzinfo=UTC)


def note(account: str = "ben", message_id: str = MESSAGE, **of: Any) -> Note:
    return replace(Note(message_id, "p2p:ann", NOON_MS, 0, Reason.NO_DEVICE, account), **of)


def records(*notes: Note) -> dict[int, bytes]:
    together = NotesOfMessage()
    together.add(notes)
    return together.records()


def history_of(store: Store, app_id: str) -> RedisHistory:
    return RedisHistory(store, {"main": app_id})


def written(redis_url: str, app_id: str, *notes: Note) -> None:
    with_redis(redis_url, lambda redis: queue_of(redis).append_notes(app_id, records(*notes)))


def streams(store: Store, app_id: str) -> list[bytes]:
    return list(raw(store, "KEYS", f"*:{app_id}:history:*"))


async def claimed_jobs(redis: Any, queue: RedisQueue, app_id: str, accounts: Sequence[str]) -> list[Finish]:
    lane = apns_lane(app_id)
    await queue.ensure_groups(lane)
    await put_jobs(redis, lane, [job(lane, account, of=alert(MESSAGE)) for account in accounts])
    entries = await new_of(queue, lane, 100)
    return [
        Finish(entry.id, (JobEnd(load_job(entry.record), Result.ACCEPTED, pushed_at_ms=NOON_MS, ended_at_ms=NOON_MS),))
        for entry in entries
    ]


def test_whoever_settles_a_job_notes_how_it_ended_and_whoever_lost_it_does_not(
    store_url: str, store: Store, app_id: str
) -> None:
    async def scenario(redis: Any) -> None:
        first, second = queue_of(redis, "worker-1"), queue_of(redis, "worker-2", lease=timedelta(0))
        lost = await claimed_jobs(redis, first, app_id, ["ben", "cai"])
        await second.take_over(apns_lane(app_id), 100, suspect=False)
        assert (await first.settle_jobs(apns_lane(app_id), lost)).foreign == [it.entry_id for it in lost]
        assert streams(store, app_id) == []
        for _ in range(2):  # the second time it is no longer theirs
            await second.settle_jobs(apns_lane(app_id), lost)

    with_redis(store_url, scenario)
    (noted,) = history_of(store, app_id).of_account("main", "ben", LONG_AGO, 9)
    assert (noted.note.result, noted.note.device_id, noted.note.message_id) == ("accepted", "phone", MESSAGE)


async def file_all(redis: Any, app_id: str) -> None:
    assert await HistorySweep(redis, [app_id], 10**9).file(LATER) == 0


def test_those_of_one_message_with_one_result_share_a_record_once_they_are_filed(
    store_url: str, store: Store, app_id: str
) -> None:
    accounts = [f"user-{n}" for n in range(300)]

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        for start in range(0, 300, 100):
            settlements = await claimed_jobs(redis, queue, app_id, accounts[start : start + 100])
            result = await queue.settle_jobs(apns_lane(app_id), settlements)
            assert result.unnoted == []
        assert raw(store, "XLEN", LAYOUT.history_new(app_id, 0)) == 3
        await file_all(redis, app_id)

    with_redis(store_url, scenario)
    assert raw(store, "XLEN", LAYOUT.history_new(app_id, 0)) == 0
    buckets = [name for name in streams(store, app_id) if name != LAYOUT.history_new(app_id, 0).encode()]
    assert [raw(store, "XLEN", name) for name in buckets] == [1] * len({bucket_of(it) for it in accounts})
    found = history_of(store, app_id).of_message("main", MESSAGE, LONG_AGO)
    assert sorted(one.note.account for one in found) == sorted(accounts)


def test_two_workers_that_file_at_once_file_each_note_once_and_lose_none_that_comes_meanwhile(
    store_url: str, store: Store, app_id: str
) -> None:
    for n in range(40):
        written(store_url, app_id, note(f"user-{n}", reason="x" * 200, ended_at_ms=NOON_MS + n))

    async def scenario(redis: Any) -> None:
        both = [HistorySweep(redis, [app_id], 10**9) for _ in range(2)]
        await asyncio.gather(
            *(it.file(LATER) for it in both), queue_of(redis).append_notes(app_id, records(note("late")))
        )
        await file_all(redis, app_id)

    with_redis(store_url, scenario)
    found = history_of(store, app_id).of_message("main", MESSAGE, LONG_AGO)
    assert sorted(one.note.account for one in found) == sorted(["late", *(f"user-{n}" for n in range(40))])
    assert [one.at for one in found if one.note.account != "late"] == [NOON + n * MS for n in range(40)]


def test_few_notes_wait_for_more_to_be_filed_with_and_are_found_meanwhile(
    store_url: str, store: Store, app_id: str
) -> None:
    written(store_url, app_id, note("ben"))
    (entry,) = raw(store, "XRANGE", LAYOUT.history_new(app_id, 0), "-", "+")
    at = from_ms(int(entry[0].partition(b"-")[0]))

    async def scenario(redis: Any) -> None:
        sweep = HistorySweep(redis, [app_id], 10**9)
        for minutes, buckets in ((9, 0), (10, 1)):
            assert await sweep.file(at + timedelta(minutes=minutes)) == 0
            assert len(streams(store, app_id)) == 1 + buckets
            (found,) = history_of(store, app_id).of_account("main", "ben", LONG_AGO, 9)
            assert found.note.account == "ben"

    with_redis(store_url, scenario)


def test_a_bucket_that_takes_nothing_loses_its_own_notes_alone(store_url: str, store: Store, app_id: str) -> None:
    written(store_url, app_id, note("ben"), note("cai"))
    raw(store, "SET", LAYOUT.history(app_id, bucket_of("ben"), 0), "no stream")

    async def scenario(redis: Any) -> None:
        assert await HistorySweep(redis, [app_id], 10**9).file(LATER) == 1

    with_redis(store_url, scenario)
    raw(store, "DEL", LAYOUT.history(app_id, bucket_of("ben"), 0))
    assert [it.note.account for it in history_of(store, app_id).of_message("main", MESSAGE, LONG_AGO)] == ["cai"]


def test_plan_notes_when_its_callback_is_ended_and_only_then(store_url: str, store: Store, app_id: str) -> None:
    RedisInbox(store, DAY, 10).accept(*for_inbox(callback(app_id), NOON))

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(Callbacks(app_id))
        (entry,) = await new_of(queue, Callbacks(app_id), 9)
        notes = records(note("ben"), note("cai", result=Reason.MUTED))
        for _ in range(2):  # the second time its callback is no longer there
            await queue.settle_callbacks(app_id, [PlanEnd(entry.id, records=notes)], NOON)

    with_redis(store_url, scenario)
    found = history_of(store, app_id).of_message("main", MESSAGE, LONG_AGO)
    assert sorted((one.note.account, one.note.result) for one in found) == [
        ("ben", "no device"),
        ("cai", "conversation is muted"),
    ]


def test_a_history_that_cannot_be_written_hinders_nothing_and_is_counted(
    store_url: str, store: Store, app_id: str
) -> None:
    raw(store, "SET", LAYOUT.history_new(app_id, 0), "no stream")

    async def scenario(redis: Any) -> None:
        queue, lane = queue_of(redis), apns_lane(app_id)
        settlements = await claimed_jobs(redis, queue, app_id, ["ben"])
        result = await queue.settle_jobs(lane, settlements)
        assert (result.failed, result.foreign, len(result.unnoted)) == ([], [], 1)
        assert await queue.length(lane) == 0
        sweep = HistorySweep(redis, [app_id], 1000)
        assert (await sweep.file(LATER), await sweep.sweep(NOON)) == (0, 0)

    with_redis(store_url, scenario)


def test_where_none_is_kept_none_is_written(store_url: str, store: Store, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        queue = RedisQueue(
            redis, "w", lease=LEASE, dedupe_ttl=DAY, jobs_cap=10, dead_cap=9, keeps_history=False
        )  # fmt: skip
        settlements = await claimed_jobs(redis, queue, app_id, ["ben"])
        await queue.settle_jobs(apns_lane(app_id), settlements)
        await queue.append_notes(app_id, records(note()))

    with_redis(store_url, scenario)
    assert streams(store, app_id) == []


def test_a_dead_letter_is_noted_without_its_words(store_url: str, store: Store, app_id: str) -> None:
    async def scenario(redis: Any) -> None:
        queue, lane = queue_of(redis), apns_lane(app_id)
        (it,) = await claimed_jobs(redis, queue, app_id, ["ben"])
        noted = (JobEnd(job(lane, of=alert(MESSAGE)), Result.DEAD_LETTER, "BadTopic"),)
        await queue.settle_jobs(lane, [Bury(it.entry_id, Cause.REJECTED, "BadTopic", job(lane), noted)])

    with_redis(store_url, scenario)
    (noted,) = history_of(store, app_id).of_device("main", "phone", LONG_AGO)
    assert (noted.note.result, noted.note.reason) == ("dead letter", "BadTopic")
    (entry,) = raw(store, "XRANGE", LAYOUT.history_new(app_id, 0), "-", "+")
    assert b"words" not in entry[1][b"r"]


def test_notes_are_found_by_account_message_and_device_the_latest_of_an_account_alone(
    store_url: str, store: Store, app_id: str
) -> None:
    for n in range(5):
        written(store_url, app_id, note("ben", f"{n:016x}", device_id="phone"), note("cai", f"{n:016x}"))
    history = history_of(store, app_id)
    assert [it.note.message_id[-1] for it in history.of_account("main", "ben", LONG_AGO, 3)] == ["2", "3", "4"]
    assert [it.note.account for it in history.of_message("main", f"{3:016x}", LONG_AGO)] in (
        ["ben", "cai"],
        ["cai", "ben"],
    )
    assert {it.note.account for it in history.of_device("main", "phone", LONG_AGO)} == {"ben"}
    (first, *_) = history.of_account("main", "ben", LONG_AGO, 9)
    assert history.of_account("main", "ben", first.at + DAY, 9) == []
    assert history.of_account("main", "dan", LONG_AGO, 9) == []
    assert history.reaches_back_to("main") is not None
    assert RedisHistory(store, {"main": "no such"}).reaches_back_to("main") is None


def test_what_is_older_than_a_week_goes_and_a_stream_without_notes_goes_whole(
    store_url: str, store: Store, app_id: str
) -> None:
    name = LAYOUT.history(app_id, bucket_of("ben"), 0)
    for at in (NOON - KEPT - SECOND, NOON - KEPT + SECOND):
        raw(store, "XADD", name, to_ms(at), "r", records(note())[0])

    async def scenario(redis: Any) -> None:
        sweep = HistorySweep(redis, [app_id], 10**9)
        assert await sweep.sweep(NOON) > 0
        assert [it.at for it in history_of(store, app_id).of_account("main", "ben", LONG_AGO, 9)] == [
            NOON - KEPT + SECOND
        ]
        assert 0 < raw(store, "TTL", name) <= keys.HISTORY_TTL_S
        assert await sweep.sweep(NOON + DAY) == 0

    with_redis(store_url, scenario)
    assert streams(store, app_id) == []


def test_beyond_its_size_the_oldest_go_whatever_their_bucket(store_url: str, store: Store, app_id: str) -> None:
    def fill(redis: Any) -> None:
        pipe = redis.pipeline(transaction=False)
        for n in range(20_000):  # the later the more: half of the time holds less than half of the bytes
            account, at = f"user-{n}", NOON - DAY + timedelta(seconds=int(86_400 * (n / 20_000) ** 0.5))
            name = LAYOUT.history(app_id, bucket_of(account), 0)
            pipe.xadd(name, {"r": records(note(account))[0]}, id=f"{to_ms(at)}-{n + 1}")  # 6.2 knows no "-*"
        pipe.execute()

    store.call(fill)

    async def scenario(redis: Any) -> None:
        whole = await HistorySweep(redis, [app_id], 10**9).sweep(NOON)
        most = whole // 2
        left = await HistorySweep(redis, [app_id], most).sweep(NOON)
        assert most // 3 < left <= most
        firsts = [raw(store, "XRANGE", name, "-", "+", "COUNT", 1)[0][0] for name in streams(store, app_id)]
        at = sorted(from_ms(int(id_.partition(b"-")[0])) for id_ in firsts)
        assert len(at) == BUCKETS  # none is new
        assert at[-1] - at[0] < timedelta(hours=1)

    with_redis(store_url, scenario)


@pytest.mark.one_server
def test_a_store_that_tells_no_sizes_is_bounded_by_a_guess(store_url: str, store: Store, app_id: str) -> None:
    written(store_url, app_id, note())
    raw(store, "ACL", "SETUSER", "sizeless", "on", ">x", "~*", "&*", "+@all", "-memory")
    url = store_url.replace("unix://", "unix://sizeless@") + "?password=x"

    async def scenario(redis: Any) -> None:
        assert await HistorySweep(redis, [app_id], 10**9).sweep(NOON) == 100

    with_redis(url, scenario)


def test_what_waits_for_its_plan_in_a_lane_or_for_a_try_is_told_with_the_lanes_pause(
    store_url: str, store: Store, app_id: str
) -> None:
    lane = apns_lane(app_id)
    RedisInbox(store, DAY, 10).accept(*for_inbox(callback(app_id), NOON))
    raw(store, "HSET", keys.pause(lane), "reason", "InvalidProviderToken", "since", NOON_MS, "kind", "fault")
    with_redis(store_url, lambda redis: put_jobs(redis, lane, [job(lane, "ben")]))
    raw(store, "ZADD", LAYOUT.retries(lane, 0), NOON_MS + 5, _record(store, lane))

    def is_bens(note: Note) -> bool:
        return note.account == "ben"

    found: list[Noted] = RedisUnended(store, [lane]).notes(app_id, NOON, is_bens)
    assert [(it.note.result, it.note.reason) for it in found] == [
        ("waits for its plan", ""),
        ("waits in its lane", "the lane is paused (fault): InvalidProviderToken"),
        ("waits for its next try", "the lane is paused (fault): InvalidProviderToken"),
    ]
    assert RedisUnended(store, [lane]).notes(app_id, NOON, lambda note: note.account == "cai") == []


def _record(store: Store, lane: Any) -> bytes:
    ((_, fields),) = raw(store, "XRANGE", LAYOUT.jobs(lane, 0), "-", "+")
    assert load_job(fields[b"r"]).account == "ben"
    return bytes(fields[b"r"])


def test_a_message_between_two_people_takes_at_most_75_bytes(store_url: str, store: Store, app_id: str) -> None:
    """Of many; each stream begins with 4 KiB of its own. A hundred were noted in each settlement."""
    messages = 24_000
    at = to_ms(datetime.now(UTC)) - messages * 10

    async def scenario(redis: Any) -> None:
        some, sweep = list[Note](), HistorySweep(redis, [app_id], 10**9)
        for n in range(messages):
            ms = at + 10 * n
            some.append(
                note(
                    f"user-{(n * 7919) % 100_000:07}", f"{(n * 0x9E3779B97F4A7C15) % 2**64:016x}",
                    conversation=f"p2p:user-{n % 977:07}", accepted_at_ms=ms, sent_at_ms=ms - 900 - n % 401,
                    result=Result.ACCEPTED, device_id=str(UUID(int=(n * 0x9E3779B97F4A7C15F39CC0605CEDC834) % 2**128)),
                    app="main", channel="apns", planned_at_ms=ms + 3 + n % 9, pushed_at_ms=ms + 12 + n % 13,
                    ended_at_ms=ms + 80 + n % 97,
                )
            )  # fmt: skip
            if len(some) == 100:
                await queue_of(redis).append_notes(app_id, {0: b"".join(map(record_of, some))})
                some.clear()
            if n % 6000 == 5999:
                assert await sweep.file(LATER) == 0

    with_redis(store_url, scenario)
    names = [name for name in streams(store, app_id) if name != LAYOUT.history_new(app_id, 0).encode()]
    used = int(sum(raw(store, "MEMORY", "USAGE", name, "SAMPLES", 0) for name in names))
    assert used / messages <= 75


def latest(
    store: Store, app_id: str, conversation: str = "", most: int = 9, until: datetime | None = None
) -> tuple[list[str], bool]:
    """The accounts of what is found, and whether that is all."""
    sign = sign_of_conversation(conversation) if conversation else b""
    found, is_all = history_of(store, app_id).latest(
        "main", LONG_AGO, until, sign, lambda one: conversation in ("", one.note.conversation), most
    )
    return [one.note.account for one in found], is_all


@pytest.mark.parametrize("is_filed", [False, True])
def test_those_of_a_conversation_and_of_a_time_are_found_the_latest_first(
    store_url: str, store: Store, app_id: str, is_filed: bool
) -> None:
    for n in range(6):
        in_group = {"conversation": "topic:7"} if n % 2 else {}
        written(store_url, app_id, note(f"user-{n}", ended_at_ms=NOON_MS + n, pushed_at_ms=NOON_MS, **in_group))
    if is_filed:
        with_redis(store_url, lambda redis: file_all(redis, app_id))
    assert latest(store, app_id) == ([f"user-{n}" for n in range(6)], True)
    assert latest(store, app_id, "topic:7") == (["user-1", "user-3", "user-5"], True)
    assert latest(store, app_id, "p2p:ann") == (["user-0", "user-2", "user-4"], True)
    assert latest(store, app_id, "topic:8") == ([], True)
    found, is_all = latest(store, app_id, most=2)
    assert (len(found), is_all) == (2, False)
    assert latest(store, app_id, until=NOON - 30 * DAY) == ([], True)


def test_what_waits_is_looked_at_up_to_a_limit(store_url: str, store: Store, app_id: str) -> None:
    lane = apns_lane(app_id)
    with_redis(store_url, lambda redis: put_jobs(redis, lane, [job(lane, f"user-{n}") for n in range(5)]))
    for most, expected in ((2, 2), (5, 5), (1000, 5)):
        assert len(RedisUnended(store, [lane], most).notes(app_id, NOON, lambda _: True)) == expected
