"""Why was there no alert? Plan and delivery on a real store, and one call of `app-proxy explain` that answers."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from proxy.domain.alerts import Update
from proxy.domain.callbacks import Callback, Recipient
from proxy.domain.decisions import Result
from proxy.domain.devices import ApnsEnvironment
from proxy.domain.lanes import Lane
from proxy.domain.outcomes import OurFault, UnknownAccount
from proxy.domain.preferences import Mute, Preferences, QuietHours
from proxy.store.connection import Store
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from tests.store.samples import DAY, SECOND, apns_lane, callback, device, mipush_lane, with_redis
from tests.test_cli_explain import Operator
from tests.worker.lane_bench import LaneBench, Logged
from tests.worker.provider import always
from tests.worker.test_plan import readers
from tests.worker.test_withdrawals import Withdrawing, withdraw


class Road(NamedTuple):
    """From the callback to the answer, at this time; ann writes to ben, who has an iPhone where `register` says so."""

    relay: Withdrawing
    bench: LaneBench

    async def write(self, one: Callback | None = None, *, sequence: int = 7, **of: Any) -> None:
        """Plan a message of ann's to ben, or another."""
        relay, lane = self.relay, self.bench.lane
        message = one or callback(relay.app_id, readers(["ben"]), str(sequence), None)
        relay.accept(replace(message, **of), now=relay.now)
        await relay.plan(lane)

    async def deliver(self) -> None:
        await self.bench.queue.ensure_groups(self.bench.lane)
        await self.bench.turn()

    async def wait(self, span: timedelta) -> None:
        self.relay.now += span
        self.bench.now += span


Scenario = Callable[[Road], Awaitable[None]]
Why = Callable[..., str]


@pytest.fixture
def why(tmp_path: Path, store_url: str, store: Store, app_id: str, logged: Logged) -> Why:
    """What `app-proxy explain` says of ben after a scenario."""

    def run(scenario: Scenario, account: str = "ben", lane: Callable[[str], Lane] = apns_lane, **of: Any) -> str:
        async def to_its_end(redis: Any) -> None:
            relay = Withdrawing(redis, store, app_id, store_url)
            bench = LaneBench(redis, store, lane(app_id), logged, **of)
            # a plan is dated by the store itself: before what follows, however long this takes
            relay.now = bench.now = datetime.now(UTC).replace(microsecond=0) + 60 * SECOND
            bench.start()
            try:
                await scenario(Road(relay, bench))
            finally:
                await bench.end()
                await relay.end()

        with_redis(store_url, to_its_end)
        return Operator(tmp_path, store_url, app_id).told("--account", account)

    return run


# no job


