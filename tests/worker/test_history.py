"""What plan and delivery note of each message: once for each account or device, whatever became of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from proxy.domain.callbacks import Recipient
from proxy.domain.decisions import Result
from proxy.domain.devices import ApnsEnvironment
from proxy.domain.history import Note, Reason, shortened
from proxy.domain.outcomes import (
    Accepted,
    Deferred,
    Impossible,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    UnknownAccount,
    Unregistered,
)
from proxy.domain.preferences import Mute, Preferences
from proxy.domain.times import to_ms
from proxy.store.connection import Store
from proxy.store.queue.history import RedisHistory
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from proxy.store.users.presence import RedisPresence
from tests.store.samples import DAY, MS, NOON, SECOND, apns_lane, callback, device, mipush_lane, with_redis
from tests.worker.lane_bench import LaneBench, Logged, on_bench
from tests.worker.provider import always
from tests.worker.test_plan import Relay, names, readers

LONG_AGO = NOON - 30 * DAY


def notes(store: Store, app_id: str, account: str) -> list[Note]:
    history = RedisHistory(store, {"main": app_id})
    return [noted.note for noted in history.of_account("main", account, LONG_AGO, 10_000)]


def results(store: Store, app_id: str, account: str) -> list[tuple[str, str]]:
    return [(note.result, note.reason) for note in notes(store, app_id, account)]


# plan


def planning(store_url: str, store: Store, app_id: str, scenario: Any) -> None:
    async def to_its_end(redis: Any) -> None:
        relay = Relay(redis, store, app_id, store_url)
        try:
            await scenario(relay)
        finally:
            await relay.end()

    with_redis(store_url, to_its_end)


def test_each_reader_without_a_job_has_the_reason_and_one_with_a_job_has_none(
    store_url: str, store: Store, app_id: str
) -> None:
    blocked = f"blocked of {app_id}"

    async def scenario(relay: Relay) -> None:
        relay.with_presence = True
        relay.register(["ben", "muted", "present", blocked])
        relay.register(["two"], "phone", resource="r1")
        relay.register(["two"], "pad", resource="r2")
        relay.devices.register(replace(device("sandbox", "dev", "s1"), environment=ApnsEnvironment.SANDBOX))
        RedisPreferences(store, {"main": app_id}).write("main", "muted", Preferences({"topic:t1": Mute()}), None)
        RedisPresence(store, {"main": app_id}, DAY).note("main", "present")
        RedisBlocks(store).block(blocked)
        everyone = readers(["ann", "ben", "muted", "present", blocked, "none", "sandbox"])
        one = callback(app_id, [*everyone, Recipient("two", ("r1",))])
        relay.accept(one)
        await relay.plan(relay.phones)
        told = {name: [note.result for note in notes(store, app_id, name)] for name in ("ann", "ben", "muted", "present", "none", "sandbox", "two", blocked)}  # fmt: skip  # noqa: E501
        assert told == {
            "ann": [Reason.OWN_MESSAGE],
            "ben": [],
            "muted": [Reason.MUTED],
            "present": [Reason.PRESENT],
            "none": [Reason.NO_DEVICE],
            "sandbox": [Reason.CHANNEL_OFF],
            "two": [Reason.ONLINE],
            blocked: [Reason.BLOCKED],
        }
        (note,) = notes(store, app_id, "none")
        assert (note.message_id, note.conversation) == (shortened(one.message_id), "topic:t1")
        assert note.accepted_at_ms == to_ms(NOON)
        (note,) = notes(store, app_id, "two")
        assert (note.device_id, note.channel) == ("pad", "apns")

    planning(store_url, store, app_id, scenario)
    RedisBlocks(store).unblock(blocked)


@pytest.mark.parametrize(
    ("change", "later", "reason"),
    [
        ({"biz_type": "TEXT_READ"}, timedelta(0), Reason.KIND_IS_SILENT),
        ({}, DAY, Reason.EXPIRED),
    ],
)
def test_a_message_that_alerts_nobody_says_why_to_each_reader(
    store_url: str, store: Store, app_id: str, change: dict[str, Any], later: timedelta, reason: Reason
) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(replace(callback(app_id, readers(["ben", "cai"])), **change))
        relay.now = NOON + later
        await relay.plan()
        assert [results(store, app_id, name) for name in ("ben", "cai")] == [[(reason, "")]] * 2

    planning(store_url, store, app_id, scenario)


def test_a_second_callback_about_a_message_that_was_planned_before_says_so(
    store_url: str, store: Store, app_id: str
) -> None:
    async def scenario(relay: Relay) -> None:
        for members in (["ben", "cai"], ["ben"]):
            relay.accept(callback(app_id, readers(members)))
            await relay.plan(relay.accounts)
        assert results(store, app_id, "ben") == [(Reason.PLANNED_BEFORE, "")]
        assert results(store, app_id, "cai") == []

    planning(store_url, store, app_id, scenario)


def test_a_plan_that_was_cut_off_notes_each_reader_of_a_crowd_once(store_url: str, store: Store, app_id: str) -> None:
    async def scenario(relay: Relay) -> None:
        crowd = names(120)
        relay.register(crowd[::2])
        relay.accept(callback(app_id, readers(crowd)))
        await relay.ensure_group()
        first, second = relay.instance(relay.phones), relay.instance(relay.phones, name="worker-2")
        first.queue.fault, first.queue.from_call = RedisConnectionError("killed"), 1
        await first.worker.claim()
        await first.worker.abandon()
        assert [results(store, app_id, name) for name in crowd] == [[]] * 120
        await second.take_over()
        told = [[result for result, _ in results(store, app_id, name)] for name in crowd]
        assert told == [[], [Reason.NO_DEVICE]] * 60

    planning(store_url, store, app_id, scenario)


def test_a_callback_that_ends_its_workers_is_told_to_its_readers(store_url: str, store: Store, app_id: str) -> None:
    async def scenario(relay: Relay) -> None:
        relay.accept(callback(app_id))
        await relay.ensure_group()
        await relay.redis.xreadgroup("workers", "dead", {relay.stream: ">"})
        for _ in range(5):
            ((id_, *_), *_) = await relay.redis.xrange(relay.stream)
            await relay.redis.xclaim(relay.stream, "workers", "dead", 0, [id_], retrycount=6)
        await relay.instance().take_over()
        assert results(store, app_id, "ben") == [(Reason.POISON, "")]

    planning(store_url, store, app_id, scenario)


# delivery


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Accepted(), ("accepted", "")),
        (Rejected("BadTopic"), ("dead letter", "BadTopic")),
        (Misaddressed("BadDeviceToken"), ("dead letter", "BadDeviceToken")),
        (UnknownAccount(), ("unknown account", "")),
        (Impossible("a comma"), ("impossible target", "a comma")),
        (Unregistered(None), ("device gone", "")),
    ],
)
def test_how_a_job_ended_is_noted_with_its_times(
    store_url: str, store: Store, app_id: str, logged: Logged, answer: Outcome, told: tuple[str, str]
) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(answer)
        bench.register(device("ben", registered_at=NOON - DAY))
        await bench.put("ben")
        await bench.turn()

    on_bench(store_url, store, apns_lane(app_id), logged)(scenario)
    (note,) = notes(store, app_id, "ben")
    assert (note.result, note.reason) == told
    assert (note.device_id, note.app, note.channel) == ("phone", "main", "apns")
    assert (note.pushed_at_ms, note.ended_at_ms) == (to_ms(NOON), to_ms(NOON))
    assert note.planned_at_ms > to_ms(NOON)  # by the store's own clock


def test_a_job_that_is_tried_again_is_noted_at_its_first_try_and_at_its_end(
    store_url: str, store: Store, app_id: str, logged: Logged
) -> None:
    async def scenario(bench: LaneBench) -> None:
        for answer in (Deferred("http 503"), Deferred("http 503"), Accepted()):
            bench.wire.verdict = always(answer)
            if answer == Accepted():
                bench.control.answered()
            await (bench.move_due() if await bench.retries() else bench.put("ben"))
            await bench.turn()

    on_bench(store_url, store, mipush_lane(app_id), logged)(scenario)
    first, last = notes(store, app_id, "ben")
    assert (first.result, first.reason, last.result) == ("retry", "http 503", "accepted")
    assert [it.reason for it in last.tries] == ["http 503", "http 503"]
    assert first.planned_at_ms == last.planned_at_ms > 0


def test_what_a_paused_lane_puts_back_is_noted_once(store_url: str, store: Store, app_id: str, logged: Logged) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(OurFault("200001 quota"))
        await bench.put("ben", "cai")
        await bench.turn()
        for _ in range(2):
            await bench.next_probe_is_due()
            await bench.move_due()
            await bench.turn()

    on_bench(store_url, store, mipush_lane(app_id), logged)(scenario)
    for name in ("ben", "cai"):
        assert [result for result, _ in results(store, app_id, name)] == ["paused"]


def test_what_a_later_alert_covers_names_it(store_url: str, store: Store, app_id: str, logged: Logged) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put(*(bench.job(message_id=f"m{n}", sequence=n) for n in (1, 2)))
        await bench.turn()

    on_bench(store_url, store, mipush_lane(app_id), logged)(scenario, replaces=True, batch_limit=10)
    assert sorted(results(store, app_id, "ben")) == [("accepted", ""), ("superseded", "by m2")]


@pytest.mark.parametrize(("off", "told"), [(Result.SANDBOX_OFF, "sandbox is off"), (None, "device moved")])
def test_what_is_not_sent_has_its_reason_and_no_time_of_a_push(
    store_url: str, store: Store, app_id: str, logged: Logged, off: Result | None, told: str
) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("zoe")  # who has no phone
        await bench.turn()

    on_bench(store_url, store, apns_lane(app_id), logged)(scenario, off=off)
    (note,) = notes(store, app_id, "zoe")
    assert (note.result, note.pushed_at_ms, note.ended_at_ms) == (told, 0, to_ms(NOON))


def test_an_expired_job_says_so(store_url: str, store: Store, app_id: str, logged: Logged) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put(bench.job("ben", life=SECOND))
        bench.now = NOON + SECOND + MS
        await bench.turn()

    on_bench(store_url, store, mipush_lane(app_id), logged)(scenario)
    assert results(store, app_id, "ben") == [("dead letter", "too late: expired while waiting")]
