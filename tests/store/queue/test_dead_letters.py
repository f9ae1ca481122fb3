"""Dead letters: what a person needs to find out why and to mend it, and nothing that people wrote."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from proxy.domain.dead_letters import Cause, DeadLetter, DeadLetterFilter, PutBack, Unread
from proxy.domain.jobs import Job
from proxy.domain.lanes import Callbacks, Lane
from proxy.domain.offline_messages import OfflineMessage, offline_message
from proxy.domain.settlements import Bury, Entry
from proxy.store.connection import Store
from proxy.store.queue.dead_letters import RedisDeadLetters
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import dump_job, load_job, load_offline_message
from tests.store.samples import (
    DAY,
    LAYOUT,
    MS,
    NOON,
    SECOND,
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


def words_of(letter: DeadLetter) -> str:
    return LAYOUT.dead_words(letter.app_id, letter.id.removesuffix(".0"), 0)


def letters_of(store: Store, cap: int = 100) -> RedisDeadLetters:
    return RedisDeadLetters(store, jobs_cap=cap, callbacks_cap=cap)


def bury(
    store_url: str,
    app_id: str,
    jobs: list[Job],
    cause: Cause = Cause.REJECTED,
    reason: str = "TooLarge",
    dead_cap: int = 100,
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis, dead_cap=dead_cap)
        await put_jobs(redis, lane, jobs)
        await queue.ensure_groups(lane)
        entries = await new_of(queue, lane, 100)
        await queue.settle_jobs(lane, [Bury(it.id, cause, reason, one) for it, one in zip(entries, jobs, strict=True)])

    with_redis(store_url, scenario)


def bury_callback(store: Store, store_url: str, app_id: str, *, unreadable: bool = False) -> OfflineMessage:
    """Its message is gone from the stream of callbacks."""
    message = offline_message(callback(app_id), NOON)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        RedisInbox(store, DAY, 10).accept(*for_inbox(callback(app_id), NOON))
        await queue.ensure_groups(Callbacks(app_id))
        (entry,) = await new_of(queue, Callbacks(app_id), 10)
        assert load_offline_message(entry.record) == message
        of: OfflineMessage | Entry = entry if unreadable else message
        await queue.settle_callbacks(app_id, [Bury(entry.id, Cause.POISON, "poison callback", of)], NOON)

    with_redis(store_url, scenario)
    return message


def only(store: Store, app_id: str) -> DeadLetter:
    (letter,) = letters_of(store).newest_first(app_id)
    return letter


def waiting(store: Store, name: str) -> list[bytes]:
    """The records in a stream."""
    return [fields[b"r"] for _, fields in raw(store, "XRANGE", name, "-", "+")]


def without_text(one: Job) -> Job:
    return load_job(dump_job(one, with_text=False))


def test_a_letter_tells_whose_job_it_was_why_it_ended_and_what_was_tried(
    store: Store, store_url: str, app_id: str
) -> None:
    one = replace(job(apns_lane(app_id)), attempt=3).tried(NOON, "busy").tried(NOON + SECOND, "http 503")
    bury(store_url, app_id, [one])
    letter = only(store, app_id)
    assert (letter.kind, letter.cause, letter.reason) == ("job", Cause.REJECTED, "TooLarge")
    assert (letter.app, letter.channel) == ("main", "apns")
    assert letter.subject == without_text(one)
    assert [it.reason for it in letter.subject.history] == ["busy", "http 503"]
    assert letters_of(store).find(app_id, letter.id) == letter


def test_the_words_lie_beside_the_letter_and_go_when_the_marks_do(store: Store, store_url: str, app_id: str) -> None:
    one = job(apns_lane(app_id))
    bury(store_url, app_id, [one])
    letter, letters = only(store, app_id), letters_of(store)
    assert "words" not in repr(raw(store, "XRANGE", LAYOUT.dead_letters(app_id, 0), "-", "+"))
    assert letters.whole(letter) == one
    until = letters.words_until(letter)
    assert until is not None
    assert DAY - 60 * SECOND < until - letter.at < DAY + 60 * SECOND
    raw(store, "DEL", words_of(letter))
    assert letters.whole(letter) is None
    assert letters.words_until(letter) is None


def test_a_callback_is_kept_without_its_payload_and_goes_back_as_it_came(
    store: Store, store_url: str, app_id: str
) -> None:
    message = bury_callback(store, store_url, app_id)
    letter, letters = only(store, app_id), letters_of(store)
    assert (letter.kind, letter.cause, letter.app, letter.channel) == ("callback", Cause.POISON, "", "")
    assert letter.subject == replace(message, payload=b"")
    assert letters.whole(letter) == message
    assert letters.put_back(letter, message, None) is PutBack.DONE
    assert [load_offline_message(it) for it in waiting(store, LAYOUT.callbacks(app_id, 0))] == [message]
    assert [*letters.newest_first(app_id)] == []


def test_what_nobody_can_read_is_told_by_its_place_and_size_and_goes_back_to_the_byte(
    store: Store, store_url: str, app_id: str
) -> None:
    bury_callback(store, store_url, app_id, unreadable=True)
    letter, letters = only(store, app_id), letters_of(store)
    whole = letters.whole(letter)
    assert isinstance(whole, Entry)
    assert letter.subject == Unread("", "", len(whole.record))
    assert letters.put_back(letter, whole, None) is PutBack.DONE
    assert waiting(store, LAYOUT.callbacks(app_id, 0)) == [whole.record]


def test_a_job_goes_back_once_whoever_asks_and_its_letter_and_words_are_gone(
    store: Store, store_url: str, app_id: str
) -> None:
    lane, one = apns_lane(app_id), job(apns_lane(app_id))
    bury(store_url, app_id, [one])
    letter, letters = only(store, app_id), letters_of(store)
    assert [letters.put_back(letter, one, lane) for _ in range(2)] == [PutBack.DONE, PutBack.GONE]
    assert [load_job(it) for it in waiting(store, LAYOUT.jobs(lane, 0))] == [one]
    assert raw(store, "EXISTS", LAYOUT.dead_letters(app_id, 0), words_of(letter)) == 1  # an empty stream
    assert letters.find(app_id, letter.id) is None
    assert not letters.has(letter)


def test_of_two_operators_at_once_one_puts_a_letter_back(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)
    bury(store_url, app_id, [job(lane, f"user-{n}") for n in range(100)])
    start = threading.Barrier(2)

    def put_all_back(_operator: int) -> list[PutBack]:
        letters = letters_of(Store(store_url))
        mine = [*letters.oldest_first(app_id)]
        start.wait(10)
        return [letters.put_back(it, it.subject, lane) for it in mine if isinstance(it.subject, Job)]

    with ThreadPoolExecutor(2) as operators:
        done = [answer for answers in operators.map(put_all_back, range(2)) for answer in answers]
    assert (done.count(PutBack.DONE), done.count(PutBack.GONE)) == (100, 100)
    back = [load_job(it).account for it in waiting(store, LAYOUT.jobs(lane, 0))]
    assert sorted(back) == sorted(f"user-{n}" for n in range(100))


def test_a_lane_at_its_cap_takes_no_letter_back(store: Store, store_url: str, app_id: str) -> None:
    lane, one = apns_lane(app_id), job(apns_lane(app_id))
    bury(store_url, app_id, [one])
    letter = only(store, app_id)
    raw(store, "ZADD", LAYOUT.retries(lane, 0), 1, "a retry")
    assert letters_of(store, cap=1).put_back(letter, one, lane) is PutBack.FULL
    assert letters_of(store).whole(only(store, app_id)) == one
    assert waiting(store, LAYOUT.jobs(lane, 0)) == []
    assert letters_of(store, cap=2).put_back(letter, one, lane) is PutBack.DONE


def test_a_dropped_letter_is_gone_with_its_words(store: Store, store_url: str, app_id: str) -> None:
    bury(store_url, app_id, [job(apns_lane(app_id))])
    letter, letters = only(store, app_id), letters_of(store)
    assert [letters.drop(letter) for _ in range(2)] == [True, False]
    assert letters.whole(letter) is None
    assert [*letters.newest_first(app_id)] == []


def test_letters_come_in_either_order_over_all_their_pages(store: Store, store_url: str, app_id: str) -> None:
    for n in range(250):
        raw(store, "XADD", LAYOUT.dead_letters(app_id, 0), f"{1000 + n // 2}-{n % 2}", "reason", f"r{n}", "r", "{}")
    reasons = [f"r{n}" for n in range(250)]
    assert [it.reason for it in letters_of(store).oldest_first(app_id)] == reasons
    assert [it.reason for it in letters_of(store).newest_first(app_id)] == reasons[::-1]


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (DeadLetterFilter(), [0, 1, 2, 3]),
        (DeadLetterFilter(app="main"), [0, 2, 3]),
        (DeadLetterFilter(app="beta"), [1, 2]),
        (DeadLetterFilter(channel="apns"), [0, 1]),
        (DeadLetterFilter(cause=Cause.EXPIRED), [1]),
        (DeadLetterFilter(cause=Cause.UNKNOWN), [3]),
        (DeadLetterFilter(before=NOON + SECOND), [0]),
        (DeadLetterFilter(after=NOON + SECOND), [1, 2, 3]),
        (DeadLetterFilter(after=NOON + SECOND, before=NOON + 2 * SECOND), [1]),
        (DeadLetterFilter(app_id="another"), []),
    ],
)
def test_letters_are_chosen_by_section_channel_cause_and_age(
    store: Store, app_id: str, choice: DeadLetterFilter, chosen: list[int]
) -> None:
    lane = Lane(app_id, "main", "apns")
    record = dump_job(job(lane), with_text=False)
    for n, fields in enumerate([
        ["cause", "rejected", "kind", "job", "r", record],
        ["cause", "expired", "kind", "job", "r", record.replace(b'"main"', b'"beta"')],
        ["cause", "poison", "kind", "callback", "r", b"{}"],
        ["cause", "of a later version", "kind", "job", "r", record.replace(b'"apns"', b'"mipush"')],
    ]):  # fmt: skip
        at = int((NOON + n * SECOND).timestamp() * 1000)
        raw(store, "XADD", LAYOUT.dead_letters(app_id, 0), f"{at}-0", "reason", str(n), *fields)
    assert [int(it.reason) for it in letters_of(store).oldest_first(app_id, choice)] == chosen
    assert [int(it.reason) for it in letters_of(store).newest_first(app_id, choice)] == chosen[::-1]


def test_what_an_earlier_version_wrote_is_read_and_what_it_did_not_keep_is_missing(store: Store, app_id: str) -> None:
    one = job(apns_lane(app_id))
    raw(store, "XADD", LAYOUT.dead_letters(app_id, 0), "*", "reason", "TooLarge", "r", dump_job(one, with_text=False))
    raw(store, "XADD", LAYOUT.dead_letters(app_id, 0), "*", "reason", "poison callback", "r", "{}")
    of_job, of_callback = letters_of(store).oldest_first(app_id)
    assert (of_job.subject, of_job.cause, of_job.kind) == (without_text(one), Cause.UNKNOWN, "job")
    assert (of_callback.subject, of_callback.cause, of_callback.kind) == (None, Cause.UNKNOWN, "record")
    assert letters_of(store).whole(of_job) is None
    assert letters_of(store).whole(of_callback) is None


def test_letters_beyond_the_cap_are_trimmed_and_their_words_end_by_themselves(
    store: Store, store_url: str, app_id: str
) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        jobs = [job(lane, f"user-{n}") for n in range(400)]
        await put_jobs(redis, lane, jobs)
        await queue.ensure_groups(lane)
        entries = await new_of(queue, lane, 400)
        await queue.settle_jobs(
            lane, [Bury(it.id, Cause.EXPIRED, "late", one) for it, one in zip(entries, jobs, strict=True)]
        )

    with_redis(store_url, scenario)
    assert len([*letters_of(store).oldest_first(app_id)]) < 400
    names = store.call(lambda redis: [*redis.scan_iter(match=LAYOUT.dead_words(app_id, "*", 0), count=1000)])
    assert len(names) == 400
    assert all(0 < raw(store, "PTTL", name) <= DAY // MS for name in names)
