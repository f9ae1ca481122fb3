"""A shard in which more wait than one read brings: the others do not wait for it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy.domain.callbacks import Callback
from proxy.domain.lanes import Callbacks
from proxy.store.connection import Store
from proxy.store.keys import Layout
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.worker.consumer import StreamConsumer
from proxy.worker.leases import Leases
from proxy.worker.observer import RelayObserver
from tests.store.samples import NO_WAIT, alert, apns_lane, callback, job, put_jobs, queue_of, with_redis
from tests.worker.test_plan import Instance, Relay, readers

LAYOUT, FLOODED = Layout(16), 3
MANY, PLACES_OF_FLOODS = 200, 64


@pytest.fixture(scope="module")
def sharded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("floods")
    yield ensure_store(folder)
    stop_store(folder)


OnFlood = Callable[[Callable[["Flood"], Awaitable[None]]], None]


@pytest.fixture
def on_flood(sharded_url: str, app_id: str) -> OnFlood:
    """Runs a scenario in which callbacks of one shard wait, and what they lead to takes as long as is wanted."""

    def run(scenario: Callable[[Flood], Awaitable[None]]) -> None:
        async def to_its_end(redis: Any) -> None:
            relay = Relay(redis, Store(sharded_url), app_id, sharded_url)
            await relay.ensure_group()
            relay.register(["ben"])
            try:
                async with asyncio.timeout(20):
                    await scenario(Flood(relay, redis))
            finally:
                await relay.end()

        with_redis(sharded_url, to_its_end)

    return run


class Flood:
    def __init__(self, relay: Relay, redis: Any) -> None:
        self._relay, self._redis = relay, redis
        self._sequence = 0
        self.worker: Instance = relay.instance()

    def accept(self, count: int, *, of_flood: bool) -> None:
        while count:
            self._sequence += 1
            one: Callback = callback(self._relay.app_id, readers(["ben"]), str(self._sequence), None)
            if (LAYOUT.shard_of_callback(one.callback_id) == FLOODED) == of_flood:
                self._relay.accept(one)
                count -= 1

    async def until_it_has_its_places(self) -> None:
        """And what it leads to is held up from there on."""
        while not self.worker.consumer.flooded:
            await self.worker.worker.claim()
        await self.worker.worker.drained()
        self.worker.queue.held = asyncio.Event()
        while self.worker.consumer.in_flight.used < PLACES_OF_FLOODS // 2:
            await self.worker.worker.claim()

    async def jobs(self) -> int:
        lane, shard = self._relay.phones, LAYOUT.shard_of_account("ben")
        return int(await self._redis.xlen(LAYOUT.jobs(lane, shard)))

    async def end(self) -> None:
        assert self.worker.queue.held is not None
        self.worker.queue.held.set()
        while await self.worker.queue.length(Callbacks(self._relay.app_id)):
            await self.worker.worker.claim()
            await self.worker.worker.drained()


def test_a_message_of_another_shard_is_planned_while_the_flood_is_on_its_way(on_flood: OnFlood) -> None:
    async def scenario(flood: Flood) -> None:
        flood.accept(MANY, of_flood=True)
        await flood.until_it_has_its_places()
        assert flood.worker.consumer.flooded == {FLOODED}
        planned = await flood.jobs()
        flood.accept(1, of_flood=False)
        while await flood.jobs() == planned:
            await flood.worker.worker.claim()
        await flood.end()
        assert await flood.jobs() == MANY + 1

    on_flood(scenario)


def test_a_flood_takes_no_more_than_its_places(on_flood: OnFlood) -> None:
    async def scenario(flood: Flood) -> None:
        flood.accept(MANY, of_flood=True)
        await flood.until_it_has_its_places()
        for _ in range(5):
            await flood.worker.worker.claim()
        assert flood.worker.consumer.in_flight.used <= PLACES_OF_FLOODS + PLACES_OF_FLOODS // 2
        await flood.end()

    on_flood(scenario)


def test_a_shard_is_flooded_no_longer_once_less_waits_than_a_read_brings(on_flood: OnFlood) -> None:
    async def scenario(flood: Flood) -> None:
        flood.accept(MANY, of_flood=True)
        await flood.until_it_has_its_places()
        await flood.end()
        await flood.worker.worker.claim()
        assert flood.worker.consumer.flooded == frozenset()

    on_flood(scenario)


def test_a_lane_that_is_behind_in_one_shard_has_room_for_jobs_of_the_others(sharded_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)
    behind = LAYOUT.shard_of_account("ben")

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await queue.ensure_groups(lane)
        await put_jobs(redis, lane, [job(lane, "ben", of=alert(f"m{n}")) for n in range(60)])
        settle = partial(queue.settle_jobs, lane)
        consumer = StreamConsumer(
            lane, queue, Leases(15.0), settle, RelayObserver(app_id, lane), in_flight=160, block=NO_WAIT
        )
        assert set(consumer.behind) == set(LAYOUT.all_shards)  # for nothing was read yet
        assert len(await consumer.claim()) == 160 // 16
        assert consumer.behind == {behind}
        assert consumer.admit(50) == 50
        consumer.claimed([], 50, 0.0)
        assert len(await consumer.claim()) == 60 - 160 // 16  # all the rest: what others do not use it has
        assert not consumer.behind

    with_redis(sharded_url, scenario)
