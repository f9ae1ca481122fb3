"""Unread messages on a real store: counted with their first job, until they are read, recalled or old."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from proxy.domain.alerts import Update
from proxy.domain.jobs import Job
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.records import load_job
from proxy.store.scripts import ask_strictly
from proxy.store.users.unread import MOST_CONVERSATIONS, MOST_UNREAD, RedisUnread, asking, number
from proxy.usecases.clear_badge import badge_jobs
from tests.store.samples import DAY, LAYOUT, NOON, SECOND, device, names_like, with_redis
from tests.worker.test_withdrawals import Withdrawing

OnRelay = Callable[[Callable[["Counting"], Awaitable[None]]], None]


class Counting(Withdrawing):
    """A relay that counts unread messages too; ben has a phone."""

    counts = True

    async def unread(self, account: str = "ben") -> int:
        return number((await ask_strictly(self.redis, [asking(LAYOUT, self.app_id, account)]))[0])

    async def told(self) -> list[tuple[Job, float]]:
        """Which badge updates wait, and for how many seconds from NOON."""
        found = await self.redis.zrange(LAYOUT.retries(self.phones, 0), 0, -1, withscores=True)
        return [(load_job(record), round(score / 1000 - NOON.timestamp(), 3)) for record, score in found]

    async def say_all(self, count: int, **of: Any) -> None:
        for index in range(count):
            self.now += SECOND
            self.say(f"m{index + 1}", sequence=index + 1, **of)
        await self.plan(self.phones)


@pytest.fixture
def on_relay(store_url: str, store: Store, app_id: str) -> OnRelay:
    def run(scenario: Callable[[Counting], Awaitable[None]]) -> None:
        async def to_its_end(redis: Any) -> None:
            relay = Counting(redis, store, app_id, store_url)
            relay.register(["ben"])
            try:
                await scenario(relay)
            finally:
                await relay.end()

        with_redis(store_url, to_its_end)

    return run


def test_a_message_counts_once_however_often_it_comes_and_on_however_many_devices(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        relay.register(["ben"], "pad")
        await relay.say_all(2)
        await relay.say_all(3, topic_id="t1", to=["ben", "cai"])
        await relay.say_all(3, topic_id="t1", to=["ben", "cai", "dan"])  # repeats, with one more reader
        assert await relay.unread() == 5
        assert await relay.unread("cai") == 0  # no device: no badge

    on_relay(scenario)


def test_a_read_counts_the_messages_up_to_it_no_longer_and_a_repeat_does_not_bring_them_back(
    on_relay: OnRelay,
) -> None:
    async def scenario(relay: Counting) -> None:
        relay.register(["cai"])
        await relay.say_all(3, topic_id="t1", to=["ben", "cai"])
        await relay.say_all(1)
        relay.read("m2", topic_id="t1", to=["ann", "ben", "cai"])
        await relay.plan(relay.phones)
        assert (await relay.unread(), await relay.unread("cai")) == (2, 3)
        relay.say("m2", sequence=2, topic_id="t1", to=["ben", "cai", "dan"])
        await relay.plan(relay.phones)
        assert await relay.unread() == 2

    on_relay(scenario)


def test_a_message_that_was_announced_to_its_reader_after_others_is_read_too(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        relay.register(["cai"])
        for index, reader in ((1, "ben"), (2, "ben"), (1, "cai"), (2, "cai")):
            relay.now += SECOND
            relay.say(f"m{index}", topic_id="t1", to=[reader], sequence=index)
            await relay.plan(relay.phones)
        relay.read("m2", "cai", topic_id="t1", to=["ann", "ben", "cai"])
        await relay.plan(relay.phones)
        assert (await relay.unread(), await relay.unread("cai")) == (2, 0)

    on_relay(scenario)


def test_a_recalled_message_counts_no_longer(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        await relay.say_all(3)
        relay.recall("m2")
        await relay.plan(relay.phones)
        assert await relay.unread() == 2

    on_relay(scenario)


def test_phones_are_told_once_in_a_window_and_the_number_is_read_when_they_are(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        relay.withdraws = False
        await relay.say_all(3)
        for sequence, name in ((90, "m1"), (91, "m2"), (92, "m2")):
            relay.read(name, sequence=sequence)
            await relay.plan(relay.phones)
        ((job, due),) = await relay.told()
        assert (job.account, job.device_id, job.alert.update, due) == ("ben", "phone", Update.BADGE, 8.0)
        addresses = RedisAddresses(relay.redis, {"main": relay.app_id}, "deliver", with_badges=True)
        found = await addresses.destinations(relay.phones, [job])
        assert (found.destinations[0].badge, found.destinations[0].device is not None) == (1, True)

    on_relay(scenario)


def test_what_is_read_while_a_number_may_be_under_way_is_told_once_more(on_relay: OnRelay) -> None:
    """It is due when the window ends by the clock of the worker, whose look at it came before the store's began."""

    async def scenario(relay: Counting) -> None:
        relay.withdraws = False
        await relay.say_all(3)
        for sequence, name, left in ((90, "m1", SECOND), (91, "m2", DAY), (92, "m3", SECOND)):
            relay.read(name, sequence=sequence)
            await relay.plan(relay.phones)
            await relay.redis.pexpire(LAYOUT.badge_due(relay.app_id, "ben"), left)
            told = await relay.told()
            await relay.redis.delete(LAYOUT.retries(relay.phones, 0))  # under way, and its number read
            assert len(told) == (name != "m3")

    on_relay(scenario)


