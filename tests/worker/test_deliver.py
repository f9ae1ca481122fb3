"""A lane at work on a real store: what it sends, what it settles, when it pauses and when it goes on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from proxy.domain.alerts import AlertText
from proxy.domain.dead_letters import Cause, DeadLetter, revived
from proxy.domain.decisions import Result
from proxy.domain.delivery import Delivery
from proxy.domain.devices import Address, ApnsEnvironment, Platform
from proxy.domain.jobs import Push
from proxy.domain.lanes import Pause, PauseKind
from proxy.domain.outcomes import (
    About,
    Accepted,
    CredentialsExpired,
    Deferred,
    Impossible,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    Split,
    UnknownAccount,
    Unregistered,
)
from proxy.domain.preferences import Preferences, QuietHours
from proxy.domain.previews import Preview
from proxy.domain.transfers import TransportFailure
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.removal import RemovalGuard
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.records import load_job
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from proxy.worker.observer import MOST_TOLD
from tests.store.samples import (
    DAY,
    LAYOUT,
    LEASE,
    MS,
    NOON,
    SECOND,
    all_that_is_stored,
    apns_lane,
    device,
    mipush_lane,
    new_of,
    put_jobs,
    queue_of,
)
from tests.worker.lane_bench import BREAKER, PATIENCE, LaneBench, Logged, OnLane, on_bench
from tests.worker.provider import BROKEN, RECALLED, REFUSED, TIMED_OUT, always

OUT = Deferred("http 503")


@pytest.fixture
def on_lane(store_url: str, store: Store, app_id: str, logged: Logged) -> OnLane:
    """Runs a scenario on a lane to Mi Push accounts while the worker's loops run."""
    return on_bench(store_url, store, mipush_lane(app_id), logged)


@pytest.fixture
def on_phones(store_url: str, store: Store, app_id: str, logged: Logged) -> OnLane:
    """The same on a lane to iPhones; ben, cai and dan have one each."""
    return on_bench(store_url, store, apns_lane(app_id), logged)


def users(count: int) -> list[str]:
    return [f"user-{n}" for n in range(count)]


# from claim to settlement


def test_jobs_are_claimed_pushed_and_settled_and_leave_nothing_behind(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben", "cai", "dan")
        await bench.turn()
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "accepted"), ("dan", "accepted")]
        await bench.nothing_is_left()

    on_lane(scenario)


@pytest.mark.parametrize("replaces", [False, True])
def test_phones_that_are_told_in_other_words_get_requests_of_their_own(on_phones: OnLane, replaces: bool) -> None:
    async def scenario(bench: LaneBench) -> None:
        locales = {"ben": "en", "cai": "zh-CN", "dan": "en", "eve": "fr"}
        bench.register(*(replace(device(name, "phone", f"{name}-phone"), locale=it) for name, it in locales.items()))
        await bench.put(*locales)
        await bench.turn()
        assert sorted(map(sorted, bench.sent)) == [["ben-phone", "dan-phone"], ["cai-phone"], ["eve-phone"]]
        await bench.nothing_is_left()

    on_phones(scenario, batch_limit=10, replaces=replaces)


