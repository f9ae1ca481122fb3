"""Deliver, with a provider that answers as told and real registrations, lines and pauses."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from proxy.domain.breaker import Breaker
from proxy.domain.dead_letters import Cause, DeadLetter, revived
from proxy.domain.devices import Device
from proxy.domain.jobs import Job, Push
from proxy.domain.lanes import Lane, Pause, PauseKind, Route
from proxy.domain.outcomes import (
    About,
    Accepted,
    CredentialsExpired,
    Deferred,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    Split,
    UnknownAccount,
    Unregistered,
)
from proxy.domain.transfers import TRANSPORT_CLOSED, FailureKind, TransportFailure
from proxy.ports import Bury, Finish, Landing, Postpone, Settlement
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.usecases.deliver import Channel, Delivery, Settled, all_or_raise
from proxy.usecases.lines import Held
from tests.store.samples import (
    DAY,
    LEASE,
    MS,
    NOON,
    SECOND,
    alert,
    apns_lane,
    device,
    job,
    mipush_lane,
    raw,
    with_redis,
)
from tests.usecases.provider import Keys, Provider, always

NOT_SENT = FailureKind.NOT_SENT
TIMED_OUT = FailureKind.TIMED_OUT


class Bench:
    """One lane's delivery, and what it settled and reported."""

    def __init__(self, redis: Any, app_id: str, provider: Provider, *, to_account: bool = False) -> None:
        self.redis, self.provider, self.to_account = redis, provider, to_account
        self.lane = mipush_lane(app_id) if to_account else apns_lane(app_id)
        self.lanes = RedisLaneStates(redis)
        self.authorization = Keys()
        self.now = NOON
        self.settled: list[Settlement] = []
        self.reported: list[Settled] = []
        self.delivery = self.by("worker-1")

    def by(self, instance: str) -> Delivery:
        """The delivery of a worker instance."""
        route = Route(self.lane, self.to_account)
        return Delivery(
            channel=Channel(route, self.provider, self.provider, self.authorization, replaces=self.to_account),
            addresses=RedisAddresses(self.redis, {"main": self.lane.app_id}, instance),
            lanes=self.lanes,
            backoff=lambda attempt: (attempt + 1) * SECOND,
            now=lambda: self.now,
            settle=self.settled.append,
            report=self.reported.append,
            line_life=LEASE,
            dedupe_ttl=DAY,
            unknown_account_ttl=6 * 3600 * SECOND,
            probe_every=30 * SECOND,
            first_probe=SECOND,
            breaker=Breaker(3),
        )

    def job(self, account: str = "ben", **of: Any) -> Job:
        return job(self.lane, account, "" if self.to_account else "phone", alert(**of))

    async def deliver(
        self, jobs: Iterable[Job], may_send: Callable[[], bool] = lambda: True, by: Delivery | None = None
    ) -> list[tuple[str, str]]:
        """From claim to settlement; returns results and reasons of this run, in order of settlement."""
        before, delivery = len(self.reported), by or self.delivery
        held = [Held(f"{n}-1".encode(), it) for n, it in enumerate(jobs)]
        while held:
            batches, held = await delivery.ready(held), []
            for batch in batches:
                held += delivery.part(batch, await delivery.push(batch, may_send))
        return [(it.result, it.reason) for it in self.reported[before:]]


class DeafOnce(RedisAddresses):
    """The store is away when it is first told how pushes ended."""

    heard = False

    async def land(self, lane: Lane, landed: Sequence[Landing], life: timedelta) -> None:
        if not self.heard:
            self.heard = True
            raise RedisConnectionError("away")
        await super().land(lane, landed, life)


Setting = Callable[..., None]


@pytest.fixture
def on_bench(store_url: str, store: Store, app_id: str) -> Setting:
    """Runs a scenario; ben and cai have a phone each."""

    def run(scenario: Callable[[Bench], Awaitable[None]], provider: Provider, *, to_account: bool = False) -> None:
        for name in ("ben", "cai", "refused"):
            register(store, app_id, device(name, push_token=f"{name}-token"))
        with_redis(store_url, lambda redis: scenario(Bench(redis, app_id, provider, to_account=to_account)))

    return run


def register(store: Store, app_id: str, one: Device) -> None:
    RedisDeviceRegistry(store, {"main": app_id}).register(one)