def test_its_kind_is_silent(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        await road.write(biz_type="PING")

    assert "ben  its type is not shown" in why(scenario)


def test_it_is_the_readers_own_message(why: Why) -> None:
    async def scenario(road: Road) -> None:
        await road.write(callback(road.relay.app_id, readers(["ann", "ben"])))

    assert "ann  own message" in why(scenario, account="ann")


def test_the_reader_is_blocked(why: Why, store: Store, app_id: str) -> None:
    blocked = f"blocked of {app_id}"

    async def scenario(road: Road) -> None:
        road.relay.register([blocked])
        await road.write(recipients=tuple(readers([blocked])))

    RedisBlocks(store).block(blocked)
    try:
        told = why(scenario, account=blocked)
    finally:
        RedisBlocks(store).unblock(blocked)
    assert f"{blocked}  blocked" in told


def test_the_conversation_is_muted(why: Why, store: Store, app_id: str) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        RedisPreferences(store, {"main": app_id}).write("main", "ben", Preferences({"p2p:ann": Mute()}), None)
        await road.write()

    assert "ben  conversation is muted" in why(scenario)


def test_it_came_without_a_sound_in_quiet_hours(why: Why, store: Store, app_id: str) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        now = road.relay.now.astimezone(UTC)
        start, end = (now - timedelta(hours=1)).time(), (now + timedelta(hours=1)).time()
        hours = QuietHours(time(start.hour, start.minute), time(end.hour, end.minute), ZoneInfo("UTC"))
        RedisPreferences(store, {"main": app_id}).write("main", "ben", Preferences({}, hours), None)
        await road.write()
        await road.deliver()

    told = why(scenario)
    assert "ben main/apns phone  without a sound" in told
    assert "ben main/apns phone  accepted" in told


def test_there_is_no_device(why: Why) -> None:
    async def scenario(road: Road) -> None:
        await road.write()

    assert "ben  no device" in why(scenario)


def test_the_devices_own_login_was_online(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"], resource="r1")
        await road.write(recipients=(Recipient("ben", ("r2",)),))

    assert "ben main/apns phone  login was online" in why(scenario)


def test_it_is_a_duplicate_of_one_that_was_planned_before(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben", "cai"])
        for members in (["ben", "cai"], ["ben"]):
            await road.write(callback(road.relay.app_id, readers(members)))

    assert "ben  planned before" in why(scenario)


def test_it_had_expired_before_it_was_planned(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        road.relay.accept(callback(road.relay.app_id, readers(["ben"]), "7", None), now=road.relay.now - DAY)
        await road.relay.plan(road.bench.lane)

    assert "ben  expired" in why(scenario)


def test_it_was_recalled_before_it_came_and_the_recall_named_no_message_so_far(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        road.relay.recall("m1")
        await road.relay.plan(road.bench.lane)
        road.relay.say("m1")
        await road.relay.plan(road.bench.lane)

    told = why(scenario)
    assert "ben  names no message that is known" in told
    assert "ben  recalled before it was planned" in told


def test_a_read_of_what_made_no_alert_is_told_nowhere(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        road.relay.read("m0")
        await road.relay.plan(road.bench.lane)

    assert "no message: none was planned" in why(scenario)


# a job that ended without a push


def test_a_later_alert_took_its_place(why: Why) -> None:
    async def scenario(road: Road) -> None:
        for sequence in (1, 2):
            await road.write(sequence=sequence)
        await road.deliver()

    told = why(scenario, lane=mipush_lane, replaces=True, batch_limit=10)
    assert "ben main/mipush  superseded: by " in told
    assert told.count("ben main/mipush  accepted") == 1


def test_it_was_withdrawn_before_it_was_pushed(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        road.relay.say("m1")
        await road.relay.plan(road.bench.lane)
        road.relay.recall("m1")
        await road.relay.plan(road.bench.lane)
        await road.deliver()

    assert "ben main/apns phone  withdrawn" in why(scenario, withdraws=True)


def test_it_expired_while_it_waited(why: Why) -> None:
    async def scenario(road: Road) -> None:
        await road.write()
        await road.wait(DAY)
        await road.deliver()

    assert "dead letter: too late: expired while waiting" in why(scenario, lane=mipush_lane)


def test_the_device_is_another_users_now(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        await road.write()
        road.bench.register(replace(device("cai", push_token="ben-phone"), registered_at=road.relay.now))
        await road.deliver()

    assert "ben main/apns phone  device moved" in why(scenario)


def test_the_provider_does_not_know_the_account(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.bench.wire.verdict = always(UnknownAccount())
        await road.write()
        await road.deliver()

    assert "ben main/mipush  unknown account" in why(scenario, lane=mipush_lane)


def test_the_lane_is_paused_since_then(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.bench.wire.verdict = always(OurFault("200001 quota"))
        await road.write()
        await road.deliver()

    told = why(scenario, lane=mipush_lane)
    assert "tried       ben main/mipush  200001 quota" in told
    assert "ben main/mipush  waits for its next try: the lane is paused (fault): 200001 quota" in told


# after the push


def test_an_alert_that_was_pushed_and_then_recalled_says_so(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        road.relay.say("m1")
        await road.relay.plan(road.bench.lane)
        await road.deliver()
        await road.wait(SECOND)
        road.relay.recall("m1")
        await road.relay.plan(road.bench.lane)
        await road.deliver()

    told = why(scenario, withdraws=True)
    lines = [line for line in told.splitlines() if " phone" in line and " ben " in line]
    assert [line.split("  ")[2].strip() for line in lines] == ["planned", "sent", "answered", "taken back"]
    assert lines[-1].endswith("ben main/apns phone  recalled")


def test_one_that_could_not_be_taken_back_says_why(why: Why) -> None:
    async def scenario(road: Road) -> None:
        await road.write(sequence=1)
        (first,) = await road.relay.jobs(road.bench.lane)
        await road.deliver()
        await road.write(sequence=2)
        await road.deliver()
        road.bench.accounts[replace(first, alert=replace(first.alert, update=Update.RECALL)).id] = "ben back"
        await withdraw(road.bench, first)
        await road.deliver()

    told = why(scenario, lane=mipush_lane, withdraws=True, replaces=True)
    assert "ben main/mipush  not taken back: recalled, but superseded" in told


def test_the_number_of_unread_messages_is_told_nowhere(why: Why) -> None:
    async def scenario(road: Road) -> None:
        await road.write()
        (job,) = await road.relay.jobs(road.bench.lane)
        await road.deliver()
        number = replace(job, alert=replace(job.alert, update=Update.BADGE))
        road.bench.accounts[number.id] = "ben"
        await road.bench.put(number)
        await road.deliver()

    told = why(scenario, lane=mipush_lane)
    assert told.count("answered") == 1


def test_a_job_that_went_to_the_other_environments_lane_says_so(why: Why) -> None:
    async def scenario(road: Road) -> None:
        road.relay.register(["ben"])
        await road.write()
        road.bench.register(replace(device("ben", push_token="ben-phone"), environment=ApnsEnvironment.SANDBOX))
        await road.deliver()

    assert f"ben main/apns phone  {Result.OTHER_ENVIRONMENT}: apns-sandbox" in why(scenario)
