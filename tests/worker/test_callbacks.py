"""Callbacks at work: planned, left to a later try, or given up; never forgotten."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from structlog.testing import capture_logs

from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Route
from proxy.domain.offline_messages import offline_message
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import load_offline_message
from proxy.usecases.plan_alerts import Planner
from proxy.worker.callbacks import CallbackWorker
from proxy.worker.holdings import Holdings
from tests.store.samples import DAY, MS, NO_WAIT, NOON, callback, for_inbox, mipush_lane, with_redis


class Faulty(RedisQueue):
    """A hand on the store whose planning fails with `fault`, if it has one."""

    fault: Exception | None = None

    async def append_jobs(
        self, app_id: str, message_id: str, entry_id: bytes, jobs: Sequence[tuple[Lane, Job]], *, last: bool
    ) -> list[bool] | None:
        if self.fault:
            raise self.fault
        return await super().append_jobs(app_id, message_id, entry_id, jobs, last=last)


class Bench:
    """One app's callback worker, alerting accounts."""

    def __init__(self, redis: Any, app_id: str, store: Store) -> None:
        self.redis, self.app_id, self.store = redis, app_id, store
        self.lane = mipush_lane(app_id)
        self.queue = Faulty(redis, "worker-1", lease=MS, dedupe_ttl=DAY, jobs_cap=1000, dead_cap=100)
        self.holdings = Holdings(15.0)
        addresses = RedisAddresses(redis, {"main": app_id}, "worker-1")
        planner = Planner([Route(self.lane, to_account=True)], addresses, self.queue, DAY, lambda _lane: None)
        self.worker = CallbackWorker(app_id, planner, self.queue, self.holdings, now=lambda: NOON, block=NO_WAIT)

    async def accept(self, *sequences: int) -> None:
        await self.queue.ensure_group(self.worker.stream)
        for sequence in sequences:
            RedisInbox(self.store, DAY, 100).accept(*for_inbox(callback(self.app_id, sequence=str(sequence)), NOON))

    async def turn(self) -> None:
        await self.worker.claim()
        await self.worker.drained()

    async def left(self) -> tuple[int, int, int]:
        """Callbacks in the stream, jobs in the lane, dead letters."""
        names = self.worker.stream, keys.jobs(self.lane), keys.dead_letters(self.app_id)
        callbacks, jobs, dead = [await self.redis.xlen(name) for name in names]
        assert self.worker.slots.used == self.holdings.count() == 0
        return callbacks, jobs, dead


OnBench = Callable[[Callable[[Bench], Awaitable[None]]], None]


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What was logged; and a traceback for a screen would take a third of a second."""
    with capture_logs() as entries:
        yield entries
    assert "words" not in str(entries)  # of a message


@pytest.fixture
def on_bench(store_url: str, store: Store, app_id: str) -> OnBench:
    """Runs a scenario while the stream's settlements are carried out."""

    def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async def beside_the_settler(redis: Any) -> None:
            bench = Bench(redis, app_id, store)
            settling = asyncio.create_task(bench.worker.settler.run())
            try:
                async with asyncio.timeout(10):
                    await scenario(bench)
            finally:
                settling.cancel()
                await asyncio.gather(settling, return_exceptions=True)

        with_redis(store_url, beside_the_settler)

    return run


def test_callbacks_are_planned_and_gone(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(1, 2, 3)
        await bench.turn()
        assert await bench.left() == (0, 3, 0)

    on_bench(scenario)


@pytest.mark.parametrize("fault", [ResponseError("WRONGTYPE"), KeyError("a bug of ours")])
def test_what_cannot_be_planned_now_comes_again_after_a_lease(on_bench: OnBench, fault: Exception) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(1)
        bench.queue.fault = fault
        await bench.turn()
        assert await bench.left() == (1, 0, 0)
        bench.queue.fault = None
        await asyncio.sleep(0.005)
        assert await bench.worker.take_over() == 1
        await bench.worker.drained()
        assert await bench.left() == (0, 1, 0)

    on_bench(scenario)


@pytest.mark.parametrize("fault", [RedisConnectionError(), OutOfMemoryError(), ReadOnlyError()])
def test_a_store_in_trouble_is_waited_for_with_the_callback_in_hand(
    on_bench: OnBench, fault: Exception, logged: list[MutableMapping[str, Any]]
) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(1)
        bench.queue.fault = fault
        await bench.worker.claim()
        while not logged:
            await asyncio.sleep(0.001)
        assert bench.holdings.count() == 1
        bench.queue.fault = None
        await bench.worker.drained()
        assert await bench.left() == (0, 1, 0)
        assert [it["event"] for it in logged] == ["planning waits for the store", "callback planned"]

    on_bench(scenario)


def test_what_can_never_be_planned_ends_as_a_dead_letter(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(1)
        bench.queue.fault = KeyError("a bug of ours")
        await bench.turn()
        for _ in range(6):
            assert (await bench.left())[0] == 1
            await asyncio.sleep(0.005)
            await bench.worker.take_over()
            await bench.worker.drained()
        assert await bench.left() == (0, 0, 1)
        ((id_, letter),) = await bench.redis.xrange(keys.dead_letters(bench.app_id))
        message = offline_message(callback(bench.app_id, sequence="1"), NOON)
        assert letter[b"cause"] == b"poison"
        assert load_offline_message(letter[b"r"]) == replace(message, payload=b"")
        words = await bench.redis.get(keys.dead_words(bench.app_id, id_.decode()))
        assert load_offline_message(words) == message

    on_bench(scenario)


def test_an_unreadable_callback_is_a_dead_letter_and_its_neighbours_are_planned(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.accept(1)
        await bench.redis.xadd(bench.worker.stream, {"r": '{"v":2}'})
        await bench.accept(2)
        await bench.turn()
        assert await bench.left() == (0, 2, 1)

    on_bench(scenario)