def test_an_account_that_says_it_has_read_all_has_and_later_messages_count_again(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        await relay.say_all(2)
        await relay.say_all(2, topic_id="t1")
        book, jobs = RedisUnread(relay.store, {"main": relay.app_id}), badge_jobs(relay.app_id, [device()], relay.now)
        assert book.clear("main", "ben", "p2p:ann", relay.now, jobs) == 2
        assert book.clear("main", "ben", "", relay.now, jobs) == 0
        assert len(await relay.told()) == 1
        relay.now += SECOND
        relay.say("m9", sequence=9)
        await relay.plan(relay.phones)
        assert await relay.unread() == 1

    on_relay(scenario)


def test_what_was_not_read_for_a_week_counts_no_longer(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        await relay.say_all(2, topic_id="t1")
        await relay.say_all(2)
        relay.now += timedelta(days=4)
        relay.say("m7", sequence=7)
        await relay.plan(relay.phones)
        assert await relay.unread() == 5
        relay.now += 4 * DAY
        relay.say("m8", sequence=8)
        await relay.plan(relay.phones)
        assert await relay.unread() == 2
        for pattern in ("badge",):
            for key in await names_like(relay.redis, f"*:{relay.app_id}:{pattern}:*"):
                assert 0 < await relay.redis.pttl(key) <= 7 * 86_400_000

    on_relay(scenario)


def test_of_a_conversation_the_latest_count_up_to_a_limit_and_a_read_still_finds_them(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        await relay.say_all(MOST_UNREAD + 3)
        assert await relay.unread() == MOST_UNREAD
        relay.read(f"m{MOST_UNREAD}")
        await relay.plan(relay.phones)
        assert await relay.unread() == 3

    on_relay(scenario)


def test_of_too_many_conversations_the_one_that_was_silent_longest_counts_no_longer(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        for index in range(MOST_CONVERSATIONS + 1):
            relay.now += SECOND
            relay.say(f"m{index}", sequence=index + 1, sender=f"friend-{index}")
            if index % 50 == 0:
                await relay.plan(relay.phones)
                await relay.push_all(relay.phones)
        await relay.plan(relay.phones)
        assert await relay.unread() == MOST_CONVERSATIONS
        book = RedisUnread(relay.store, {"main": relay.app_id})
        assert book.clear("main", "ben", "p2p:friend-0", relay.now, []) == MOST_CONVERSATIONS
        assert book.clear("main", "ben", "p2p:friend-1", relay.now, []) == MOST_CONVERSATIONS - 1

    on_relay(scenario)


def test_a_plan_that_a_dead_worker_left_half_done_counts_each_account_once(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        people = [f"user-{number}" for number in range(160)]
        relay.say("m1", topic_id="t1", to=people)
        await relay.ensure_group()
        dying = relay.instance(relay.accounts, name="dying")
        dying.queue.fault, dying.queue.from_call = RuntimeError("killed"), 1
        await dying.turn()
        counted = [await relay.unread(name) for name in people]
        assert sum(counted) == 100
        await relay.instance(relay.accounts, name="heir").take_over()
        assert [await relay.unread(name) for name in people] == [1] * 160
        assert await relay.left() == (0, 0)

    on_relay(scenario)


def test_a_read_that_a_dead_worker_left_uncounts_and_tells_once(on_relay: OnRelay) -> None:
    async def scenario(relay: Counting) -> None:
        await relay.say_all(3)
        relay.read("m2")
        dying = relay.instance(relay.phones, name="dying", settles=False)
        await dying.worker.claim()  # and is killed before it has acknowledged
        assert await relay.left() == (1, 1)
        await relay.instance(relay.phones, name="heir").take_over()
        assert (await relay.unread(), len(await relay.told())) == (1, 1)
        assert await relay.left() == (0, 0)

    on_relay(scenario)