def registered(store: Store, app_id: str, account: str = "ben") -> list[Device]:
    return RedisDeviceRegistry(store, {"main": app_id}).devices_of("main", account)


def test_a_device_that_the_brake_keeps_stays_and_its_alert_can_be_replayed(
    on_bench: Setting, store: Store, app_id: str
) -> None:
    async def scenario(bench: Bench) -> None:
        forgetting = DeviceRemoval(bench.redis, {"main": app_id}, RemovalGuard(share=0.2, at_least=1))
        addresses = RedisAddresses(bench.redis, {"main": app_id}, "worker-1", forgetting)
        braked = replace(bench.delivery, addresses=addresses)
        held = "unregistered, and kept: too many at once"
        assert await bench.deliver([bench.job()], by=braked) == [("dead letter", held)]
        (settlement,) = bench.settled
        assert settlement == Bury(b"0-1", Cause.UNREGISTERED, held, bench.job())

    on_bench(scenario, Provider(always(Unregistered(NOON + MS))))
    assert len(registered(store, app_id)) == 1


ENTRY = b"0-1"
JOB = job(Lane("any", "main", "apns"))
AT = NOON + SECOND  # when each of these answers comes
AGAIN = replace(JOB, second_chance=True).tried(AT, "registered again")
BUSY = replace(JOB, attempt=1).tried(AT, "busy")


