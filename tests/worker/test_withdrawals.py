"""READ and RECALL on a real store: whose alerts they take back, wherever those are."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from proxy.domain.alerts import Update
from proxy.domain.callbacks import Callback, Kind
from proxy.domain.jobs import Job, target_mark
from proxy.domain.lanes import Lane
from proxy.domain.outcomes import About, Accepted, Deferred
from proxy.domain.settlements import Shown
from proxy.store.connection import Store, async_redis
from proxy.store.queue.withdrawals import RedisWithdrawals, Said
from proxy.store.records import load_job
from proxy.store.scripts import ask_strictly
from proxy.store.users.unread import asking
from proxy.store.users.unread import number as unread_number
from proxy.usecases.accept_callback import Acceptance
from tests.store.samples import (
    LAYOUT,
    MS,
    NOON,
    SECOND,
    callback,
    marks,
    marks_of,
    mipush_lane,
    names_like,
    new_of,
    queue_of,
    with_redis,
)
from tests.worker.lane_bench import LaneBench, OnLane, on_bench
from tests.worker.provider import always
from tests.worker.round_trips import counted_round_trips
from tests.worker.test_plan import Logged, Relay, readers, results

OnRelay = Callable[[Callable[["Withdrawing"], Awaitable[None]]], None]


class Withdrawing(Relay):
    """A relay that takes alerts back; ann writes to ben, or in the group t1 to ben and cai."""

    withdraws = True

    def say(
        self, msg_id: str, type_: str = "TEXT", content: str = "the words of ann", *, topic_id: str | None = None,
        sender: str = "ann", to: Sequence[str] = ("ben",), sequence: int = 7, instant: bool = False, biz_type: str = "",
    ) -> Acceptance:  # fmt: skip
        """A callback about it, with the app's own JSON inside."""
        payload = json.dumps({"msgId": msg_id, "msgType": type_, "payload": content}).encode()
        one: Callback = callback(self.app_id, readers(to), str(sequence), topic_id)
        kinds = (Kind.NORMAL_TOPIC_MSG, Kind.NORMAL_MSG) if instant else (Kind.OFFLINE_TOPIC_MSG, Kind.OFFLINE_MSG)
        kind = kinds[0] if topic_id else kinds[1]
        return self.accept(
            replace(one, kind=kind, from_account=sender, payload=payload, biz_type=biz_type), now=self.now
        )

    def recall(self, about: str, **of: Any) -> Acceptance:
        return self.say(f"recall of {about}", "TEXT_RECALL", about, **{"sequence": 99, "instant": True, **of})

    def read(self, about: str, sender: str = "ben", **of: Any) -> Acceptance:
        given = {"sequence": 98, "instant": True, "to": ["ann"], **of}
        return self.say(f"read of {about}", "TEXT_READ", about, sender=sender, **given)

    async def push_all(self, lane: Lane) -> list[Job]:
        """Deliver pushes what is in the lane, and all is accepted."""
        queue = queue_of(self.redis, "deliver")
        await queue.ensure_groups(lane)
        entries = await new_of(queue, lane, 1000)
        jobs = [load_job(entry.record) for entry in entries]
        await queue.settle_jobs(lane, [Shown(entry.id, job) for entry, job in zip(entries, jobs, strict=True)])
        return jobs

    async def withdrawn(self, lane: Lane) -> list[tuple[str, str | None]]:
        """For whom the lane has which withdrawals."""
        return sorted((one.account, one.alert.update) for one in await self.jobs(lane) if one.alert.update)

    async def marks(self, message_id: str) -> list[bytes]:
        """Of phones of ben's and cai's, as far as there are any."""
        targets = [target_mark("main", "apns", name, "phone") for name in ("ben", "cai")]
        return [mark[:1] for mark in await marks(self.redis, self.app_id, message_id, targets) if mark]


@pytest.fixture
def on_relay(store_url: str, store: Store, app_id: str) -> OnRelay:
    def run(scenario: Callable[[Withdrawing], Awaitable[None]]) -> None:
        async def to_its_end(redis: Any) -> None:
            relay = Withdrawing(redis, store, app_id, store_url)
            try:
                await scenario(relay)
            finally:
                await relay.end()

        with_redis(store_url, to_its_end)

    return run


# what comes in


