"""How much room the store needs: bytes and keys for a message, a device, and what waits.

    python -m tests.bench store [--quick]

Plan and delivery with a scripted provider on a store of their own, everything in this process but the store. Messages
go between two people, ten in each conversation, each a minute after the one before, so that none is told together with
another; readers have an iPhone each, which was there before. A message's room is what is left of it when it was pushed
and its notes are filed; what goes by itself within fifteen minutes, as a fold's window, is left out.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from proxy.compact_json import compact_json
from proxy.domain.callbacks import Callback
from proxy.domain.devices import Device
from proxy.domain.offline_messages import offline_message
from proxy.store.connection import Store, async_redis
from proxy.store.queue.folds import Folding
from proxy.store.queue.history import HistorySweep
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import dump_offline_message
from proxy.store.server.embedded import ensure_store, stop_store
from tests.bench.figures import Row, Spread
from tests.bench.processes import MeasuredRig
from tests.bench.size import Size
from tests.store.samples import DAY, NOON, callback, device
from tests.worker.lane_bench import LaneBench
from tests.worker.test_plan import Relay, readers

MEMBERS, PHONES = 500, 2
WORDS = "words of about sixty bytes, as people write them in a chat.."
_APP_ID = "2882303761517000009"
_OF_A_CONVERSATION = 10
_SOON_GONE_MS = 15 * 60_000
_TOGETHER = 64
_SCRAMBLE = 0x9E3779B97F4A7C15F39CC0605CEDC834  # ids without a pattern, the same each time
_TARGETS = {"p2p": 150, "everything": 250, "keys": 0.1, "device": 600, "callback": 350, "job": 120}


@dataclass(frozen=True)
class Room:
    """Of one of what was put into the store."""

    bytes: float
    keys: float


@dataclass
class StoreBench:
    """A store of its own, and what is in it."""

    redis: Any
    store: Store
    relay: Relay

    async def room(self, count: int, put: Callable[[], Awaitable[None]]) -> Room:
        before = self._used()
        await put()
        after = self._used()
        return Room((after[0] - before[0]) / count, (after[1] - before[1]) / count)

    def _used(self) -> tuple[int, int]:
        memory, keys = self.store.call(lambda redis: (redis.info("memory"), redis.dbsize()))
        return int(memory["used_memory"]) - int(memory["mem_clients_normal"]), int(keys)

    async def register(self, accounts: Sequence[str], phones: int = 1) -> None:
        for number, account in enumerate(accounts):
            for phone in range(phones):
                self.relay.devices.register(_device(account, number * phones + phone))

    async def accept(self, messages: Sequence[Callback]) -> None:
        inbox, now, compact = RedisInbox(self.store, DAY, 10**7), self.relay.now, self.store.layout.is_compact
        for start in range(0, len(messages), _TOGETHER):
            some = messages[start : start + _TOGETHER]
            inbox.put_all(
                [
                    (it.app_id, it.callback_id, dump_offline_message(offline_message(it, now), compact=compact))
                    for it in some
                ]
            )

    async def push(self, messages: int, accounts: Sequence[str], *, everything: bool) -> None:
        """Messages from callback to push, until all that is left of them is what stays for hours."""
        relay = self.relay
        if everything:
            relay.withdraws = relay.counts = True
            relay.folding = Folding(timedelta(seconds=60))
        await relay.ensure_group()
        lane = LaneBench(self.redis, self.store, relay.phones, [], withdraws=everything)
        await lane.queue.ensure_groups(lane.lane)
        plan = relay.instance(relay.phones)
        lane.start()
        at_once = max(messages // _OF_A_CONVERSATION, 1)
        for first in range(0, messages, at_once):
            relay.now = lane.now = NOON + timedelta(seconds=61 * (first // at_once))
            for start in range(first, min(first + at_once, messages), 128):
                numbers = range(start, min(start + 128, first + at_once, messages))
                await self.accept([_between_two(n, n - first, accounts, _payload(n)) for n in numbers])
                await plan.turn()
                await lane.turn()
        while any([await self.redis.xlen(name) for name in lane.queue.streams(lane.lane)]):
            await lane.turn()
        await lane.end()
        await HistorySweep(self.redis, [_APP_ID], 10**10).file(NOON + 1000 * DAY)
        await self._drop_what_goes_soon()

    async def _drop_what_goes_soon(self) -> None:
        async for name in self.redis.scan_iter(count=1000):
            if 0 < await self.redis.pttl(name) < _SOON_GONE_MS:
                await self.redis.delete(name)


def measure(rig: MeasuredRig, size: Size) -> list[Row]:
    """The rig is not used: nothing of it may touch the store."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    people = max(size.stored // 40, 4)
    with_defaults = _with_a_store(lambda bench: _of_messages(bench, size.stored, people, everything=False))
    with_everything = _with_a_store(lambda bench: _of_messages(bench, size.stored, people, everything=True))
    of_device = _with_a_store(lambda bench: _of_devices(bench, max(size.stored // 10, 10)))
    of_callback = _with_a_store(lambda bench: _of_callbacks(bench, max(size.stored // 10, 10)))
    of_job = _with_a_store(lambda bench: _of_group(bench, max(size.stored // 10_000, 2)))
    return [
        _row("a message between two, one device, with the defaults", with_defaults.bytes, _TARGETS["p2p"]),
        _row("the same: keys", with_defaults.keys, _TARGETS["keys"]),
        _row(
            "the same with history, withdrawals, badge and folds: bytes", with_everything.bytes, _TARGETS["everything"]
        ),
        _row("the same: keys", with_everything.keys),
        _row("a device: bytes", of_device.bytes, _TARGETS["device"]),
        _row(f"a callback that waits, {len(WORDS)} bytes of text: bytes", of_callback.bytes, _TARGETS["callback"]),
        _row(f"a job that waits, of {MEMBERS} members x {PHONES} devices: bytes", of_job.bytes, _TARGETS["job"]),
    ]


async def _of_messages(bench: StoreBench, messages: int, people: int, *, everything: bool) -> Room:
    accounts = [_account(n) for n in range(people)]
    await bench.register(accounts)
    return await bench.room(messages, lambda: bench.push(messages, accounts, everything=everything))


async def _of_devices(bench: StoreBench, devices: int) -> Room:
    return await bench.room(devices, lambda: bench.register([_account(n) for n in range(devices)]))


async def _of_callbacks(bench: StoreBench, callbacks: int) -> Room:
    accounts = [_account(n) for n in range(1000)]
    messages = [_between_two(n, n, accounts) for n in range(callbacks)]
    return await bench.room(callbacks, lambda: bench.accept(messages))


async def _of_group(bench: StoreBench, messages: int) -> Room:
    accounts, relay = [_account(n) for n in range(MEMBERS)], bench.relay
    await bench.register(accounts, PHONES)

    async def plan(numbers: Iterable[int]) -> None:
        for n in numbers:
            one = callback(_APP_ID, readers(accounts), str(n), "21351198708203520")
            await bench.accept([replace(one, payload=WORDS.encode())])
            await relay.plan(relay.phones)

    relay.jobs_cap = 10**7
    await plan([0])  # scripts, streams and groups
    return await bench.room(messages * MEMBERS * PHONES, lambda: plan(range(1, messages + 1)))


def _with_a_store(measured: Callable[[StoreBench], Awaitable[Room]]) -> Room:
    async def on(store: Store, url: str) -> Room:
        redis = async_redis(url, timeout_s=30)
        await redis.learn_layout()
        relay = Relay(redis, store, _APP_ID, url)
        try:
            return await measured(StoreBench(redis, store, relay))
        finally:
            await relay.end()
            await redis.aclose()

    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        url = ensure_store(Path(folder))
        try:
            store = Store(url, timeout_s=30)
            assert store.layout.is_compact
            return asyncio.run(on(store, url))
        finally:
            stop_store(Path(folder))


def _between_two(number: int, pair: int, accounts: Sequence[str], payload: bytes = WORDS.encode()) -> Callback:
    """The nth message; `pair` names its conversation."""
    reader, sender = accounts[pair % len(accounts)], accounts[(pair + 1 + pair // len(accounts)) % len(accounts)]
    one = callback(_APP_ID, readers([reader]), str(154503794553568001 + number), None)
    return replace(one, from_account=sender, payload=payload, sent_at=NOON)


def _payload(number: int) -> bytes:
    """As MIMC's own samples have it, so that it can be recalled."""
    return compact_json({"version": 0, "msgId": f"m{number}", "type": "TEXT", "content": WORDS}).encode()


def _account(number: int) -> str:
    return f"user-{number:07}"


def _device(account: str, number: int) -> Device:
    token = f"{_scrambled(number, 128):032x}{_scrambled(number + 7, 128):032x}"
    return replace(device(account, str(UUID(int=_scrambled(number, 128))), token), locale="zh-CN")


def _scrambled(number: int, bits: int) -> int:
    return int((number + 1) * _SCRAMBLE % (1 << 128)) >> (128 - bits)


def _row(what: str, value: float, most: float | None = None) -> Row:
    return Row(what, Spread(value, value, value), most=most)