def test_jobs_of_one_alert_share_a_request_up_to_the_channels_limit(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put(*users(5), bench.job("zed", message_id="m2"))
        await bench.turn()
        assert sorted(map(len, bench.sent)) == [1, 1, 2, 2]
        assert ["zed"] in bench.sent
        await bench.nothing_is_left()

    on_lane(scenario, batch_limit=2)


def test_no_more_is_claimed_than_may_be_in_flight(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.answering.clear()
        await bench.put("ben", "cai", "dan")
        await bench.worker.claim()
        waiting = asyncio.create_task(bench.worker.claim())
        await bench.until(lambda: len(bench.sent) == 2)
        assert await bench.backlog() == (3, 2)
        assert not waiting.done()
        bench.transport.answering.set()
        await waiting
        await bench.worker.drained()
        assert len(bench.sent) == 3

    on_lane(scenario, in_flight=2)


def test_a_job_that_waits_for_a_place_is_looked_up_once_and_only_when_it_may_leave(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.allow(0)
        await bench.put("ben", "cai", "dan")
        await bench.worker.claim()
        await asyncio.sleep(0.02)
        assert bench.addresses.looked_up == 0
        bench.clock.now += LEASE.total_seconds() - 1  # however long that takes
        await bench.addresses.remember_unknown(bench.lane, "cai", DAY)
        bench.transport.allow(1)
        await bench.worker.drained()
        assert sorted(bench.sent) == [["ben"], ["dan"]]
        assert ("cai", "unknown account") in bench.results
        assert bench.addresses.looked_up == 3
        await bench.nothing_is_left()

    on_lane(scenario)


def test_all_that_are_admitted_together_are_looked_up_together(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put(*users(50))
        await bench.turn()
        assert len(bench.sent) == 50
        assert bench.addresses.questions == 1

    on_lane(scenario)


def test_an_answer_about_a_batch_of_500_is_carried_out_for_each_of_it(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(UnknownAccount())
        await bench.put(*users(500))
        await bench.turn()
        assert bench.count(Result.UNKNOWN_ACCOUNT) == 500
        assert len(bench.sent) == 1
        await bench.nothing_is_left()

    on_lane(scenario, batch_limit=1000, in_flight=1000)


# what needs no request


def test_an_expired_job_and_one_that_the_channel_cannot_say_are_dead_letters_unsent(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.refusals = {"long": Rejected("too long"), "blank": Impossible("a blank")}
        await bench.put(bench.job("late", life=timedelta(0)), "long", "blank", "cai")
        await bench.turn()
        assert bench.sent == [["cai"]]
        assert sorted(bench.results) == [
            ("blank", "impossible target"), ("cai", "accepted"), ("late", "dead letter"), ("long", "dead letter"),
        ]  # fmt: skip
        assert sorted(await bench.dead_letters()) == [b"too late: expired while waiting", b"too long"]

    on_lane(scenario)


def test_an_account_that_can_be_no_address_is_told_once_and_of_very_many_the_first(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        names = [f"no {number}" for number in range(MOST_TOLD + 10)]
        bench.wire.refusals = {name: Impossible("a blank") for name in names}
        for message_id in ("m1", "m2"):
            await bench.put(*(bench.job(name, message_id=message_id) for name in names))
            await bench.turn()
        assert len(bench.results) == 2 * len(names)
        told = [line["account"] for line in bench.logged if "no address" in line["event"]]
        assert told == names[:MOST_TOLD]
        assert await bench.dead_letters() == []

    on_lane(scenario, in_flight=1000)


def test_a_job_whose_device_is_gone_or_has_another_owner_is_not_sent(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.register(device("cai", "second", push_token="ben-token"))  # ben's phone is cai's now
        await bench.put("ben", "stranger", "cai")
        await bench.turn()
        assert sorted(bench.results) == [("ben", "device moved"), ("cai", "accepted"), ("stranger", "device moved")]
        assert bench.sent == [["cai-token"]]

    on_phones(scenario)


def test_a_blocked_account_gets_nothing_that_was_planned_before(on_lane: OnLane, store: Store) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("blocked later", "cai")
        RedisBlocks(store).block("blocked later")  # no other test knows this account
        await bench.turn()
        assert sorted(bench.results) == [("blocked later", "blocked"), ("cai", "accepted")]
        assert bench.sent == [["cai"]]

    on_lane(scenario)


@pytest.mark.parametrize("becomes", ["accepted", "retried", "expired", "rejected"])
def test_what_a_user_shows_no_longer_is_in_no_request_and_nothing_that_is_kept(
    on_phones: OnLane, store: Store, becomes: str
) -> None:
    """A job may wait for hours, and be planned before an account or a device became stricter."""
    seen = list[AlertText]()
    outcomes: dict[str, Outcome] = {"retried": OUT, "rejected": Rejected("bad")}

    def verdict(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
        seen.extend(push.text for push in pushes)
        return [outcomes.get(becomes, Accepted())] * len(pushes)

    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = verdict
        life = timedelta(0) if becomes == "expired" else DAY
        await bench.put(*(bench.job(name, life=life) for name in ("ben", "dan")))
        assert b"the words of ann" in await all_that_is_stored(bench.redis, bench.lane.app_id)
        preferences = RedisPreferences(store, {"main": bench.lane.app_id})
        preferences.write("main", "ben", Preferences(preview=Preview.NONE), None)
        bench.register(replace(device("dan", push_token="dan-token"), preview=Preview.SENDER))
        await bench.turn()
        if becomes != "expired":
            assert sorted(text.title for text in seen) == ["", "ann"]
            assert {(text.body, text.kind) for text in seen} == {("", "new")}
        assert b"the words of ann" not in await all_that_is_stored(bench.redis, bench.lane.app_id)
        assert len(await bench.dead_letters()) == (2 if becomes in ("expired", "rejected") else 0)
        assert len(await bench.retries()) == (2 if becomes == "retried" else 0)

    on_phones(scenario)


def test_a_job_that_waited_into_quiet_hours_makes_no_sound(on_phones: OnLane, store: Store) -> None:
    sounds = dict[str, bool]()

    def verdict(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
        sounds.update((push.job.account, not push.job.alert.silent) for push in pushes)
        return [Accepted()] * len(pushes)

    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = verdict
        await bench.put("ben", "dan")
        quiet = QuietHours(time(12), time(13), ZoneInfo("UTC"))
        RedisPreferences(store, {"main": bench.lane.app_id}).write("main", "ben", Preferences(quiet_hours=quiet), None)
        await bench.turn()
        assert sounds == {"ben": False, "dan": True}

    on_phones(scenario)


def test_a_job_whose_device_changed_its_environment_goes_to_the_other_lane(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.register(replace(device("ben", push_token="ben-token"), environment=ApnsEnvironment.SANDBOX))
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "other environment")]
        assert bench.sent == []
        await bench.nothing_is_left()
        ((_, fields),) = await bench.redis.xrange(LAYOUT.jobs(bench.lane._replace(channel="apns-sandbox"), 0))
        moved = load_job(fields[b"r"])
        assert (moved.account, moved.channel, moved.id) == ("ben", "apns-sandbox", bench.job("ben").id)

    on_phones(scenario)


def test_jobs_of_a_sandbox_that_was_switched_off_end_without_a_dead_letter(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "sandbox is off")]
        assert bench.sent == []
        assert await bench.dead_letters() == []
        await bench.nothing_is_left()

    on_phones(scenario, off=Result.SANDBOX_OFF)


def test_a_shadow_builds_what_it_would_send_sends_nothing_and_checks_as_always(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben", "zoe")  # who has no phone
        await bench.turn()
        assert sorted(bench.results) == [("ben", "shadow"), ("zoe", "device moved")]
        assert bench.sent == []
        assert await bench.dead_letters() == []
        await bench.nothing_is_left()

    on_phones(scenario, delivery=Delivery(Result.SHADOW))


@pytest.mark.parametrize("others", [Result.SHADOW, Result.DELIVERY_OFF])
def test_a_share_of_the_accounts_is_served_and_moves_over_and_back_with_nothing_twice(
    on_lane: OnLane, others: Result
) -> None:
    """ann is at 28.7 %, ben at 40.2 %."""

    async def scenario(bench: LaneBench) -> None:
        for step, share in enumerate((0, 30, 50, 30, 0)):
            bench.worker._channel = replace(
                bench.worker._channel, delivery=Delivery(others, share)
            )  # as after a restart
            await bench.put(*(bench.job(name, message_id=f"m{step}") for name in ("ben", "ann")))
            await bench.turn()
        by_account = {name: [result for who, result in bench.results if who == name] for name in ("ben", "ann")}
        assert by_account == {
            "ann": [others, "accepted", "accepted", "accepted", others],
            "ben": [others, others, "accepted", others, others],
        }
        await bench.nothing_is_left()

    on_lane(scenario)


# surprises


@pytest.mark.parametrize("where", ["read", "refuse", "build"])
def test_a_surprise_in_the_wire_is_a_dead_letter_and_the_lane_goes_on(on_lane: OnLane, where: str) -> None:
    def surprise(*_args: object) -> Any:
        raise KeyError("a provider's new idea")

    async def scenario(bench: LaneBench) -> None:
        good = getattr(bench.wire, where)
        setattr(bench.wire, where, surprise)  # a wire with a bug
        await bench.put("ben")
        await bench.turn()
        assert await bench.dead_letters() == [b"internal error: KeyError"]
        await bench.nothing_is_left()
        setattr(bench.wire, where, good)
        await bench.put("cai")
        await bench.turn()
        assert bench.results[-1] == ("cai", "accepted")

    on_lane(scenario)


@pytest.mark.parametrize("where", ["read", "refuse", "build"])
def test_a_surprise_about_one_job_is_that_ones_alone(on_lane: OnLane, where: str) -> None:
    async def scenario(bench: LaneBench) -> None:
        good = getattr(bench.wire, where)

        def surprise(first: Push | Sequence[Push], *others: Any) -> Any:
            pushes = [first] if isinstance(first, Push) else first
            if any(push.job.account == "ben" for push in pushes):
                raise KeyError("a provider's new idea")
            return good(first, *others)

        setattr(bench.wire, where, surprise)  # a wire with a bug
        await bench.put("cai", "ben", "dan")
        await bench.turn()
        assert sorted(bench.results) == [("ben", "dead letter"), ("cai", "accepted"), ("dan", "accepted")]
        await bench.nothing_is_left()

    on_lane(scenario)


def test_a_record_that_cannot_be_read_is_a_dead_letter_and_its_neighbours_go_out(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben")
        await bench.redis.xadd(bench.stream, {"r": '{"v":2}'})
        await bench.turn()
        assert await bench.dead_letters() == [b"unreadable record"]
        assert bench.results == [("ben", "accepted")]
        await bench.nothing_is_left()

    on_lane(scenario)


@pytest.mark.parametrize(("earlier", "dead"), [(4, []), (5, [b"poison"])])
def test_what_was_taken_over_five_times_without_an_end_is_poison(
    on_lane: OnLane, earlier: int, dead: list[bytes]
) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben")
        await new_of(queue_of(bench.redis, "w0"), bench.lane, 1)
        for n in range(1, earlier + 1):
            await asyncio.sleep(0.003)
            await queue_of(bench.redis, f"w{n}", MS).take_over(bench.lane, 1, suspect=True)
        await bench.take_over()
        assert await bench.dead_letters() == dead
        assert len(bench.sent) == (0 if dead else 1)
        await bench.nothing_is_left()

    on_lane(scenario)


# a store in trouble


@pytest.mark.parametrize("fault", [RedisConnectionError(), OutOfMemoryError(), ResponseError("MISCONF no disk")])
def test_a_store_in_trouble_is_waited_for_with_the_jobs_in_hand(
    on_lane: OnLane, fault: RedisError, logged: Logged
) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben", "cai")
        bench.addresses.fault = fault
        await bench.worker.claim()
        await bench.until(lambda: bool(logged))
        assert bench.consumer.in_flight.used == 2
        bench.addresses.fault = None
        await bench.worker.drained()
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "accepted")]
        assert await bench.dead_letters() == []
        await bench.nothing_is_left()

    on_lane(scenario)


def test_a_job_whose_registration_the_store_cannot_read_is_left_for_later_and_holds_up_no_other(
    on_phones: OnLane,
) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben", "zed", "cai")
        broken = LAYOUT.account(bench.lane.app_id, "main", "zed")
        await bench.redis.set(broken, "no hash")
        await bench.turn()
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "accepted")]
        assert await bench.backlog() == (1, 1)
        assert (bench.consumer.in_flight.used, bench.leases.count()) == (0, 0)  # so it is not renewed
        await bench.redis.delete(broken)
        bench.register(device("zed", push_token="zed-token"))
        await bench.take_over()
        assert bench.results[-1] == ("zed", "accepted")
        await bench.nothing_is_left()

    on_phones(scenario)


def test_a_job_that_was_decided_while_the_store_was_away_is_not_sent_again_when_it_is_taken_over(
    on_lane: OnLane,
) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben")
        bench.queue.fault = RedisConnectionError()
        await bench.worker.claim()
        await bench.until(lambda: bool(bench.results))
        await asyncio.sleep(0.005)
        await bench.worker.take_over()  # from itself
        bench.queue.fault = None
        await bench.worker.drained()
        assert bench.sent == [["ben"]]
        await bench.nothing_is_left()

    on_lane(scenario)


def test_an_answer_that_cannot_be_carried_out_leaves_its_jobs_for_a_later_try(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben")
        bench.wire.verdict = always(UnknownAccount())
        bench.addresses.deaf = RedisConnectionError("away")
        await bench.turn()
        assert bench.results == []
        assert await bench.backlog() == (1, 1)
        bench.addresses.deaf = None
        await bench.take_over()
        assert bench.results == [("ben", "unknown account")]
        await bench.nothing_is_left()

    on_lane(scenario)


def test_where_the_store_refuses_what_one_job_of_a_batch_changes_the_others_are_settled(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        broken = LAYOUT.push_token(bench.lane.app_id, "main", Platform.APNS, "ben-token")
        bench.wire.verdict = lambda pushes, _: [
            Misaddressed("BadDeviceToken") if push.job.account == "ben" else Accepted() for push in pushes
        ]
        await bench.put("cai", "ben", "dan")
        bench.transport.answering.clear()
        await bench.worker.claim()
        await bench.until(lambda: len(bench.sent) == 1)
        await bench.redis.delete(broken)
        await bench.redis.set(broken, "not a hash")
        bench.transport.answering.set()
        await bench.worker.drained()
        assert sorted(bench.results) == [("cai", "accepted"), ("dan", "accepted")]
        assert await bench.backlog() == (1, 1)  # ben's is left for a later try
        assert bench.consumer.in_flight.used == 0

    on_phones(scenario, batch_limit=10)


def test_a_conversation_is_free_again_after_the_provider_token_could_not_be_read(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.authorization.fault = RedisConnectionError("away")
        await bench.put(bench.job(sequence=1), bench.job(message_id="m2", sequence=2))
        await bench.worker.claim()
        await bench.until(lambda: bool(bench.logged))
        bench.authorization.fault = None
        await bench.worker.drained()
        assert sorted(result for _, result in bench.results) == ["accepted", "superseded"]
        await bench.nothing_is_left()

    on_lane(scenario, replaces=True)


def test_a_job_that_lies_on_a_node_that_is_away_waits_for_it_and_holds_up_no_other(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.addresses.away = ["cai"]
        await bench.put("ben", "cai", "dan")
        await bench.worker.claim()
        await bench.until(lambda: len(bench.sent) == 2)
        await bench.put("eve")
        await bench.worker.claim()
        await bench.until(lambda: len(bench.results) == 3)
        bench.addresses.away = []
        await bench.worker.drained()
        assert bench.results[-1] == ("cai", "accepted")
        await bench.nothing_is_left()

    on_lane(scenario)


# leases


def test_a_job_whose_lease_ran_out_before_it_left_is_not_sent_and_left_to_others(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.allow(0)
        await bench.put("ben")
        await bench.worker.claim()
        bench.clock.now += LEASE.total_seconds()  # this process was stopped
        bench.transport.allow(1)
        await bench.worker.drained()
        assert bench.sent == []
        assert await bench.backlog() == (1, 1)
        await asyncio.sleep(0.003)
        assert len(await queue_of(bench.redis, "worker-2", MS).take_over(bench.lane, 10, suspect=True)) == 1

    on_lane(scenario)


def test_what_could_not_leave_for_reasons_of_ours_is_free_and_goes_on(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.failures = [RECALLED] * 5
        await bench.put("ben", "cai")
        await bench.turn()
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "accepted")]
        assert bench.transport.tried == 7
        assert not bench.control.is_paused

    on_lane(scenario)


# failures


@pytest.mark.parametrize("failure", [REFUSED, BROKEN])
def test_a_request_that_failed_goes_once_more_at_once_and_the_second_failure_counts(
    on_lane: OnLane, failure: TransportFailure
) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.failures = [failure]
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "accepted")]
        bench.transport.failures = [failure, failure]
        await bench.put("cai")
        await bench.turn()
        assert bench.results[1:] == [("cai", "retry")]
        assert bench.reasons[1:] == [failure.reason]
        again = replace(bench.job("cai"), attempt=1).tried(NOON, failure.reason)
        assert await bench.retries() == [(again, 1.0)]

    on_lane(scenario)


def test_a_request_that_was_not_answered_in_time_counts_at_once(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.failures = [TIMED_OUT]
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "retry")]
        assert len(bench.sent) == 1
        assert [job.attempt for job, _ in await bench.retries()] == [1]

    on_lane(scenario)


@pytest.mark.parametrize("failure", [REFUSED, BROKEN])
def test_where_every_connection_fails_each_job_costs_two_requests_and_the_breaker_pauses_the_lane(
    on_lane: OnLane, failure: TransportFailure
) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.failure = failure
        bench.transport.allow(1)
        await bench.put(*users(100))
        await bench.turn()
        assert bench.transport.tried <= 2 * (BREAKER + 1)  # one more may leave while an answer is looked at
        assert bench.control.is_paused
        assert await bench.stored_pause() == Pause(failure.reason, NOON, PauseKind.BREAKER)
        assert sorted(job.attempt for job, _ in await bench.retries()) == [0] * 98 + [1] * 2
        assert [entry["event"] for entry in bench.logged if entry["log_level"] == "error"] == ["lane paused"]

    on_lane(scenario)


def test_one_job_whose_connection_always_breaks_is_counted_backed_off_and_pauses_no_other(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.failure = BROKEN
        await bench.put("ben")
        for _ in range(5):
            await bench.turn()
            await bench.move_due()
        assert bench.transport.tried == 10
        assert [load_job(fields[b"r"]).attempt for _, fields in await bench.redis.xrange(bench.stream)] == [5]
        assert not bench.control.is_paused

    on_lane(scenario)


def test_a_batch_of_which_one_job_needed_no_request_goes_once_more_too(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.addresses.remember_unknown(bench.lane, "gone", DAY)
        bench.transport.answering.clear()
        bench.transport.failures = [BROKEN]
        await bench.put("gone", "ben", "cai")
        await bench.worker.claim()
        await bench.until(lambda: len(bench.sent) == 1)
        await bench.consumer.settled()  # the one that needed no request is gone from the store
        bench.transport.answering.set()
        await bench.worker.drained()
        assert bench.sent == [["ben", "cai"]] * 2
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "accepted"), ("gone", "unknown account")]
        await bench.nothing_is_left()

    on_lane(scenario, batch_limit=1000)


def test_a_request_for_many_is_one_failure(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(OUT)
        await bench.put(*users(50))
        await bench.turn()
        assert bench.count(Result.RETRY) == 50
        assert not bench.control.is_paused

    on_lane(scenario, batch_limit=1000)


def test_failures_while_this_process_got_no_processor_time_pause_nothing(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.watchdog.start()
        bench.clock.now += 3  # it was stopped
        bench.transport.failure = TIMED_OUT
        await bench.put(*users(9))
        await bench.turn()
        bench.watchdog.stop()
        assert bench.results == [(name, "retry") for name, _ in bench.results]
        assert len(bench.results) == 9
        assert await bench.stored_pause() is None

    on_lane(scenario)


# batches that are refused as a whole


def one_is_bad(culprit: str) -> Callable[[Sequence[Push], str], list[Outcome]]:
    """The provider refuses a request with the culprit in it, and does not say why."""

    def verdict(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
        is_bad = any(push.address == culprit for push in pushes)
        return [Split("invalid target") if is_bad else Accepted()] * len(pushes)

    return verdict


def test_one_culprit_among_500_is_found_by_halving_and_buried_alone(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = one_is_bad("user-333")
        await bench.put(*users(500))
        await bench.turn()
        assert bench.count(Result.ACCEPTED) == 499
        assert ("user-333", "dead letter") in bench.results
        assert await bench.dead_letters() == [b"invalid target"]
        assert len(bench.sent) <= 2 * 9 + 1  # 2^9 > 500
        await bench.nothing_is_left()

    on_lane(scenario, batch_limit=1000, in_flight=1000)


def test_halves_are_never_joined_again_whatever_an_answer_takes(on_lane: OnLane) -> None:
    """Each answer takes most of a lease, and new jobs of the same alert come in between."""

    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = one_is_bad("user-5")
        bench.transport.allow(1)
        await bench.put(*users(8))
        await bench.worker.claim()
        for late in ("late-1", "late-2", "late-3"):
            bench.transport.answering.clear()
            await bench.until(partial(bench.is_sent, len(bench.sent) + 1))
            await bench.put(late)
            await bench.worker.claim()
            bench.clock.now += LEASE.total_seconds() - 1
            await bench.leases.renew(bench.queue.renew)
            bench.transport.answering.set()
        await bench.worker.drained()
        assert [size for size in map(len, bench.sent) if size > 1] == [8, 4, 4, 2, 2]
        assert bench.count(Result.ACCEPTED) == 10
        assert ("user-5", "dead letter") in bench.results
        assert bench.addresses.looked_up == sum(map(len, bench.sent))

    on_lane(scenario, batch_limit=1000)


def test_a_lease_that_is_lost_between_halves_settles_what_was_answered_alone(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        def slow_for_the_good(pushes: Sequence[Push], authorization: str) -> list[Outcome]:
            outcomes = one_is_bad("user-3")(pushes, authorization)
            if isinstance(outcomes[0], Accepted):
                bench.clock.now += LEASE.total_seconds()  # this process was stopped
            return outcomes

        bench.wire.verdict = slow_for_the_good
        bench.transport.allow(1)
        await bench.put(*users(4))
        await bench.turn()
        assert bench.sent == [users(4), users(2)]
        assert bench.results == [("user-0", "accepted"), ("user-1", "accepted")]
        assert await bench.backlog() == (2, 2)

    on_lane(scenario, batch_limit=1000)


def test_a_probe_that_is_refused_as_a_whole_shows_that_the_provider_answers_and_its_halves_go_on(
    on_lane: OnLane,
) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = one_is_bad("user-3")
        await bench.put(*users(8))
        await bench.pause()
        for _ in range(20):
            await bench.turn()
            await bench.next_probe_is_due()
            await bench.move_due()
        assert bench.count(Result.ACCEPTED) == 7
        assert ("user-3", "dead letter") in bench.results
        assert not bench.control.is_paused
        assert await bench.stored_pause() is None

    on_lane(scenario, batch_limit=1000)


# provider tokens


def test_an_expired_provider_token_is_renewed_once_and_the_push_repeated(on_phones: OnLane) -> None:
    def first_is_old(_pushes: Sequence[Push], authorization: str) -> list[Outcome]:
        return [CredentialsExpired() if authorization == "key-1" else Accepted()]

    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = first_is_old
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "accepted")]
        assert bench.authorization.renewals == ["key-1"]
        assert await bench.stored_pause() is None

    on_phones(scenario)


@pytest.mark.parametrize(("renewable", "requests"), [(True, 2), (False, 1)])
def test_a_provider_token_that_stays_expired_pauses_the_lane(on_phones: OnLane, renewable: bool, requests: int) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(CredentialsExpired())
        bench.authorization.renewable = renewable
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "paused")]
        assert len(bench.sent) == requests
        assert len(bench.authorization.renewals) == 1
        assert await bench.stored_pause() == Pause("provider token expired", NOON)

    on_phones(scenario)


# what an answer changes besides the job


def test_a_registration_goes_when_apns_called_its_token_dead_after_it_was_made(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.now = NOON + SECOND
        bench.wire.verdict = always(Unregistered(None))  # no time said: since before this push
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "device gone")]
        assert bench.registry.devices_of("main", "ben") == []
        await bench.nothing_is_left()

    on_phones(scenario)


def test_a_device_that_registered_between_push_and_answer_is_kept_and_gets_the_alert_once_more(
    on_phones: OnLane,
) -> None:
    async def scenario(bench: LaneBench) -> None:
        def registers_meanwhile(_pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
            bench.register(device("ben", push_token="ben-token", registered_at=NOON + 5 * SECOND))
            return [Unregistered(None)]

        bench.wire.verdict = registers_meanwhile
        await bench.put("ben")
        await bench.turn()
        assert bench.reasons == ["registered again"]
        ((again, _),) = await bench.retries()
        assert again.second_chance
        await bench.move_due()
        await bench.turn()
        assert bench.reasons[1:] == ["unregistered, yet registered again"]
        assert [one.registered_at for one in bench.registry.devices_of("main", "ben")] == [NOON + 5 * SECOND]

    on_phones(scenario)


def test_an_alert_whose_address_is_dead_goes_to_the_fallback_once(on_phones: OnLane) -> None:
    """Another that waits for the dead address follows, and one with a fallback in the same lane stays in it."""

    async def scenario(bench: LaneBench) -> None:
        phone = replace(
            device("ben", push_token="ben-token"),
            fallbacks=(Address(Platform.APNS, "b0"), Address(Platform.HTTP, "fcm:1")),
        )
        bench.now = NOON + SECOND
        bench.register(phone)
        bench.wire.verdict = always(Unregistered(None))
        await bench.put(bench.job("ben", message_id="m1"), bench.job("ben", message_id="m2", conversation="p2p:cai"))
        await bench.turn()  # both to the first address
        await bench.move_due()
        await bench.turn()  # to the second
        await bench.move_due()
        await bench.turn()  # on to the third, in its own lane
        assert bench.sent == [["ben-token"], ["ben-token"], ["b0"], ["b0"]]
        http = LAYOUT.jobs(bench.lane._replace(channel="http"), 0)
        moved = [load_job(fields[b"r"]) for _, fields in await bench.redis.xrange(http)]
        assert [(one.alert.message_id, one.channel, one.first_platform) for one in moved] == [
            ("m1", "http", "apns"), ("m2", "http", "apns"),
        ]  # fmt: skip
        assert {one.reason for one in moved[0].history} == {"apns: unregistered, on to the next address"}
        assert await bench.dead_letters() == []
        await bench.nothing_is_left()

    on_phones(scenario)


def test_a_device_that_the_removal_guard_keeps_stays_and_its_alert_can_be_replayed(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(Unregistered(NOON + MS))
        await bench.put("ben")
        await bench.turn()
        assert await bench.dead_letters() == [b"unregistered, and kept: too many at once"]
        assert len(bench.registry.devices_of("main", "ben")) == 1

    on_phones(scenario, guard=RemovalGuard(share=0.2, at_least=1))


def test_a_wrong_address_is_noted_on_the_registration_which_stays(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(Misaddressed("DeviceTokenNotForTopic"))
        await bench.put("ben")
        await bench.turn()
        (one,) = bench.registry.devices_of("main", "ben")
        assert one.invalid_reason == "DeviceTokenNotForTopic"
        assert await bench.dead_letters() == [b"DeviceTokenNotForTopic"]

    on_phones(scenario)


def test_a_device_that_had_too_much_is_left_alone_and_no_other_is(on_phones: OnLane) -> None:
    def too_many_for_ben(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
        too_many = Deferred("TooManyRequests", 9 * SECOND, about=About.DEVICE)
        return [too_many if pushes[0].job.account == "ben" else Accepted()]

    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = too_many_for_ben
        await bench.put("ben")
        await bench.turn()
        second = bench.job("ben", message_id="m2")
        await bench.put(second, bench.job("cai", message_id="m2"))
        await bench.turn()
        assert bench.sent == [["ben-token"], ["cai-token"]]
        waits = {job.alert.message_id: (job, due) for job, due in await bench.retries()}
        job, due = waits["m2"]
        assert job == second  # as it was: no attempt
        assert 8 < due <= 9

    on_phones(scenario)


def test_an_account_that_the_provider_does_not_know_is_not_tried_again_for_a_while(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(UnknownAccount())
        for message in ("m1", "m2"):
            await bench.put(bench.job("ghost", message_id=message))
            await bench.turn()
        assert bench.results == [("ghost", "unknown account")] * 2
        assert bench.sent == [["ghost"]]

    on_lane(scenario)


# pauses and probes


def test_a_fault_of_ours_pauses_the_lane_at_once_and_nothing_more_is_sent(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(OurFault("InvalidProviderToken"))
        await bench.put("ben")
        await bench.turn()
        assert bench.control.is_paused
        await bench.put("cai")
        for _ in range(3):
            await bench.turn()
        await bench.take_over()
        assert bench.sent == [["ben"]]
        assert await bench.backlog() == (1, 0)
        assert await bench.retries() == [(bench.job("ben").tried(NOON, "InvalidProviderToken"), 0.0)]
        await bench.move_due()
        assert await bench.backlog() == (2, 0)  # ben's waits in the lane

    on_lane(scenario)


@pytest.mark.parametrize(("until", "probe_after_s"), [(None, 30), (NOON + timedelta(hours=4), 4 * 3600)])
def test_a_fault_of_ours_pauses_the_lane_until_its_time(
    on_lane: OnLane, until: datetime | None, probe_after_s: int
) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(OurFault("quota", until))
        await bench.put("ben")
        await bench.turn()
        assert await bench.stored_pause() == Pause("quota", NOON)
        remaining_ms = await bench.redis.pttl(keys.probe(bench.lane))
        assert (probe_after_s - 30) * 1000 < remaining_ms <= probe_after_s * 1000

    on_lane(scenario)


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        (Accepted(), True),
        (Rejected("bad device"), True),  # the provider speaks with us again: it judged this one job
        (OurFault("quota"), False),
        (Deferred("busy"), False),
    ],
)
def test_a_paused_lane_goes_on_when_a_probe_gets_through(on_lane: OnLane, answer: Outcome, goes_on: bool) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben", "cai")
        await bench.pause()
        bench.wire.verdict = always(answer)
        await bench.turn()
        assert len(bench.sent) == 1
        assert bench.control.is_paused is not goes_on
        assert (await bench.stored_pause() is None) is goes_on
        await bench.move_due()
        await bench.turn()
        assert len(bench.sent) == (2 if goes_on else 1)  # no second probe within 30 s

    on_lane(scenario)


def test_a_probe_settles_what_needs_no_request_and_sends_one(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.addresses.remember_unknown(bench.lane, "gone", DAY)
        late = [bench.job(f"late-{n}", message_id=f"m{n}", life=timedelta(0)) for n in range(1000)]
        await bench.put(*late, "gone", "ben", "cai")
        await bench.pause()
        for _ in range(20):
            await bench.turn()
            if bench.sent:
                break
        assert bench.sent == [["ben"]]
        assert bench.count(Result.DEAD_LETTER) == 1000
        assert not bench.control.is_paused
        assert await bench.stored_pause() is None
        await bench.move_due()
        await bench.turn()
        assert bench.sent == [["ben"], ["cai"]]
        await bench.nothing_is_left()

    on_lane(scenario)


def test_a_probe_may_be_a_job_that_a_dead_worker_left(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben")
        await new_of(queue_of(bench.redis, "dead"), bench.lane, 1)
        await bench.pause()
        await bench.turn()
        assert bench.results == [("ben", "accepted")]
        assert not bench.control.is_paused

    on_lane(scenario)


def test_an_empty_paused_lane_keeps_its_probe_for_the_first_job(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put()
        await bench.pause()
        await bench.turn()
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "accepted")]

    on_lane(scenario)


def test_only_the_probe_opens_a_lane_and_no_push_that_was_under_way_before(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        def first_fails(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
            return [OurFault("quota") if pushes[0].address == "ben" else Accepted()]

        bench.wire.verdict = first_fails
        await bench.put("ben", "cai")
        await bench.turn()
        assert sorted(bench.results) == [("ben", "paused"), ("cai", "accepted")]
        assert bench.control.is_paused
        assert await bench.stored_pause() is not None

    on_lane(scenario)


def test_while_the_provider_fails_all_a_lane_sends_no_more_than_probes_and_no_attempt_counts(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(OUT)
        bench.transport.allow(1)
        await bench.put(*users(10))
        await bench.turn()
        failed = len(bench.sent)
        assert BREAKER <= failed <= BREAKER + 1  # what had not left yet was held back
        assert sorted(job.attempt for job, _ in await bench.retries()) == [0] * 8 + [1] * 2  # two before it was plain
        assert await bench.stored_pause() == Pause("http 503", NOON, PauseKind.BREAKER)
        assert 0 < await bench.redis.pttl(keys.probe(bench.lane)) <= 1000
        await bench.move_due()
        await bench.turn()
        assert len(bench.sent) == failed
        await bench.next_probe_is_due()
        for _ in range(5):
            await bench.turn()
            await bench.move_due()
        assert len(bench.sent) == failed + 1
        records = [load_job(fields[b"r"]) for _, fields in await bench.redis.xrange(bench.stream)]
        assert sorted(job.attempt for job in records) == [0] * 8 + [1] * 2  # the probe burnt none

    on_lane(scenario)


def test_a_lane_that_goes_on_begins_with_a_few_in_flight(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put(*users(90))
        await bench.pause(kind=PauseKind.BREAKER)
        await bench.turn()
        await bench.move_due()
        sent = []
        for _ in range(5):
            before = len(bench.sent)
            await bench.turn()
            sent.append(len(bench.sent) - before)
            bench.clock.now += 1
        assert sent == [4, 8, 16, 32, 29]  # and not all 89 at once

    on_lane(scenario)


def test_a_lane_that_another_worker_opened_begins_with_a_few_too_and_is_not_probed_again(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put(*users(9))
        await bench.pause()
        await RedisLaneStates(bench.redis, "another").resume(bench.lane)
        await bench.turn()
        assert bench.sent == []
        assert not bench.control.is_paused
        await bench.turn()
        assert len(bench.sent) == 4

    on_lane(scenario)


def test_what_the_store_was_asked_before_this_worker_learned_better_does_not_count(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        asked_at, state = bench.clock(), (await bench.lane_states.states([bench.lane]))[bench.lane]
        bench.clock.now += 0.1
        bench.wire.verdict = always(OurFault("quota"))
        await bench.put("ben")
        await bench.turn()
        bench.worker.observe(state, asked_at)
        assert bench.control.is_paused
        bench.worker.observe(state, bench.clock())  # another worker opened it meanwhile
        assert not bench.control.is_paused

    on_lane(scenario)


def test_a_claim_that_comes_after_another_worker_paused_the_lane_is_put_back_unsent(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben", "cai")
        await RedisLaneStates(bench.redis, "another").pause(bench.lane, "http 503", NOON, NOON + SECOND, PauseKind.REST)
        await bench.turn()
        assert bench.sent == []
        assert bench.control.is_paused
        assert sorted((job.account, job.attempt) for job, _ in await bench.retries()) == [("ben", 0), ("cai", 0)]

    on_lane(scenario)


def test_what_looks_like_a_pause_and_is_none_holds_up_nothing(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.redis.hset(keys.pause(bench.lane), "of another program", "1")
        await bench.put("ben")
        await bench.turn()
        assert bench.results == [("ben", "accepted")]
        assert bench.addresses.questions == 1

    on_lane(scenario)


def test_a_lane_whose_state_the_store_cannot_read_is_opened_by_a_probe(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.redis.set(keys.pause(bench.lane), "not a hash")
        await bench.look()
        await bench.put("ben", "cai")
        await bench.turn()
        assert bench.results == [("ben", "accepted")]
        assert await bench.stored_pause() is None
        await bench.move_due()
        await bench.turn()
        assert bench.results[1:] == [("cai", "accepted")]

    on_lane(scenario)


def test_what_waits_for_a_place_when_the_lane_is_paused_goes_back_to_the_store(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.allow(0)
        await bench.put("ben", "cai")
        await bench.worker.claim()
        await bench.pause()
        bench.transport.allow(1)
        await bench.worker.drained()
        assert bench.sent == []
        assert sorted(job.account for job, _ in await bench.retries()) == ["ben", "cai"]

    on_lane(scenario)


# alerts that replace each other


def test_of_one_conversation_the_latest_goes_first_and_the_others_are_superseded(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        jobs = [bench.job(message_id=f"m{n}", sequence=n) for n in (1, 3, 2)]
        elsewhere = bench.job("cai", message_id="m4", conversation="p2p:dan")
        await bench.put(*jobs, elsewhere)
        await bench.turn()
        assert sorted(bench.results) == [("ben", "accepted"), ("ben", "superseded"), ("ben", "superseded"),
                                         ("cai", "accepted")]  # fmt: skip
        assert await bench.retries() == []  # nothing was written anew
        assert len(bench.sent) == 2
        await bench.nothing_is_left()

    on_lane(scenario, batch_limit=1000, replaces=True)


def test_a_backlog_of_one_conversation_is_a_few_pushes_and_nothing_is_written_twice(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put(*(bench.job(message_id=f"m{n}", sequence=n) for n in range(1, 501)))
        for _ in range(100):
            await bench.turn()
            if await bench.backlog() == (0, 0):
                break
        assert bench.count(Result.ACCEPTED) + bench.count(Result.SUPERSEDED) == 500
        assert len(bench.sent) == bench.count(Result.ACCEPTED) <= 5  # at most one for each claim of 100
        assert bench.queue.settled == 500

    on_lane(scenario, replaces=True)


def test_what_was_held_back_goes_on_by_itself_when_the_later_one_dies(on_lane: OnLane) -> None:
    def last_is_bad(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
        return [Rejected("too long") if push.job.alert.order.sequence == 3 else Accepted() for push in pushes]

    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = last_is_bad
        await bench.put(*(bench.job(message_id=f"m{n}", sequence=n) for n in (1, 2, 3)))
        await bench.turn()
        assert [result for _, result in bench.results] == ["dead letter", "accepted", "superseded"]
        assert len(bench.sent) == 2

    on_lane(scenario, replaces=True)


def test_a_job_whose_conversation_is_in_flight_elsewhere_is_tried_again_soon(on_lane: OnLane, store: Store) -> None:
    async def scenario(bench: LaneBench) -> None:
        other = LaneBench(bench.redis, store, bench.lane, bench.logged, replaces=True, instance="worker-2")
        other.start()
        bench.transport.answering.clear()
        await bench.put(bench.job(sequence=1))
        await bench.worker.claim()
        await bench.until(lambda: len(bench.sent) == 1)
        second = bench.job(message_id="m2", sequence=2)
        await bench.put(second)
        await other.turn()
        assert await bench.retries() == [(second, 0.3)]
        bench.transport.answering.set()
        await bench.worker.drained()
        await bench.move_due()
        await other.turn()
        assert [len(one.sent) for one in (bench, other)] == [1, 1]
        await other.end()

    on_lane(scenario, replaces=True)


def test_while_a_later_alert_may_be_shown_an_earlier_one_waits(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        later, earlier = bench.job(message_id="m9", sequence=9), bench.job(message_id="m2", sequence=2)
        bench.transport.failures = [TIMED_OUT]
        await bench.put(later)
        await bench.turn()
        await bench.put(earlier)
        await bench.turn()
        assert len(bench.sent) == 1
        assert {job.alert.message_id: due for job, due in await bench.retries()} == {"m9": 1.0, "m2": 2.0}
        await bench.move_due()
        await bench.turn()
        assert sorted(result for _, result in bench.results) == ["accepted", "retry", "superseded"]

    on_lane(scenario, replaces=True)


@pytest.mark.parametrize(("kinds", "waits"), [([BROKEN, BROKEN], True), ([REFUSED, BROKEN], True),
                                              ([BROKEN, REFUSED], True), ([REFUSED, REFUSED], False)])  # fmt: skip
def test_a_push_of_which_one_of_two_requests_may_have_arrived_may_be_shown(
    on_lane: OnLane, kinds: list[TransportFailure], waits: bool
) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.failures = list(reversed(kinds))
        await bench.put(bench.job(message_id="m9", sequence=9))
        await bench.turn()
        before = len(bench.sent)
        await bench.put(bench.job(message_id="m2", sequence=2))
        await bench.turn()
        assert (len(bench.sent) == before) is waits

    on_lane(scenario, replaces=True)


def test_an_answer_to_the_second_request_does_not_say_what_became_of_the_first(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.failures = [BROKEN]
        bench.wire.verdict = always(Deferred("busy"))
        await bench.put(bench.job(message_id="m9", sequence=9))
        await bench.turn()
        bench.wire.verdict = always(Accepted())
        await bench.put(bench.job(message_id="m2", sequence=2))
        await bench.turn()
        assert bench.count(Result.ACCEPTED) == 0  # the first request's alert may be shown

    on_lane(scenario, replaces=True)


@pytest.mark.parametrize("outcome", [Deferred("busy"), Rejected("bad"), OurFault("quota"), UnknownAccount()])
def test_a_push_that_was_not_accepted_supersedes_nothing_and_frees_its_conversation(
    on_lane: OnLane, outcome: Outcome
) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.wire.verdict = always(outcome)
        await bench.put(bench.job(message_id="m9", sequence=9))
        await bench.turn()
        await bench.redis.delete(LAYOUT.unknown(bench.lane, "ben"))
        await RedisLaneStates(bench.redis, "another").resume(bench.lane)
        await bench.look()
        bench.worker.observe((await bench.lane_states.states([bench.lane]))[bench.lane], bench.clock() + 1)
        bench.wire.verdict = always(Accepted())
        await bench.put(bench.job(message_id="m2", sequence=2))
        await bench.turn()
        assert bench.results[-1] == ("ben", "accepted")

    on_lane(scenario, replaces=True)


@pytest.mark.parametrize(("surprise", "shown"), [(RedisConnectionError("away"), "m2"), (KeyError("a bug"), "m1")])
def test_what_was_held_back_behind_a_push_that_ends_badly_goes_on_unless_that_one_may_be_shown(
    on_lane: OnLane, surprise: Exception, shown: str
) -> None:
    async def scenario(bench: LaneBench) -> None:
        good = bench.wire.read

        def once(*_args: object) -> Any:
            setattr(bench.wire, "read", good)  # noqa: B010  the next answer is an ordinary one
            raise surprise

        setattr(bench.wire, "read", once)  # noqa: B010
        await bench.put(*(bench.job(message_id=f"m{n}", sequence=n) for n in (1, 2)))
        for _ in range(50):
            await bench.turn()
            await bench.take_over()
            await bench.move_due()
            if bench.count(Result.ACCEPTED):
                break
        accepted = [entry["message_id"] for entry in bench.logged if entry.get("result") == "accepted"]
        assert accepted == [shown]

    on_lane(scenario, replaces=True)


def test_a_replayed_alert_that_a_later_one_covers_is_superseded(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        earlier = bench.job(message_id="m1", sequence=1)
        letter = DeadLetter("1-0", "77", NOON, Cause.REJECTED, "too large", earlier)
        await bench.put(bench.job(message_id="m2", sequence=2))
        await bench.turn()
        await put_jobs(bench.redis, bench.lane, [revived(earlier, letter, NOON, DAY)])
        await bench.turn()
        assert bench.results == [("ben", "accepted"), ("ben", "superseded")]

    on_lane(scenario, replaces=True)


def test_alerts_that_replace_nothing_go_out_side_by_side_in_any_order(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put(*(bench.job(message_id=f"m{n}", sequence=n) for n in (3, 1, 2)))
        await bench.turn()
        assert bench.results == [("ben", "accepted")] * 3

    on_lane(scenario)


# what the lane says of itself


@pytest.mark.parametrize(("places", "why"), [(0, "no free connection"), (1, "no answer from the provider")])
def test_a_lane_without_progress_although_work_waits_says_why(on_lane: OnLane, places: int, why: str) -> None:
    async def scenario(bench: LaneBench) -> None:
        assert bench.worker.stall() == ""
        bench.transport.allow(places)
        bench.transport.answering.clear()
        await bench.put("ben", "cai")
        await bench.worker.claim()
        await bench.until(lambda: bench.transport.tried == places)
        bench.clock.now += PATIENCE.total_seconds() - 0.1
        assert bench.worker.stall() == ""
        bench.clock.now += 0.2
        assert bench.worker.stall() == why
        await bench.leases.renew(bench.queue.renew)
        bench.transport.answering.set()
        bench.transport.allow(10)
        await bench.worker.drained()
        assert bench.worker.stall() == ""

    on_lane(scenario)


def test_a_lane_whose_jobs_wait_for_the_store_says_so(on_lane: OnLane, logged: Logged) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben")
        bench.addresses.fault = RedisConnectionError()
        await bench.worker.claim()
        await bench.until(lambda: bool(logged))
        bench.clock.now += PATIENCE.total_seconds()
        assert bench.worker.stall() == "store: ConnectionError"
        await bench.leases.renew(bench.queue.renew)
        bench.addresses.fault = None
        await bench.worker.drained()
        assert bench.worker.stall() == ""

    on_lane(scenario)


def test_a_lane_whose_outcomes_the_store_does_not_take_says_so(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.put("ben")
        bench.queue.fault = RedisConnectionError()
        await bench.worker.claim()
        await bench.until(lambda: bool(bench.results))
        bench.clock.now += PATIENCE.total_seconds()
        assert bench.worker.stall() == "the store takes no outcome"
        bench.queue.fault = None
        await bench.worker.drained()
        assert bench.worker.stall() == ""

    on_lane(scenario)


def test_a_paused_lane_and_one_without_work_are_not_without_progress(on_lane: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.clock.now += 10 * PATIENCE.total_seconds()
        assert bench.worker.stall() == ""
        await bench.put("ben")
        await bench.pause()
        bench.clock.now += 10 * PATIENCE.total_seconds()
        assert bench.worker.stall() == ""

    on_lane(scenario)