@pytest.mark.parametrize(("outcome", "settlement", "report"), [
    (Accepted(), Finish(ENTRY), ("accepted", "")),
    (Unregistered(NOON + MS), Finish(ENTRY), ("device gone", "")),
    (Unregistered(NOON), Postpone(ENTRY, AGAIN, NOON + SECOND), ("retry", "registered again")),
    (Misaddressed("bad token"), Bury(ENTRY, Cause.MISADDRESSED, "bad token", JOB), ("dead letter", "bad token")),
    (UnknownAccount(), Finish(ENTRY), ("unknown account", "")),
    (Rejected("too large"), Bury(ENTRY, Cause.REJECTED, "too large", JOB), ("dead letter", "too large")),
    (Deferred("busy"), Postpone(ENTRY, BUSY, NOON + 2 * SECOND), ("retry", "busy")),
    (Deferred("busy", 9 * SECOND, about=About.JOB), Postpone(ENTRY, BUSY, NOON + 10 * SECOND), ("retry", "busy")),
    (Deferred("busy", 9 * SECOND, about=About.DEVICE), Postpone(ENTRY, BUSY, NOON + 10 * SECOND), ("retry", "busy")),
    (Deferred("busy", 9 * SECOND), Postpone(ENTRY, JOB.tried(AT, "busy"), AT + 9 * SECOND), ("paused", "busy")),
    (Deferred("off", counts=False), Postpone(ENTRY, JOB.tried(AT, "off"), NOON + 2 * SECOND), ("retry", "off")),
    (
        Deferred("busy", DAY, about=About.JOB),
        Bury(ENTRY, Cause.EXPIRED, "too late: busy", JOB),
        ("dead letter", "too late: busy"),
    ),
    (
        CredentialsExpired(),
        Postpone(ENTRY, JOB.tried(AT, "provider token expired"), AT),
        ("paused", "provider token expired"),
    ),
    (
        OurFault("TopicDisallowed"),
        Postpone(ENTRY, JOB.tried(AT, "TopicDisallowed"), AT),
        ("paused", "TopicDisallowed"),
    ),
    (Split("invalid target"), Bury(ENTRY, Cause.REJECTED, "invalid target", JOB), ("dead letter", "invalid target")),
])  # fmt: skip
def test_each_outcome_has_its_settlement_and_its_report(
    on_bench: Setting, outcome: Outcome, settlement: Settlement, report: tuple[str, str]
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.now = NOON + SECOND
        assert await bench.deliver([bench.job()]) == [report]
        assert bench.settled == [settlement]

    on_bench(scenario, Provider(always(outcome)))


@pytest.mark.parametrize(("no_answer", "attempts"), [
    (TransportFailure("connection refused", NOT_SENT), 0),
    (TransportFailure("timed out", TIMED_OUT), 1),
])  # fmt: skip
def test_only_what_the_provider_may_have_seen_counts_as_an_attempt(
    on_bench: Setting, no_answer: TransportFailure, attempts: int
) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.deliver([bench.job()]) == [("retry", no_answer.reason)]
        assert bench.settled == [
            Postpone(ENTRY, replace(bench.job(), attempt=attempts).tried(NOON, no_answer.reason), NOON + SECOND)
        ]

    on_bench(scenario, Provider(always(Accepted()), failures=[no_answer]))


@pytest.mark.parametrize(("breaks", "end"), [(1, ("accepted", "")), (2, ("retry", "connection broke"))])
def test_a_push_whose_connection_broke_is_repeated_at_once_and_once(
    on_bench: Setting, breaks: int, end: tuple[str, str]
) -> None:
    broken = TransportFailure("connection broke", FailureKind.BROKEN)

    async def scenario(bench: Bench) -> None:
        assert await bench.deliver([bench.job()]) == [end]
        assert len(bench.provider.sent) == 2

    on_bench(scenario, Provider(always(Accepted()), failures=[broken] * breaks))


def test_a_registration_goes_when_apns_called_its_token_dead_after_it_was_made(
    on_bench: Setting, store: Store, app_id: str
) -> None:
    async def scenario(bench: Bench) -> None:
        bench.now = NOON + SECOND
        assert await bench.deliver([bench.job()]) == [("device gone", "")]

    on_bench(scenario, Provider(always(Unregistered(None))))  # no time said: since before this push
    assert registered(store, app_id) == []


def test_a_device_that_registered_between_push_and_answer_is_kept_and_gets_the_alert_once_more(
    on_bench: Setting, store: Store, app_id: str
) -> None:
    def registers_meanwhile(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
        register(store, app_id, device("ben", push_token="ben-token", registered_at=NOON + 5 * SECOND))
        return [Unregistered(None)]

    async def scenario(bench: Bench) -> None:
        assert await bench.deliver([bench.job()]) == [("retry", "registered again")]
        (again,) = bench.settled
        assert isinstance(again, Postpone)
        assert again.job.second_chance
        assert await bench.deliver([again.job]) == [("dead letter", "unregistered, yet registered again")]

    on_bench(scenario, Provider(registers_meanwhile))
    assert [it.registered_at for it in registered(store, app_id)] == [NOON + 5 * SECOND]


def test_a_wrong_address_is_noted_on_the_registration_which_stays(on_bench: Setting, store: Store, app_id: str) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver([bench.job()])

    on_bench(scenario, Provider(always(Misaddressed("DeviceTokenNotForTopic"))))
    assert [it.invalid_reason for it in registered(store, app_id)] == ["DeviceTokenNotForTopic"]


def replayed(one: Job) -> Job:
    """As it comes back from a dead letter."""
    return revived(one, DeadLetter("1-0", "77", NOON, Cause.REJECTED, "too large", one), NOON, DAY)


def test_a_replayed_alert_that_a_later_one_covers_is_superseded(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        earlier = bench.job(message_id="m1", sequence=1)
        bench.provider.verdict = always(Rejected("too large"))
        assert await bench.deliver([earlier]) == [("dead letter", "too large")]
        bench.provider.verdict = always(Accepted())
        assert await bench.deliver([bench.job(message_id="m2", sequence=2)]) == [("accepted", "")]
        assert await bench.deliver([replayed(earlier)]) == [("superseded", "")]

    on_bench(scenario, Provider(always(Accepted())), to_account=True)


def test_a_replayed_alert_whose_device_has_moved_goes_nowhere(on_bench: Setting, store: Store, app_id: str) -> None:
    async def scenario(bench: Bench) -> None:
        register(store, app_id, device("cai", "second", push_token="ben-token"))
        assert await bench.deliver([replayed(bench.job())]) == [("device moved", "")]
        assert bench.provider.sent == []

    on_bench(scenario, Provider(always(Accepted())))


def test_a_job_whose_device_is_gone_or_has_another_owner_is_not_sent(
    on_bench: Setting, store: Store, app_id: str
) -> None:
    async def scenario(bench: Bench) -> None:
        register(store, app_id, device("cai", "second", push_token="ben-token"))  # ben's phone is cai's now
        assert await bench.deliver([bench.job(), bench.job("nobody"), bench.job("cai")]) == [
            ("device moved", ""), ("device moved", ""), ("accepted", ""),
        ]  # fmt: skip
        assert bench.provider.sent == [["cai-token"]]
        assert bench.settled == [Finish(b"0-1"), Finish(b"1-1"), Finish(b"2-1")]

    on_bench(scenario, Provider(always(Accepted())))


def test_an_expired_job_and_one_that_the_channel_cannot_say_are_dead_letters_unsent(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        late = bench.job(life=timedelta(0))
        assert await bench.deliver([late, bench.job("refused"), bench.job("cai")]) == [
            ("dead letter", "too late: expired while waiting"), ("dead letter", "too long"), ("accepted", ""),
        ]  # fmt: skip
        assert bench.provider.sent == [["cai-token"]]

    on_bench(scenario, Provider(always(Accepted()), refusal=Rejected("too long")))


def test_jobs_are_batched_by_key_up_to_the_channels_limit(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        jobs = [bench.job(f"user-{n}") for n in range(5)] + [bench.job("zed", message_id="m2")]
        assert await bench.deliver(jobs) == [("accepted", "")] * 6
        assert sorted(map(len, bench.provider.sent)) == [1, 1, 2, 2]

    on_bench(scenario, Provider(always(Accepted()), batch_limit=2), to_account=True)


def test_one_culprit_among_500_is_found_by_halving_and_all_are_settled_after_the_last_answer(
    on_bench: Setting,
) -> None:
    settled_meanwhile = []

    async def scenario(bench: Bench) -> None:
        def one_is_bad(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
            settled_meanwhile.append(len(bench.settled))
            has_culprit = any(push.address == "user-333" for push in pushes)
            return [Split("invalid target") if has_culprit else Accepted()] * len(pushes)

        bench.provider.verdict = one_is_bad
        results = await bench.deliver([bench.job(f"user-{n}") for n in range(500)])
        assert results.count(("accepted", "")) == 499
        assert results[333] == ("dead letter", "invalid target")
        assert len(bench.settled) == 500
        assert len(bench.provider.sent) <= 2 * 9 + 1  # 2^9 > 500

    on_bench(scenario, Provider(always(Accepted())), to_account=True)
    assert set(settled_meanwhile) == {0}


def test_a_lease_that_is_lost_between_halves_settles_what_was_answered_alone(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        bench.provider.verdict = lambda pushes, _: [Split("bad") if len(pushes) > 2 else Accepted()] * len(pushes)
        jobs = [bench.job(f"user-{n}") for n in range(4)]
        results = await bench.deliver(jobs, may_send=lambda: len(bench.provider.sent) < 2)
        assert results == [("accepted", "")] * 2
        assert len(bench.provider.sent) == 2
        assert len(bench.settled) == 2

    on_bench(scenario, Provider(always(Accepted())), to_account=True)


def test_without_a_lease_nothing_is_sent_settled_or_reported(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.deliver([bench.job()], may_send=lambda: False) == []
        assert (bench.provider.sent, bench.settled) == ([], [])

    on_bench(scenario, Provider(always(Accepted())))


def test_an_expired_key_is_renewed_once_and_the_push_repeated(on_bench: Setting) -> None:
    def first_is_old(pushes: Sequence[Push], authorization: str) -> list[Outcome]:
        return [CredentialsExpired() if authorization == "key-1" else Accepted()]

    async def scenario(bench: Bench) -> None:
        assert await bench.deliver([bench.job()]) == [("accepted", "")]
        assert bench.authorization.renewals == ["key-1"]
        assert await bench.lanes.pauses([bench.lane]) == {}

    on_bench(scenario, Provider(first_is_old))


@pytest.mark.parametrize(("renewable", "requests"), [(True, 2), (False, 1)])
def test_a_key_that_stays_expired_pauses_the_lane(on_bench: Setting, renewable: bool, requests: int) -> None:
    async def scenario(bench: Bench) -> None:
        bench.authorization.renewable = renewable
        assert await bench.deliver([bench.job()]) == [("paused", "provider token expired")]
        assert len(bench.provider.sent) == requests
        assert len(bench.authorization.renewals) == 1
        assert await bench.lanes.pauses([bench.lane]) == {bench.lane: Pause("provider token expired", NOON)}

    on_bench(scenario, Provider(always(CredentialsExpired())))


@pytest.mark.parametrize(("until", "probe_after_s"), [(None, 30), (NOON + timedelta(hours=4), 4 * 3600)])
def test_a_fault_of_ours_pauses_the_lane_until_its_time_and_counts_no_attempt(
    on_bench: Setting, store: Store, app_id: str, until: datetime | None, probe_after_s: int
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver([bench.job(), bench.job("cai")])
        assert {it.entry_id: it for it in bench.settled} == {
            b"0-1": Postpone(b"0-1", bench.job().tried(NOON, "quota"), NOON),
            b"1-1": Postpone(b"1-1", bench.job("cai").tried(NOON, "quota"), NOON),
        }
        assert await bench.lanes.pauses([bench.lane]) == {bench.lane: Pause("quota", NOON)}

    on_bench(scenario, Provider(always(OurFault("quota", until))))
    assert raw(store, "PTTL", keys.probe(apns_lane(app_id))) == pytest.approx(probe_after_s * 1000, abs=5000)


@pytest.mark.parametrize("outcome", [OurFault("quota"), UnknownAccount()])
def test_an_answer_about_a_whole_batch_is_carried_out_for_each_of_it(on_bench: Setting, outcome: Outcome) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver([bench.job(f"user-{n}") for n in range(1000)])
        assert len({it.entry_id for it in bench.settled}) == 1000

    on_bench(scenario, Provider(always(outcome)), to_account=True)


def test_an_account_that_nobody_uses_is_not_tried_again_for_a_while(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.deliver([bench.job("ghost")]) == [("unknown account", "")]
        assert await bench.deliver([bench.job("ghost", message_id="m2")]) == [("unknown account", "")]
        assert bench.provider.sent == [["ghost"]]

    on_bench(scenario, Provider(always(UnknownAccount())), to_account=True)


def test_of_one_line_the_latest_goes_first_and_the_others_give_way(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        one, two, three = (bench.job(message_id=f"m{n}", sequence=n) for n in (1, 2, 3))
        elsewhere = bench.job(message_id="m4", conversation="p2p:dan", sequence=1)
        assert (
            sorted(await bench.deliver([one, three, two, elsewhere]))
            == [("accepted", "")] * 2 + [("superseded", "")] * 2
        )
        assert {(it.job.alert.message_id, it.result) for it in bench.reported} == {
            ("m1", "superseded"), ("m2", "superseded"), ("m3", "accepted"), ("m4", "accepted"),
        }  # fmt: skip
        assert all(isinstance(it, Finish) for it in bench.settled)  # and nothing was written anew
        assert await bench.deliver([one, two]) == [("superseded", "")] * 2
        assert await bench.deliver([three]) == [("accepted", "")]  # the same again replaces itself
        assert await bench.deliver([bench.job(message_id="m5", sequence=5)]) == [("accepted", "")]

    on_bench(scenario, Provider(always(Accepted())), to_account=True)


def test_at_most_one_push_of_a_line_is_out_whichever_worker_has_it(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        other = bench.by("worker-2")
        (batch,) = await bench.delivery.ready([Held(b"1-1", bench.job(sequence=1))])
        assert await other.ready([Held(b"2-1", bench.job(message_id="m2", sequence=2))]) == []
        assert bench.settled == [Postpone(b"2-1", bench.job(message_id="m2", sequence=2), NOON + 300 * MS)]
        await bench.delivery.push(batch, lambda: True)
        assert await bench.deliver([bench.job(message_id="m2", sequence=2)], by=other) == [("accepted", "")]

    on_bench(scenario, Provider(always(Accepted())), to_account=True)


@pytest.mark.parametrize("outcome", [Deferred("busy"), Rejected("bad"), OurFault("quota"), UnknownAccount()])
def test_a_push_that_was_not_accepted_supersedes_nothing_and_frees_its_line(
    on_bench: Setting, outcome: Outcome
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.deliver([bench.job(sequence=9)])
        addresses = RedisAddresses(bench.redis, {"main": bench.lane.app_id}, "w")
        await bench.redis.delete(keys.unknown(bench.lane, "ben"))
        bench.provider.verdict = always(Accepted())
        assert await bench.deliver([bench.job(message_id="m2", sequence=2)]) == [("accepted", "")]
        assert await addresses.unknown(bench.lane, ["ben"]) == set()

    on_bench(scenario, Provider(always(outcome)), to_account=True)


@pytest.mark.parametrize("outcome", [Deferred("timed out", unheard=True), None])
def test_a_push_that_was_not_heard_of_holds_earlier_ones_back_until_it_is_settled(
    on_bench: Setting, outcome: Outcome | None
) -> None:
    """Chaos seeds 23 and 32: the earlier one took the later one's place on the phone."""

    async def scenario(bench: Bench) -> None:
        later, earlier = bench.job(sequence=9), bench.job(message_id="m2", sequence=2)
        if outcome is None:  # its worker died
            await bench.by("worker-2").ready([Held(b"1-1", later)])
            await bench.redis.delete(*await bench.redis.keys(keys.flying(bench.lane, "*")))
        else:
            await bench.deliver([later])
        bench.provider.verdict = always(Deferred("busy"))
        bench.settled.clear()
        assert await bench.deliver([later, earlier]) == [("retry", "busy")]
        assert await bench.deliver([earlier]) == []
        assert bench.settled[-1] == Postpone(bench.settled[-1].entry_id, earlier, NOON + 2 * SECOND)
        bench.provider.verdict = always(Accepted())
        newest = bench.job(message_id="m3", sequence=11)
        assert await bench.deliver([newest]) == [("accepted", "")]
        assert await bench.deliver([later, earlier]) == [("superseded", "")] * 2

    on_bench(scenario, Provider(always(outcome or Accepted())), to_account=True)


def test_what_the_store_did_not_hear_of_a_push_it_hears_before_the_next(on_bench: Setting) -> None:
    """Chaos seed 32: the store was killed between the answer and the note of what is shown."""

    async def scenario(bench: Bench) -> None:
        addresses = DeafOnce(bench.redis, {"main": bench.lane.app_id}, "worker-1")
        delivery = replace(bench.delivery, addresses=addresses)
        (batch,) = await delivery.ready([Held(b"1-1", bench.job(sequence=9))])
        with pytest.raises(RedisConnectionError):
            await delivery.push(batch, lambda: True)
        assert delivery.part(batch, []) == []
        assert await bench.deliver([bench.job(message_id="m2", sequence=2)], by=delivery) == [("superseded", "")]

    on_bench(scenario, Provider(always(Accepted())), to_account=True)


def test_alerts_that_cover_nothing_go_out_side_by_side_in_any_order(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        jobs = [bench.job(message_id=f"m{n}", sequence=n) for n in (3, 1, 2)]
        assert await bench.deliver(jobs) == [("accepted", "")] * 3
        assert await bench.deliver(jobs[1:]) == [("accepted", "")] * 2

    on_bench(scenario, Provider(always(Accepted())))


def test_one_jobs_trouble_is_raised_only_after_the_others_have_ended() -> None:
    ended = []

    async def step(name: str) -> Settled:
        await asyncio.sleep(0)
        if name == "bad":
            raise ConnectionError(name)
        ended.append(name)
        return Settled(JOB, "accepted")

    with pytest.raises(ConnectionError, match="bad"):
        asyncio.run(all_or_raise(step(name) for name in ("one", "bad", "two")))
    assert ended == ["one", "two"]


OUT = Deferred("http 503")


def test_failures_in_a_row_stop_the_lane_and_count_no_attempt_from_then_on(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        jobs = [bench.job("ben" if n % 2 else "cai", message_id=f"m{n}") for n in range(5)]
        assert await bench.deliver(jobs) == [("retry", "http 503")] * 2 + [("paused", "http 503")] * 3
        assert [it.job.attempt for it in bench.settled if isinstance(it, Postpone)] == [1, 1, 0, 0, 0]
        assert [it.stopped for it in bench.reported] == [None, None, PauseKind.BREAKER, None, None]
        assert await bench.lanes.pauses([bench.lane]) == {bench.lane: Pause("http 503", NOON, PauseKind.BREAKER)}
        assert 0 < await bench.redis.pttl(keys.probe(bench.lane)) <= 1000

    on_bench(scenario, Provider(always(OUT)))


def test_a_request_for_many_is_one_failure(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        assert await bench.deliver([bench.job(f"user-{n}") for n in range(50)]) == [("retry", "http 503")] * 50
        assert not bench.delivery.breaker.is_open

    on_bench(scenario, Provider(always(OUT)), to_account=True)


def test_a_failure_that_we_slept_through_opens_nothing(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        asleep = replace(bench.delivery, is_awake=lambda: False)
        jobs = [bench.job(message_id=f"m{n}") for n in range(9)]
        assert await bench.deliver(jobs, by=asleep) == [("retry", "no answer in time")] * 9
        assert await bench.lanes.pauses([bench.lane]) == {}

    on_bench(
        scenario,
        Provider(always(Accepted()), failures=[TransportFailure("no answer in time", TIMED_OUT)] * 9),
    )


def test_a_transport_that_we_closed_says_nothing_about_the_provider(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        jobs = [bench.job(message_id=f"m{n}") for n in range(9)]
        assert await bench.deliver(jobs) == [("retry", TRANSPORT_CLOSED)] * 9
        assert await bench.lanes.pauses([bench.lane]) == {}

    on_bench(scenario, Provider(always(Accepted()), failures=[TransportFailure(TRANSPORT_CLOSED, NOT_SENT)] * 9))


def test_a_device_that_had_too_much_is_left_alone_by_all_workers_and_no_other_is(on_bench: Setting) -> None:
    def too_many_for_ben(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
        too_many = Deferred("TooManyRequests", 9 * SECOND, about=About.DEVICE)
        return [too_many if pushes[0].job.account == "ben" else Accepted()]

    async def scenario(bench: Bench) -> None:
        assert await bench.deliver([bench.job(message_id="m1")]) == [("retry", "TooManyRequests")]
        bench.settled.clear()
        jobs = [bench.job(message_id="m2"), bench.job("cai", message_id="m2")]
        assert await bench.deliver(jobs, by=bench.by("worker-2")) == [("accepted", "")]
        (waits,) = [it for it in bench.settled if isinstance(it, Postpone)]
        assert waits.job == jobs[0]  # as it was: no attempt
        assert NOON + 8 * SECOND < waits.when <= NOON + 9 * SECOND
        assert bench.provider.sent == [["ben-token"], ["cai-token"]]

    on_bench(scenario, Provider(too_many_for_ben))


def test_what_was_held_back_goes_on_by_itself_when_the_later_one_dies(on_bench: Setting) -> None:
    def last_is_bad(pushes: Sequence[Push], _authorization: str) -> list[Outcome]:
        return [Rejected("too long") if it.job.alert.order.sequence == 3 else Accepted() for it in pushes]

    async def scenario(bench: Bench) -> None:
        jobs = [bench.job(message_id=f"m{n}", sequence=n) for n in (1, 2, 3)]
        assert await bench.deliver(jobs) == [("dead letter", "too long"), ("accepted", ""), ("superseded", "")]
        assert [it.job.alert.order.sequence for it in bench.reported] == [3, 2, 1]
        assert len(bench.provider.sent) == 2

    on_bench(scenario, Provider(last_is_bad), to_account=True)


def test_what_comes_while_its_line_is_out_is_held_back_beside_it_without_the_store(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        first, older, newer = (Held(f"{n}-1".encode(), bench.job(message_id=f"m{n}", sequence=n)) for n in (5, 4, 6))
        (batch,) = await bench.delivery.ready([first])
        assert await bench.delivery.ready([older, newer]) == []
        assert bench.settled == []
        settled = await bench.delivery.push(batch, lambda: True)
        assert bench.delivery.part(batch, settled) == [newer]
        assert [(it.job, it.result) for it in bench.reported] == [(first.job, "accepted"), (older.job, "superseded")]

    on_bench(scenario, Provider(always(Accepted())), to_account=True)


def test_an_alert_that_no_later_one_can_cover_is_never_given_up(on_bench: Setting) -> None:
    async def scenario(bench: Bench) -> None:
        twins = [bench.job(message_id=f"m{n}", sequence=7) for n in (1, 2)]  # neither is the later one
        assert await bench.deliver(twins) == [("accepted", "")] * 2

    on_bench(scenario, Provider(always(Accepted())), to_account=True)