def test_of_instant_callbacks_only_those_that_read_or_recall_a_message_are_taken(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        assert relay.say("m1", instant=True) is Acceptance.INSTANT
        assert relay.say("m1", content="already TEXT_RECALL", instant=True) is Acceptance.INSTANT
        assert relay.say("m1", "TEXT_RECALL", "m0", biz_type="TEXT", instant=True) is Acceptance.INSTANT
        assert relay.recall("m1") is Acceptance.ACCEPTED
        assert relay.read("m1") is Acceptance.ACCEPTED
        assert relay.recall("m1", biz_type="TEXT_RECALL", sequence=100) is Acceptance.ACCEPTED
        relay.withdraws = False
        assert relay.recall("m1", sequence=101) is Acceptance.INSTANT

    on_relay(scenario)


# recall


def test_a_recall_sends_a_withdrawal_after_each_alert_that_was_pushed(on_relay: OnRelay, logged: Logged) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben", "cai"])
        relay.register(["ben"], "pad")
        relay.say("m1", topic_id="t1", to=["ben", "cai"])
        await relay.plan(relay.phones)
        (first, *_) = await relay.push_all(relay.phones)
        relay.recall("m1", topic_id="t1", to=["ann", "ben", "cai"])
        await relay.plan(relay.phones)
        assert await relay.withdrawn(relay.phones) == [("ben", "recall"), ("ben", "recall"), ("cai", "recall")]
        for job in await relay.jobs(relay.phones):
            assert (job.alert.message_id, job.alert.conversation) == (first.alert.message_id, "topic:t1")
            assert (job.alert.order, job.alert.silent, job.alert.text.title) == (first.alert.order, True, "ann")
        relay.recall("m1", topic_id="t1", to=["ben", "cai"], sequence=100)  # once more
        await relay.plan(relay.phones)
        assert len(await relay.jobs(relay.phones)) == 3
        assert await relay.left() == (0, 0)
        assert results(logged) == ["planned", "takes alerts back", "takes alerts back"]

    on_relay(scenario)


def test_only_its_writer_may_recall_a_message(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben", "cai"])
        relay.say("m1", topic_id="t1", to=["ben", "cai"])
        relay.say("m1", to=["ben"])
        await relay.plan(relay.phones)
        await relay.push_all(relay.phones)
        relay.recall("m1", topic_id="t1", sender="cai", to=["ann", "ben"])
        relay.recall("m1", sender="cai", to=["ben"])
        relay.recall("m1", sender="ben", to=["ann"])
        relay.recall("m1", topic_id="t2", to=["ben", "cai"])
        await relay.plan(relay.phones)
        assert await relay.jobs(relay.phones) == []

    on_relay(scenario)


def test_an_alert_that_waits_is_left_out_and_nothing_follows_it(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben"])
        relay.say("m1")
        await relay.plan(relay.phones)
        relay.recall("m1")
        await relay.plan(relay.phones)
        (job,) = await relay.jobs(relay.phones)
        assert await relay.marks(job.alert.message_id) == [b"w"]

    on_relay(scenario)


def test_an_alert_that_is_accepted_after_its_recall_is_followed_by_the_withdrawal(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben"])
        relay.say("m1")
        await relay.plan(relay.phones)
        queue = queue_of(relay.redis, "deliver")
        await queue.ensure_groups(relay.phones)
        (entry,) = await new_of(queue, relay.phones)  # it is on the wire
        relay.recall("m1")
        await relay.plan(relay.phones)
        assert await relay.withdrawn(relay.phones) == []
        await queue.settle_jobs(relay.phones, [Shown(entry.id, load_job(entry.record))])
        assert await relay.withdrawn(relay.phones) == [("ben", "recall")]
        assert await relay.marks(load_job(entry.record).alert.message_id) == [b"W"]

    on_relay(scenario)


@pytest.mark.parametrize("together", [True, False])
def test_a_message_recalled_before_it_is_planned_alerts_no_phone(
    on_relay: OnRelay, logged: Logged, together: bool
) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben"])
        relay.recall("m1")
        if not together:
            await relay.plan(relay.phones)
        relay.say("m1")
        await relay.plan(relay.phones)
        jobs = await relay.jobs(relay.phones)
        assert jobs == [] or await relay.marks(jobs[0].alert.message_id) == [b"w"]
        assert ("recalled before it was planned" in results(logged)) is not together

    on_relay(scenario)


def test_a_recall_waits_for_a_full_lane_as_a_message_does(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.jobs_cap = 1
        relay.register(["ben"])
        relay.say("m1")
        await relay.plan(relay.phones)
        await relay.push_all(relay.phones)
        relay.say("m2", sequence=8)
        await relay.plan(relay.phones)
        relay.recall("m1")
        await relay.plan(relay.phones)
        assert await relay.withdrawn(relay.phones) == []
        await relay.push_all(relay.phones)
        assert await relay.move_due(NOON + 5 * SECOND) == 1
        await relay.plan(relay.phones)
        assert await relay.withdrawn(relay.phones) == [("ben", "recall")]

    on_relay(scenario)


def test_a_recall_taken_over_from_a_dead_worker_withdraws_once(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben"])
        relay.say("m1")
        await relay.plan(relay.phones)
        await relay.push_all(relay.phones)
        relay.recall("m1")
        dying = relay.instance(relay.phones, name="dying")
        dying.queue.fault = RuntimeError("killed before the acknowledgement")
        await dying.worker.claim()
        assert await relay.left() == (1, 1)
        await relay.instance(relay.phones, name="heir").take_over()
        assert await relay.withdrawn(relay.phones) == [("ben", "recall")]
        assert await relay.left() == (0, 0)

    on_relay(scenario)


# read


def test_a_read_withdraws_that_message_and_those_before_it_at_the_readers_devices_alone(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben", "cai"])
        for number in (1, 2, 3):
            relay.now = NOON + number * SECOND
            relay.say(f"m{number}", topic_id="t1", to=["ben", "cai"], sequence=number)
            await relay.plan(relay.phones)
        jobs = await relay.push_all(relay.phones)
        relay.read("m2", topic_id="t1", to=["ann", "ben", "cai"])
        await relay.plan(relay.phones)
        (withdrawal,) = await relay.jobs(relay.phones)
        assert (withdrawal.account, withdrawal.alert.update) == ("ben", Update.READ)
        by_sequence = {job.alert.order.sequence: job.alert.message_id for job in jobs}
        assert withdrawal.alert.message_id == by_sequence[2]
        states = [sorted(await relay.marks(by_sequence[number])) for number in (1, 2, 3)]
        assert states == [[b"W", b"s"], [b"W", b"s"], [b"s", b"s"]]

    on_relay(scenario)


def test_what_was_read_while_its_lane_was_full_is_neither_told_nor_counted_later(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.counts, relay.jobs_cap = True, 1
        relay.register(["ben"])
        relay.say("m0", sender="cai")
        await relay.plan(relay.phones)
        for number in (1, 2, 3):
            relay.now = NOON + number * SECOND
            relay.say(f"m{number}", sequence=number)
        await relay.plan(relay.phones)
        relay.read("m2")
        await relay.plan(relay.phones)
        await relay.push_all(relay.phones)
        relay.jobs_cap = 100
        assert await relay.move_due(NOON + 60 * SECOND) == 3
        await relay.plan(relay.phones)
        assert [job.alert.order.sequence for job in await relay.jobs(relay.phones)] == [3]
        (total,) = await ask_strictly(relay.redis, [asking(LAYOUT, relay.app_id, "ben")])
        assert unread_number(total) == 2  # m0 and m3

    on_relay(scenario)


def test_a_read_of_a_message_that_came_late_leaves_those_that_were_written_after_it(on_relay: OnRelay) -> None:
    """MIMC repeats what it got no answer to, half a minute later."""

    async def scenario(relay: Withdrawing) -> None:
        relay.counts = True
        relay.register(["ben"])
        for sequence, second in ((1, 1), (3, 2), (4, 3), (2, 30)):
            relay.now = NOON + second * SECOND
            relay.say(f"m{sequence}", sequence=sequence)
            await relay.plan(relay.phones)
        by_sequence = {job.alert.order.sequence: job.alert.message_id for job in await relay.push_all(relay.phones)}
        relay.read("m2")
        await relay.plan(relay.phones)
        states = [await relay.marks(by_sequence[number]) for number in (1, 2, 3, 4)]
        assert states == [[b"W"], [b"W"], [b"s"], [b"s"]]
        (total,) = await ask_strictly(relay.redis, [asking(LAYOUT, relay.app_id, "ben")])
        assert unread_number(total) == 2

    on_relay(scenario)


def test_a_read_between_two_people_is_about_the_readers_side_of_the_talk(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben", "ann"])
        relay.say("m1")
        relay.say("m1", sender="ben", to=["ann"], sequence=8)
        await relay.plan(relay.phones)
        await relay.push_all(relay.phones)
        relay.read("m1")
        await relay.plan(relay.phones)
        (withdrawal,) = await relay.jobs(relay.phones)
        assert (withdrawal.account, withdrawal.alert.conversation) == ("ben", "p2p:ann")

    on_relay(scenario)


# what is kept, and what it costs


def test_of_a_conversation_a_bounded_number_of_messages_is_remembered(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        for number in range(140):
            relay.now = NOON + number * MS
            relay.say(f"m{number}", sequence=number + 1)
        for _ in range(2):
            await relay.plan(relay.accounts)
        (key,) = await names_like(relay.redis, f"*:{relay.app_id}:said:*")
        assert await relay.redis.zcard(key) == 127
        assert await relay.redis.object("encoding", key) in (b"listpack", b"ziplist")  # the latter is Redis 6.2
        assert 0 < await relay.redis.pttl(key) <= 86_400_000

    on_relay(scenario)


def test_nothing_is_kept_or_asked_where_alerts_are_never_taken_back(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.withdraws = False
        relay.register(["ben"])
        relay.say("m1")
        relay.recall("m1", instant=False)
        await relay.plan(relay.phones)
        assert await names_like(relay.redis, f"*:{relay.app_id}:said:*") == []

    on_relay(scenario)


# in the lane


@pytest.fixture
def on_lane(store_url: str, store: Store, app_id: str, logged: Logged) -> OnLane:
    """A lane to Mi Push accounts, whose alerts replace each other."""
    run = on_bench(store_url, store, mipush_lane(app_id), logged)
    return partial(run, withdraws=True, replaces=True)


async def withdraw(bench: LaneBench, job: Job) -> Job:
    """As plan does it. Returns the withdrawal."""
    alert = replace(job.alert, update=Update.RECALL, silent=True)
    withdrawal = replace(job, alert=alert)
    bench.accounts[withdrawal.id] = f"{job.account} back"
    kept = RedisWithdrawals(bench.redis, ttl=SECOND * 100, jobs_cap=100)
    said = Said(alert.message_id, alert.order)
    await kept.withdraw(bench.lane.app_id, [([said], [(bench.lane, withdrawal)])])
    return withdrawal


def test_a_job_that_waits_is_settled_as_withdrawn_and_not_pushed(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        job = bench.job("ben")
        await bench.put(job)
        await withdraw(bench, job)
        await bench.turn()
        assert (bench.results, bench.sent) == ([("ben", "withdrawn")], [])
        await bench.nothing_is_left()

    on_lane(scenario)


def test_a_job_that_may_have_arrived_is_followed_by_its_withdrawal(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        job = bench.job("ben")
        await bench.put(job)
        other = queue_of(bench.redis, "dead worker", lease=MS)
        (entry,) = await new_of(other, bench.lane, 1)  # which may have pushed it
        assert entry
        await withdraw(bench, job)
        await bench.take_over()
        await bench.turn()
        assert bench.results == [("ben", "withdrawn"), ("ben back", "accepted")]
        assert len(bench.sent) == 1

    on_lane(scenario)


def test_the_withdrawal_goes_out_only_while_its_message_is_the_one_shown(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        first, second = bench.job("ben", message_id="m1", sequence=1), bench.job("ben", message_id="m2", sequence=2)
        await bench.put(first)
        await bench.turn()
        await bench.put(second)
        await bench.turn()
        await withdraw(bench, first)
        await bench.turn()
        assert bench.results[2:] == [("ben back", "superseded")]
        await withdraw(bench, second)
        await bench.turn()
        assert bench.results[3:] == [("ben back", "accepted")]
        assert len(bench.sent) == 3
        await bench.nothing_is_left()

    on_lane(scenario)


@pytest.mark.parametrize(("unanswered", "result"), [(False, "superseded"), (True, "accepted")])
def test_a_recalled_alert_that_is_surely_not_shown_leaves_the_one_before_it_on_the_phone(
    on_lane: OnLane, unanswered: bool, result: str
) -> None:
    """Mi Push takes back whatever it shows of the conversation."""

    async def scenario(bench: LaneBench) -> None:
        first, second = bench.job("ben", message_id="m1", sequence=1), bench.job("ben", message_id="m2", sequence=2)
        await bench.put(first)
        await bench.turn()
        bench.wire.verdict = always(Deferred("busy", about=About.JOB, unanswered=unanswered))
        await bench.put(second)
        await bench.turn()
        bench.wire.verdict = always(Accepted())
        await withdraw(bench, second)
        await bench.move_due()
        for _ in range(2):
            await bench.turn()
        assert bench.results[2:] == [("ben", "withdrawn"), ("ben back", result)]

    on_lane(scenario)


def test_an_alert_that_was_taken_back_and_never_shown_takes_no_earlier_ones_place(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        first, second = bench.job("ben", message_id="m1", sequence=1), bench.job("ben", message_id="m2", sequence=2)
        bench.wire.verdict = always(Deferred("busy", about=About.JOB, unanswered=True))
        await bench.put(second)
        await bench.turn()
        bench.wire.verdict = always(Accepted())
        await withdraw(bench, second)
        await bench.move_due()
        for _ in range(2):
            await bench.turn()
        assert ("ben back", "accepted") in bench.results
        await bench.put(first)
        await bench.turn()
        assert bench.results[-1] == ("ben", "accepted")

    on_lane(scenario)


@pytest.mark.parametrize("sequence", [1, 0])
def test_which_callback_brought_the_alert_does_not_keep_it_shown(on_lane: OnLane, sequence: int) -> None:
    """MIMC announced the message twice: what is known of it may be the other callback's time."""

    async def scenario(bench: LaneBench) -> None:
        job = bench.job("ben", message_id="m1", sequence=sequence)
        await bench.put(job)
        await bench.turn()
        order = replace(job.alert.order, accepted_at_ms=job.alert.order.accepted_at_ms - 1)
        await withdraw(bench, replace(job, alert=replace(job.alert, order=order)))
        await bench.turn()
        assert bench.results[1:] == [("ben back", "accepted")]

    on_lane(scenario)


async def trips_of(relay: Withdrawing, say: Callable[[], None]) -> int:
    """How many round trips the plan of what this says takes. The store knows the scripts before."""
    async with counted_round_trips(relay.store_url) as trips:
        redis = async_redis(trips.url, timeout_s=5.0)
        await redis.learn_layout()
        one = relay.instance(relay.phones, name="counted", redis=redis)
        await redis.ping()
        say()
        before = trips.count
        await one.turn()
        took = trips.count - before
        await redis.aclose()
    return took


@pytest.mark.one_server
def test_neither_a_message_nor_many_reads_take_a_round_trip_each(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.counts = True
        people = [f"user-{number}" for number in range(20)]
        relay.register(people)

        def say(sequence: int) -> None:
            relay.say(f"m{sequence}", topic_id="t1", to=people, sequence=sequence)

        def read(sequence: int) -> None:
            for place, name in enumerate(people):
                number = 100 * sequence + place
                relay.read(f"m{sequence}", sender=name, topic_id="t1", to=["ann"], sequence=number)

        await relay.ensure_group()
        for sequence in (1, 2):  # the first makes the scripts known
            assert await trips_of(relay, lambda: say(sequence)) <= (10, 4)[sequence - 1]  # noqa: B023  called here
            await relay.push_all(relay.phones)
            # claim, messages, devices, withdrawals, acknowledgements
            assert await trips_of(relay, lambda: read(sequence)) <= (9, 5)[sequence - 1]  # noqa: B023
            assert {account for account, _ in await relay.withdrawn(relay.phones)} == set(people)
            await relay.push_all(relay.phones)
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_one_notice_that_cannot_be_carried_out_does_not_hold_up_others(on_relay: OnRelay) -> None:
    async def scenario(relay: Withdrawing) -> None:
        relay.register(["ben"])
        relay.say("m1")
        relay.say("m2", topic_id="t1", sequence=8)
        await relay.plan(relay.phones)
        jobs = await relay.push_all(relay.phones)
        broken = next(job for job in jobs if job.alert.conversation == "topic:t1").alert.message_id
        bucket = marks_of(relay.redis.layout, relay.app_id, broken)
        relay.recall("m2", topic_id="t1")
        relay.recall("m1")
        await relay.redis.set(bucket, "of another type")  # now: a mark of a recall itself may lie in it
        await relay.plan(relay.phones)
        assert await relay.withdrawn(relay.phones) == [("ben", "recall")]
        assert await relay.left() == (1, 1)
        await relay.redis.delete(bucket)  # other tests have marks in it

    on_relay(scenario)
